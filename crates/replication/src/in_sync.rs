//! The in-sync set, as the controller committed it and as it may be by now.

use crate::assignment::Assignment;
use crate::proposal::Proposal;
use highwater_types::{BrokerId, Instant, mutant};
use std::collections::BTreeSet;

/// The in-sync set, as the controller committed it and as it may be by now.
///
/// From the moment a proposal leaves until it is known what came of it, the controller may elect from either set. So
/// the high watermark waits for every member of both (the maximal in-sync set of KIP-497).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InSync {
    pub(crate) partition_epoch: i32,
    pub(crate) committed: BTreeSet<BrokerId>,
    pub(crate) pending: Option<Pending>,
    /// Members of proposals that were given up, and may arrive yet.
    pub(crate) stray: BTreeSet<BrokerId>,
}

/// A proposal whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) proposal: Proposal,
    pub(crate) state: PendingState,
    /// Whether there was an attempt without an answer.
    pub(crate) open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PendingState {
    /// It is on its way.
    Sent,
    /// There was no answer; it is sent again then.
    Again(Instant),
    /// It was refused as stale: the metadata tells whether an earlier attempt at it was what made it so.
    Metadata,
}

impl InSync {
    pub(crate) fn new(assignment: &Assignment) -> Self {
        Self {
            partition_epoch: assignment.partition_epoch,
            committed: assignment.isr.iter().copied().collect(),
            pending: None,
            stray: BTreeSet::new(),
        }
    }

    /// Takes what the controller committed; false if that is not news. A proposal that was made from an earlier state
    /// is either part of it or will never be.
    pub(crate) fn commit(&mut self, assignment: &Assignment) -> bool {
        if assignment.partition_epoch <= self.partition_epoch {
            return false;
        }
        *self = Self::new(assignment);
        true
    }

    /// Gives the proposal up that is under way. If an attempt at it had no answer, that may take effect all the same.
    pub(crate) fn give_up(&mut self) {
        if let Some(pending) = self.pending.take().filter(|pending| pending.open) {
            self.stray.extend(pending.proposal.isr.iter().map(|&(member, _)| member));
        }
    }

    /// All that may be in sync by now; some more than once.
    pub(crate) fn maximal(&self) -> impl Iterator<Item = BrokerId> {
        let asked_for = self.asked_for().filter(|_| !mutant!("isr-committed-only"));
        self.committed.iter().copied().chain(asked_for)
    }

    /// Those that were asked for and are not committed.
    pub(crate) fn pending_members(&self) -> BTreeSet<BrokerId> {
        self.asked_for().filter(|member| !self.committed.contains(member)).collect()
    }

    fn asked_for(&self) -> impl Iterator<Item = BrokerId> {
        let proposed = self.pending.iter().flat_map(|pending| &pending.proposal.isr);
        proposed.map(|&(member, _)| member).chain(self.stray.iter().copied())
    }
}
