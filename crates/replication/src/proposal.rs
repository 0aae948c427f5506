//! What a leader asks of the controller.

use crate::assignment::Assignment;
use highwater_types::{BrokerEpoch, BrokerId, LeaderEpoch};

/// Another set of in-sync replicas that a leader asks the controller for (KIP-497).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The epoch of the leader that asks.
    pub leader_epoch: LeaderEpoch,
    /// The state that it was made from. The controller refuses it if that is no longer the present one, and makes
    /// another state of it even if the set stays the same: so only one of all proposals that were made from a state
    /// takes effect, once, however often they are sent and however late they arrive.
    pub partition_epoch: i32,
    /// The set, with the incarnations that the leader has seen (KIP-903).
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
}

/// What came of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalAnswer {
    /// The controller has made it so, and this is the partition now.
    Accepted(Assignment),
    /// The partition has changed meanwhile, or has another leader: the metadata will tell. An earlier attempt at the
    /// same proposal may be what changed it.
    Stale,
    /// This attempt has not been and will not be made so: a member of the set may not be in it now, or the
    /// controller did not look at it. Of attempts without an answer that says nothing: they may arrive yet.
    Refused,
    /// Nobody knows: there was no answer.
    Open,
}
