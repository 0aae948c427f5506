//! OffsetDelete (key 47): forgets how far a group has read (KIP-496). It has no flexible version.

use crate::{ErrorCode, Message, Str};
use highwater_types::PartitionIndex;

/// What to forget.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = OFFSET_DELETE, response = OffsetDeleteResponse, versions = "0", flexible = "none")]
pub struct OffsetDeleteRequest {
    /// The group.
    pub group_id: Str,
    /// The topics.
    pub topics: Vec<OffsetDeleteRequestTopic>,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetDeleteRequestTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<OffsetDeleteRequestPartition>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetDeleteRequestPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "none")]
pub struct OffsetDeleteResponse {
    /// The outcome of the request as a whole.
    pub error_code: ErrorCode,
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetDeleteResponseTopic>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetDeleteResponseTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<OffsetDeleteResponsePartition>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetDeleteResponsePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
}
