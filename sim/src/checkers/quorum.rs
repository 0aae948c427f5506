//! What is known of the quorum's leaders.

use crate::executor::NodeId;
use highwater_env::Event;
use highwater_types::{BrokerId, Instant};
use std::collections::BTreeMap;

/// What is known of the quorum's leaders, and of who votes.
#[derive(Clone, Debug, Default)]
pub struct Quorum {
    /// The leader of the largest term, and since when.
    pub leader: Option<Elected>,
    /// The voters as the newest entry has them that anybody told of.
    pub voters: Vec<Vec<BrokerId>>,
    voters_index: u64,
    /// The entry that each member applied last.
    applied: BTreeMap<NodeId, u64>,
}

/// A leader of the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elected {
    /// Its term.
    pub term: u64,
    /// Which node.
    pub node: NodeId,
    /// When it said so.
    pub at: Instant,
    /// Whether its process has run ever since.
    pub runs: bool,
}

impl Quorum {
    /// The entry that a node applied last.
    pub fn applied(&self, node: NodeId) -> Option<u64> {
        self.applied.get(&node).copied()
    }

    pub(super) fn take(&mut self, node: NodeId, at: Instant, event: &Event) {
        match event {
            Event::QuorumLeader { term } if self.leader.is_none_or(|known| known.term <= *term) => {
                self.leader = Some(Elected { term: *term, node, at, runs: true });
            }
            Event::QuorumApplied { index, .. } => {
                self.applied.insert(node, *index);
            }
            Event::QuorumVoters { index, voters } if *index >= self.voters_index => {
                (self.voters_index, self.voters) = (*index, voters.clone());
            }
            _ => {}
        }
    }

    pub(super) fn stopped(&mut self, node: NodeId) {
        self.applied.remove(&node);
        if let Some(leader) = self.leader.as_mut().filter(|leader| leader.node == node) {
            leader.runs = false;
        }
    }
}
