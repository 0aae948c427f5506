//! S3: the committed metadata log only grows, every member applies the same entries in the same order without a gap,
//! and each new leader has all of it.
//!
//! Source: the Raft paper's state machine safety and leader completeness (figure 3); Kafka's `RaftEventSimulationTest`
//! checks the same of KRaft.

use super::members::Members;
use super::rules::check;
use super::{Checker, Seen, Stop};
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct OneLog {
    members: Members,
    /// The latest term that had a leader.
    latest: u64,
    /// The latest term that had a leader when an entry was first seen to be committed.
    committed_in: BTreeMap<u64, u64>,
}

impl OneLog {
    /// An event of a node.
    ///
    /// # Errors
    /// The violation.
    pub fn hear_of(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match *event {
            Event::QuorumApplied { index, term, checksum } => self.applied(node, index, (term, checksum))?,
            Event::QuorumLeader { term } => self.leads(node, term)?,
            Event::QuorumSnapshot { index, term, installed } => {
                self.snapshot(node, index, term, installed)?
            }
            _ => {}
        }
        self.members.take(node, event);
        Ok(())
    }

    fn applied(&mut self, node: NodeId, index: u64, entry: (u64, u32)) -> Result<(), Violation> {
        self.committed_in.entry(index).or_insert(self.latest);
        let known = *self.members.committed.get(&index).unwrap_or(&entry);
        check(known == entry, "S3", || {
            format!("node {} applied {entry:x?} as entry {index}, and another applied {known:x?}", node.0)
        })?;
        let next = self.members.member(node).and_then(|member| member.applied).map_or(0, |last| last + 1);
        check(index == next, "S3", || {
            format!("node {} applied entry {index}, and entry {next} was next", node.0)
        })
    }

    fn leads(&mut self, node: NodeId, term: u64) -> Result<(), Violation> {
        self.latest = self.latest.max(term);
        let member = self.members.member(node);
        let covered = member.and_then(|member| member.covered);
        // One whose votes came late, when there was a leader of a later term already, does not have what that one has
        // committed since.
        let is_earlier = |index: &u64| self.committed_in.get(index).is_none_or(|latest| *latest <= term);
        let missing = self.members.committed.iter().find(|&(index, entry)| {
            Some(*index) > covered
                && is_earlier(index)
                && member.and_then(|member| member.entries.get(index)) != Some(entry)
        });
        check(missing.is_none(), "S3", || {
            format!("node {} leads in term {term} without the committed entry {missing:x?}", node.0)
        })
    }

    fn snapshot(&self, node: NodeId, index: u64, term: u64, installed: bool) -> Result<(), Violation> {
        if let Some(&(committed, _)) = self.members.committed.get(&index) {
            check(committed == term, "S3", || {
                format!(
                    "node {} has a snapshot up to entry {index} of term {term}, whose term is {committed}",
                    node.0
                )
            })?;
        } else {
            let most = self.members.committed.keys().next_back();
            check(most >= Some(&index), "S3", || {
                format!("node {} has a snapshot up to entry {index}, which nobody applied", node.0)
            })?;
        }
        let applied = self.members.member(node).and_then(|member| member.applied);
        check(!installed || applied <= Some(index), "S3", || {
            format!("a snapshot put node {} back from entry {applied:?} to {index}", node.0)
        })
    }

    /// A node's process ended.
    pub fn stopped(&mut self, node: NodeId) {
        self.members.stopped(node);
    }

    /// A node lost its disk.
    pub fn wiped(&mut self, node: NodeId) {
        self.members.wiped(node);
    }
}

impl Checker for OneLog {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        self.hear_of(seen.node, seen.event).map_err(|violation| seen.place(violation))
    }

    fn node_stopped(&mut self, node: NodeId, _how: Stop) {
        self.stopped(node);
    }

    fn node_wiped(&mut self, node: NodeId) {
        self.wiped(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn appended(index: u64, checksum: u32) -> Event {
        Event::QuorumAppended { index, term: 1, checksum }
    }

    fn applied(index: u64, checksum: u32) -> Event {
        Event::QuorumApplied { index, term: 1, checksum }
    }

    fn check(events: &[(NodeId, Event)], expected: bool) {
        let mut checker = OneLog::default();
        let heard = events.iter().try_for_each(|(node, event)| checker.hear_of(*node, event));
        assert_eq!(heard.is_ok(), expected, "{events:?}: {heard:?}");
    }

    #[test]
    fn members_apply_the_same() {
        check(&[(A, applied(0, 7)), (B, applied(0, 7)), (A, applied(1, 8))], true);
        check(&[(A, applied(0, 7)), (B, applied(0, 8))], false);
    }

    #[test]
    fn nothing_is_passed_over() {
        check(&[(A, applied(0, 7)), (A, applied(2, 7))], false);
        check(&[(A, applied(0, 7)), (A, applied(0, 7))], false);
    }

    #[test]
    fn a_leader_has_all_that_is_committed() {
        let leads = Event::QuorumLeader { term: 2 };
        let snapshot = Event::QuorumSnapshot { index: 0, term: 1, installed: true };
        check(&[(A, applied(0, 7)), (B, appended(0, 7)), (B, leads.clone())], true);
        check(&[(A, applied(0, 7)), (B, snapshot), (B, leads.clone())], true);
        check(&[(A, applied(0, 7)), (B, appended(0, 8)), (B, leads.clone())], false);
        let cut = Event::QuorumTruncated { from: 0 };
        check(&[(A, applied(0, 7)), (B, appended(0, 7)), (B, cut), (B, leads)], false);
    }

    #[test]
    fn a_leader_whose_votes_came_late_has_less_than_a_later_one_committed() {
        let leads = |term| Event::QuorumLeader { term };
        check(&[(A, leads(3)), (A, applied(0, 7)), (B, leads(2))], true);
        check(&[(A, leads(2)), (A, applied(0, 7)), (B, leads(3))], false);
        // What was committed before there was a later one it has all the same.
        check(&[(A, leads(1)), (A, applied(0, 7)), (A, leads(3)), (B, leads(2))], false);
    }

    #[test]
    fn snapshots_are_of_the_committed_log() {
        let snapshot = |index, term, installed| Event::QuorumSnapshot { index, term, installed };
        check(&[(A, applied(0, 7)), (B, snapshot(0, 1, true)), (B, applied(1, 1))], true);
        check(&[(A, applied(0, 7)), (B, snapshot(0, 2, true))], false);
        check(&[(A, applied(0, 7)), (B, snapshot(1, 1, true))], false);
        check(&[(A, applied(0, 7)), (A, applied(1, 7)), (A, snapshot(0, 1, true))], false);
    }
}
