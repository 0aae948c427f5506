//! The consumer that shares topics with the other members of its group.
//!
//! [`GroupConsumer::poll`] does what there is to do: joins, asks for what was committed, hands out records, commits
//! what was handed out before. A task of its own speaks for the member while the user works on records: it joins, sends
//! heartbeats, and hears what the member is to have. What it hears is acted on with the next poll.
//!
//! Partitions change hands in one order, whatever the protocol. The poll that finds that some must be given up says so
//! ([`Rebalance::Revoked`]) and hands out nothing, so that the user can commit what it has done of them; the next poll
//! gives them up, and takes what is new ([`Rebalance::Assigned`]). In the classic protocol with `range` a rebalance
//! takes all that a member has ("eager"). With `cooperative-sticky` (KIP-429) and in the consumer protocol (KIP-848)
//! it takes only what another is to have, and what stays is read on without a pause.

mod assignor;
mod classic;
mod config;
mod consumer_protocol;
mod line;
mod member;

pub use config::{ClassicAssignor, GroupConfig, GroupProtocol};
pub use member::GroupConsumer;

use highwater_types::{Offset, PartitionIndex};
use highwater_wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};

/// What happened to a member's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// It has these from now on, besides those that it had before. Told at the end of every rebalance, with none if it
    /// brought none.
    Assigned(Vec<(Str, PartitionIndex)>),
    /// It gives these up with the next poll, and can commit until then.
    Revoked(Vec<(Str, PartitionIndex)>),
    /// It had these, and others may have them by now. Some of them may have been told as revoked before.
    Lost(Vec<(Str, PartitionIndex)>),
}

/// Where each partition is to be read on.
pub type Positions = BTreeMap<(Str, PartitionIndex), Offset>;

/// Partitions, by topic.
type Partitions = BTreeSet<(Str, PartitionIndex)>;

/// The first error in an answer to a commit.
pub(crate) fn first_error(codes: impl IntoIterator<Item = ErrorCode>) -> ErrorCode {
    codes.into_iter().find(|code| !code.is_ok()).unwrap_or(ErrorCode::NONE)
}

#[cfg(test)]
mod tests;
