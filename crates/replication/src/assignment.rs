//! What the controller says of a partition.

use highwater_types::{BrokerId, LeaderEpoch};

/// What the controller says of a partition, at one point of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of the partition.
    pub partition_epoch: i32,
    /// All replicas.
    pub replicas: Vec<BrokerId>,
    /// Those in sync.
    pub isr: Vec<BrokerId>,
}
