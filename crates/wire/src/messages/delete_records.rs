//! DeleteRecords (key 21): moves the start of partitions forward. Version 2 is the first flexible one.

use crate::{ErrorCode, Message, Str};
use highwater_types::{Offset, PartitionIndex};

/// The new starts.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = DELETE_RECORDS, response = DeleteRecordsResponse, versions = "0-2", flexible = "2+")]
pub struct DeleteRecordsRequest {
    /// The topics.
    pub topics: Vec<DeleteRecordsTopic>,
    /// How long to wait, in milliseconds.
    pub timeout_ms: i32,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteRecordsTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<DeleteRecordsPartition>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteRecordsPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// Its new start; -1 for the high watermark.
    pub offset: Offset,
}

/// The starts as they are.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-2", flexible = "2+")]
pub struct DeleteRecordsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<DeleteRecordsTopicResult>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteRecordsTopicResult {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<DeleteRecordsPartitionResult>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteRecordsPartitionResult {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// Its start.
    pub low_watermark: Offset,
    /// The outcome.
    pub error_code: ErrorCode,
}
