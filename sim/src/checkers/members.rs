//! What the members of a quorum told: the ghost of the checkers S3 and S4.

use crate::executor::NodeId;
use highwater_env::Event;
use highwater_types::BrokerId;
use std::collections::{BTreeMap, BTreeSet};

/// An entry's term and the checksum of its content.
pub type Entry = (u64, u32);

/// What is known of one member.
#[derive(Debug, Default)]
pub struct Member {
    /// The entries of its log, those that it purged included.
    pub entries: BTreeMap<u64, Entry>,
    /// Everything before this is on its disk.
    pub synced: u64,
    /// Its state stands at a snapshot up to this index, or has done so.
    pub covered: Option<u64>,
    /// The last entry that it applied.
    pub applied: Option<u64>,
    /// Its process ended, and has not told yet what it found on its disk.
    pub opening: bool,
}

/// What the members of a quorum told.
#[derive(Debug, Default)]
pub struct Members {
    members: BTreeMap<NodeId, Member>,
    /// Every entry that some member applied: the log that is committed.
    pub committed: BTreeMap<u64, Entry>,
    /// Which members had an entry on disk.
    held: BTreeMap<(u64, Entry), BTreeSet<NodeId>>,
    /// The sets of voters, by the entry that says so.
    voters: BTreeMap<(u64, Option<Entry>), Vec<Vec<BrokerId>>>,
}

/// The broker that a node is, in every simulation: they are numbered from 1.
pub fn broker_of(node: NodeId) -> BrokerId {
    BrokerId(i32::try_from(node.0 + 1).unwrap_or(i32::MAX))
}

impl Members {
    /// A member.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// Takes in an event. Call it after the checks of what the event says.
    pub fn take(&mut self, node: NodeId, event: &Event) {
        let member = self.members.entry(node).or_default();
        match *event {
            Event::QuorumAppended { index, term, checksum } => {
                member.entries.insert(index, (term, checksum));
            }
            Event::QuorumSynced { end } => {
                for (&index, &entry) in member.entries.range(member.synced.min(end)..end) {
                    self.held.entry((index, entry)).or_default().insert(node);
                }
                member.synced = end;
            }
            Event::QuorumTruncated { from } => {
                for (index, entry) in member.entries.split_off(&from) {
                    if let Some(holders) = self.held.get_mut(&(index, entry)) {
                        holders.remove(&node);
                    }
                }
                member.synced = member.synced.min(from);
                member.opening = false;
            }
            Event::QuorumApplied { index, term, checksum } => {
                member.applied = Some(index);
                self.committed.entry(index).or_insert((term, checksum));
            }
            Event::QuorumSnapshot { index, installed, .. } => {
                member.covered = member.covered.max(Some(index));
                if installed || member.applied.is_none() {
                    member.applied = Some(index);
                }
            }
            Event::QuorumVoters { index, ref voters } => {
                let entry = member.entries.get(&index).or_else(|| self.committed.get(&index)).copied();
                self.voters.insert((index, entry), voters.clone());
            }
            _ => {}
        }
    }

    /// A member's process ended: it will apply anew from its snapshot on.
    pub fn stopped(&mut self, node: NodeId) {
        if let Some(member) = self.members.get_mut(&node) {
            member.applied = None;
            member.opening = true;
        }
    }

    /// A member lost its disk. That it held entries before stays true of the disk that it had.
    pub fn wiped(&mut self, node: NodeId) {
        self.members.remove(&node);
    }

    /// Whether a member has had an entry on disk, by itself or in a snapshot.
    pub fn has_held(&self, node: NodeId, index: u64, entry: Entry) -> bool {
        let by_snapshot = || self.member(node).is_some_and(|member| member.covered >= Some(index));
        self.held.get(&(index, entry)).is_some_and(|holders| holders.contains(&node)) || by_snapshot()
    }

    /// The sets of voters that may have committed an entry: those in force at it, and any that came later, because a
    /// leader counts by the latest that it has.
    pub fn voters_at(&self, index: u64, entry: Entry) -> impl Iterator<Item = &Vec<Vec<BrokerId>>> {
        // What another entry took the place of was never in force.
        let stands = move |&(at, of): &(u64, Option<Entry>)| {
            let known = if at == index { Some(entry) } else { self.committed.get(&at).copied() };
            of.is_none() || of == known
        };
        let before = self.voters.range(..(index + 1, None));
        let in_force = before.rev().find(move |(at, _)| stands(at));
        in_force.into_iter().chain(self.voters.range((index + 1, None)..)).map(|(_, sets)| sets)
    }
}
