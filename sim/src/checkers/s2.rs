//! S2: a member of the quorum votes once per term, and the terms of its votes never fall.
//!
//! Source: the Raft paper, figure 2 (`votedFor` and `currentTerm` are persistent). A member that lost its disk is
//! another one (KIP-853).

use super::rules::check;
use super::{Checker, Seen};
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_types::BrokerId;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct OneVote {
    votes: BTreeMap<NodeId, (u64, BrokerId)>,
}

impl OneVote {
    /// An event of a node.
    ///
    /// # Errors
    /// The violation.
    pub fn hear_of(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        let Event::QuorumVote { term, candidate } = *event else { return Ok(()) };
        if let Some((before, other)) = self.votes.insert(node, (term, candidate)) {
            check(term >= before, "S2", || {
                format!("node {} votes in term {term} after it voted in term {before}", node.0)
            })?;
            check(term > before || candidate == other, "S2", || {
                format!("node {} votes for {candidate} in term {term}, in which it voted for {other}", node.0)
            })?;
        }
        Ok(())
    }

    /// A node lost its disk.
    pub fn wiped(&mut self, node: NodeId) {
        self.votes.remove(&node);
    }
}

impl Checker for OneVote {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        self.hear_of(seen.node, seen.event).map_err(|violation| seen.place(violation))
    }

    fn node_wiped(&mut self, node: NodeId) {
        self.wiped(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(votes: &[(u64, i32)], expected: bool) {
        let mut checker = OneVote::default();
        let mut hear = |&(term, candidate): &(u64, i32)| {
            checker.hear_of(NodeId(0), &Event::QuorumVote { term, candidate: BrokerId(candidate) })
        };
        assert_eq!(votes.iter().try_for_each(&mut hear).is_ok(), expected, "{votes:?}");
    }

    #[test]
    fn a_member_votes_once_per_term() {
        check(&[(1, 1), (1, 1), (2, 2), (5, 1)], true);
        check(&[(1, 1), (1, 2)], false);
    }

    #[test]
    fn terms_never_fall() {
        check(&[(2, 1), (1, 1)], false);
    }

    #[test]
    fn a_new_disk_is_a_new_voter() {
        let mut checker = OneVote::default();
        let vote = |candidate| Event::QuorumVote { term: 7, candidate: BrokerId(candidate) };
        checker.hear_of(NodeId(0), &vote(1)).unwrap();
        checker.wiped(NodeId(0));
        checker.hear_of(NodeId(0), &vote(2)).unwrap();
    }
}
