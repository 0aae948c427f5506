//! ListPartitionReassignments (key 46): the partitions that are being moved (KIP-455).

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, PartitionIndex};

/// Which partitions are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = LIST_PARTITION_REASSIGNMENTS, response = ListPartitionReassignmentsResponse, versions = "0", flexible = "0+")]
pub struct ListPartitionReassignmentsRequest {
    /// How long to wait, in milliseconds.
    #[field(default = 60_000)]
    pub timeout_ms: i32,
    /// The topics; null for all.
    #[field(nullable = "0+")]
    pub topics: Option<Vec<ListReassignmentsTopic>>,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListReassignmentsTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// What is being moved.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct ListPartitionReassignmentsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome of the request as a whole.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
    /// The topics that have such partitions.
    pub topics: Vec<OngoingTopicReassignment>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OngoingTopicReassignment {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<OngoingPartitionReassignment>,
}

/// A partition that is being moved.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OngoingPartitionReassignment {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// All its replicas.
    pub replicas: Vec<BrokerId>,
    /// Those that are being added.
    pub adding_replicas: Vec<BrokerId>,
    /// Those that will be removed.
    pub removing_replicas: Vec<BrokerId>,
}
