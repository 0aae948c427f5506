//! S4: when an entry is committed, a majority of each set of voters in force has had it on disk; and no member gives
//! up a committed entry that the majority needs it for.
//!
//! Source: the Raft paper, section 5.3 (an entry is committed once a majority stores it), with "stores" read as
//! synced: KAFKA-10533 and NATS 7567 acknowledged before that.

use super::members::Members;
use super::rules::check;
use super::{Checker, Seen, Stop};
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_types::BrokerId;

/// See the module.
#[derive(Debug, Default)]
pub struct Majority {
    members: Members,
}

impl Majority {
    /// An event of a node.
    ///
    /// # Errors
    /// The violation.
    pub fn hear_of(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match *event {
            Event::QuorumApplied { index, term, checksum }
                if !self.members.committed.contains_key(&index) =>
            {
                self.commits(index, (term, checksum))?;
            }
            Event::QuorumTruncated { from } => self.truncates(node, from)?,
            _ => {}
        }
        self.members.take(node, event);
        Ok(())
    }

    fn commits(&self, index: u64, entry: (u64, u32)) -> Result<(), Violation> {
        check(self.is_on_majority(index, entry, None), "S4", || {
            let voters: Vec<_> = self.members.voters_at(index, entry).collect();
            format!("entry {index} {entry:x?} is committed, and no majority of {voters:?} has it on disk")
        })
    }

    /// Whether a majority of each set of voters has had an entry on disk, this member aside.
    fn is_on_majority(&self, index: u64, entry: (u64, u32), without: Option<NodeId>) -> bool {
        let holds = |broker: &BrokerId| {
            let node = usize::try_from(broker.0 - 1).map(NodeId);
            node.is_ok_and(|node| Some(node) != without && self.members.has_held(node, index, entry))
        };
        let majority =
            |set: &Vec<BrokerId>| set.iter().filter(|broker| holds(broker)).count() > set.len() / 2;
        self.members.voters_at(index, entry).any(|sets| sets.iter().all(majority))
    }

    /// A member whose log differs further on gives up what a snapshot is about to bring it: then others have it.
    fn truncates(&self, node: NodeId, from: u64) -> Result<(), Violation> {
        let Some(member) = self.members.member(node) else { return Ok(()) };
        let lost = member.entries.range(from..member.synced.max(from)).find(|&(&index, &entry)| {
            Some(index) > member.covered
                && self.members.committed.get(&index) == Some(&entry)
                && !self.is_on_majority(index, entry, Some(node))
        });
        check(lost.is_none(), "S4", || {
            format!("node {} gives up from {from} on, and with that the committed entry {lost:?}", node.0)
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

impl Checker for Majority {
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

    fn voters(index: u64, sets: &[&[i32]]) -> Event {
        let set = |set: &&[i32]| set.iter().copied().map(BrokerId).collect();
        Event::QuorumVoters { index, voters: sets.iter().map(set).collect() }
    }

    const APPENDED: Event = Event::QuorumAppended { index: 1, term: 1, checksum: 9 };
    const SYNCED: Event = Event::QuorumSynced { end: 2 };
    const APPLIED: Event = Event::QuorumApplied { index: 1, term: 1, checksum: 9 };

    fn check(events: &[(NodeId, Event)], expected: bool) {
        let mut checker = Majority::default();
        let heard = events.iter().try_for_each(|(node, event)| checker.hear_of(*node, event));
        assert_eq!(heard.is_ok(), expected, "{events:?}: {heard:?}");
    }

    #[test]
    fn a_majority_has_it_on_disk() {
        let three = (A, voters(0, &[&[1, 2, 3]]));
        let both = [(A, APPENDED), (A, SYNCED), (B, APPENDED), (B, SYNCED), (A, APPLIED)];
        check(&[vec![three.clone()], both.to_vec()].concat(), true);
        check(&[three, (A, APPENDED), (A, SYNCED), (B, APPENDED), (A, APPLIED)], false);
    }

    #[test]
    fn while_voters_change_both_sets_have_it() {
        let joint = (A, voters(0, &[&[1, 2, 3], &[3, 4, 5]]));
        let both = [(A, APPENDED), (A, SYNCED), (B, APPENDED), (B, SYNCED), (A, APPLIED)];
        check(&[vec![joint], both.to_vec()].concat(), false);
    }

    #[test]
    fn a_committed_entry_is_not_given_up() {
        let alone = (A, voters(0, &[&[1]]));
        let cut = (A, Event::QuorumTruncated { from: 1 });
        let start = [alone, (A, APPENDED), (A, SYNCED)];
        check(&[start.to_vec(), vec![cut.clone(), (A, APPENDED)]].concat(), true);
        check(&[start.to_vec(), vec![(A, APPLIED), cut]].concat(), false);
    }
}
