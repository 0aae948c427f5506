//! AlterPartitionReassignments (key 45): moves partitions to other brokers (KIP-455).

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, PartitionIndex};

/// Where partitions shall be.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(
    key = ALTER_PARTITION_REASSIGNMENTS,
    response = AlterPartitionReassignmentsResponse,
    versions = "0-1",
    flexible = "0+"
)]
pub struct AlterPartitionReassignmentsRequest {
    /// How long to wait, in milliseconds.
    #[field(default = 60_000)]
    pub timeout_ms: i32,
    /// Whether partitions may get more or fewer replicas than they have.
    #[field(versions = "1+", default = true)]
    pub allow_replication_factor_change: bool,
    /// The topics.
    pub topics: Vec<ReassignableTopic>,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReassignableTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<ReassignablePartition>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReassignablePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The brokers, the preferred leader first; null gives a reassignment up.
    #[field(nullable = "0+")]
    pub replicas: Option<Vec<BrokerId>>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-1", flexible = "0+")]
pub struct AlterPartitionReassignmentsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What the request said.
    #[field(versions = "1+", default = true)]
    pub allow_replication_factor_change: bool,
    /// The outcome of the request as a whole.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
    /// The topics.
    pub responses: Vec<ReassignableTopicResponse>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReassignableTopicResponse {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<ReassignablePartitionResponse>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReassignablePartitionResponse {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
}
