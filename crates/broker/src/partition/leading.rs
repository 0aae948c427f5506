//! A partition that this node leads, towards its followers and the controller.

use super::Partition;
use super::history::LogHistory;
use super::role::Role;
use crate::errors;
use highwater_env::Env;
use highwater_replication::{Agreement, FollowerFetch, Moved, Proposal, ProposalAnswer, compare};
use highwater_types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, mutant};
use highwater_wire::ErrorCode;

/// A fetch by another replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchedBy {
    pub(crate) replica: BrokerId,
    /// Its incarnation, as it says.
    pub(crate) broker_epoch: BrokerEpoch,
    /// Its incarnation as the metadata has it, and whether it may be in sync.
    pub(crate) registered: BrokerEpoch,
    pub(crate) live: bool,
    /// The leader's epoch that it believes in.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The end of its log, the epoch of its last record, and how far it is on its disk, if it says.
    pub(crate) offset: Offset,
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) synced: Option<Offset>,
}

/// What a follower gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowerView {
    /// Everything up to `end`.
    Up { end: Offset, high_watermark: Offset },
    /// Its log parts from this one.
    Diverges { epoch: LeaderEpoch, end: Offset, high_watermark: Offset },
    /// Nothing.
    Refused(ErrorCode),
}

impl<E: Env> Partition<E> {
    /// Whether the high watermark is not below what was committed in earlier epochs. Until then nobody knows the end
    /// of what is committed.
    pub(crate) fn knows_high_watermark(&self) -> bool {
        match &self.replica().role {
            Role::Leader(leader) => leader.knows_high_watermark(),
            _ => true,
        }
    }

    /// A follower fetches: what it has counts from here on, if its log agrees with this one.
    pub(crate) fn fetched_by(&self, fetch: &FetchedBy) -> FollowerView {
        let mut replica = self.replica();
        let Role::Leader(leader) = &mut replica.role else {
            return FollowerView::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        if let Some(code) = errors::of_epoch(leader.epoch(), fetch.leader_epoch)
            && !mutant!("fetch-unfenced")
        {
            return FollowerView::Refused(code);
        }
        let high_watermark = leader.high_watermark();
        match compare(&LogHistory(&self.log), fetch.offset, fetch.last_epoch) {
            Agreement::Agrees => {}
            Agreement::Diverges { epoch, end } => {
                return FollowerView::Diverges { epoch, end, high_watermark };
            }
            Agreement::OutOfRange => return FollowerView::Refused(ErrorCode::OFFSET_OUT_OF_RANGE),
        }
        let now = self.env.clock().now();
        let own = self.ends();
        let grown = leader.advanced(own, now);
        let counted = leader.fetched(
            &FollowerFetch {
                replica: fetch.replica,
                broker_epoch: fetch.broker_epoch,
                registered: fetch.registered,
                live: fetch.live,
                leader_epoch: fetch.leader_epoch,
                end: fetch.offset,
                synced: fetch.synced,
            },
            now,
        );
        self.tracker.tell(self.id, grown);
        match counted {
            Ok(moved) => {
                self.tracker.tell(self.id, moved);
                FollowerView::Up { end: own.end, high_watermark: leader.high_watermark() }
            }
            Err(error) => {
                tracing::debug!(log = %self.id, %error, "a follower's fetch was refused");
                FollowerView::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER)
            }
        }
    }

    /// The end of a replica's log as this leader knows it, of one that is in sync.
    pub(crate) fn in_sync_end(&self, replica: BrokerId) -> Option<Offset> {
        match &self.replica().role {
            Role::Leader(leader) if leader.committed().contains(&replica) => leader.acknowledged(replica),
            _ => None,
        }
    }

    /// The epoch and the high watermark of a leader whose log goes on behind it, and whose followers have a say in
    /// that.
    pub(crate) fn waits_for_others(&self) -> Option<(LeaderEpoch, Offset)> {
        self.leading()?;
        let replica = self.replica();
        let Role::Leader(leader) = &replica.role else { return None };
        let high_watermark = leader.high_watermark();
        let has_more = self.log.end_offset() > high_watermark;
        let others = leader.committed().iter().chain(&leader.pending()).any(|id| *id != self.node);
        (has_more && others).then(|| (leader.epoch(), high_watermark))
    }

    /// What the controller is to be asked for now, if anything. `live` gives the incarnation of a broker that may be in
    /// sync.
    pub(crate) fn poll_proposal(&self, live: impl Fn(BrokerId) -> Option<BrokerEpoch>) -> Option<Proposal> {
        let mut replica = self.replica();
        let Role::Leader(leader) = &mut replica.role else { return None };
        let now = self.env.clock().now();
        let high_watermark = leader.look_at_brokers(now, &live);
        let proposal = leader.poll_proposal(now, live);
        self.tracker.tell(self.id, Moved { high_watermark, proposal: false });
        if proposal.is_some() {
            self.tell_in_sync(&mut replica);
        }
        proposal
    }

    /// What came of a proposal.
    pub(crate) fn answered(&self, proposal: &Proposal, answer: &ProposalAnswer) {
        let mut replica = self.replica();
        let Role::Leader(leader) = &mut replica.role else { return };
        if leader.epoch() != proposal.leader_epoch {
            return;
        }
        let moved = leader.answered(proposal, answer, self.env.clock().now());
        self.tell_in_sync(&mut replica);
        self.tracker.tell(self.id, moved);
    }
}
