//! Structs that several messages have, alike in each of them.

use crate::{Message, Str};
use highwater_types::{BrokerId, LeaderEpoch};

/// The leader of a partition, for a client that asked another broker.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct LeaderIdAndEpoch {
    /// The leader, -1 if there is none.
    #[field(default = BrokerId(-1))]
    pub leader_id: BrokerId,
    /// Its epoch.
    #[field(default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct NodeEndpoint {
    /// The broker.
    pub node_id: BrokerId,
    /// Its host name.
    pub host: Str,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    #[field(nullable = "0+")]
    pub rack: Option<Str>,
}
