//! ListOffsets (key 2): finds offsets by time, and the first and last ones.
//!
//! A timestamp below zero asks for a place: -1 the end, -2 the start, -3 the record with the largest
//! timestamp (version 7), -4 the local start (8), -5 the end of what is in remote storage (9), -6 the start
//! of what is yet to go there (11). Version 6 is the first flexible one, 10 adds a timeout.

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp};

/// What to look for in which partitions.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = LIST_OFFSETS, response = ListOffsetsResponse, versions = "1-11", flexible = "6+")]
pub struct ListOffsetsRequest {
    /// The broker that asks, -1 for a client.
    pub replica_id: BrokerId,
    /// 0 ends at the high watermark, 1 at the last stable offset.
    #[field(versions = "2+")]
    pub isolation_level: i8,
    /// The topics.
    pub topics: Vec<ListOffsetsTopic>,
    /// How long to wait for remote storage, in milliseconds.
    #[field(versions = "10+")]
    pub timeout_ms: i32,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<ListOffsetsPartition>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The leader's epoch as the sender knows it.
    #[field(versions = "4+", default = LeaderEpoch::NONE)]
    pub current_leader_epoch: LeaderEpoch,
    /// The time, or one of the places above.
    pub timestamp: Timestamp,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "1-11", flexible = "6+")]
pub struct ListOffsetsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "2+")]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<ListOffsetsTopicResponse>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsTopicResponse {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<ListOffsetsPartitionResponse>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListOffsetsPartitionResponse {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The timestamp of the record found, -1 if a place was asked for.
    #[field(versions = "1+", default = Timestamp::NONE)]
    pub timestamp: Timestamp,
    /// The offset, -1 if there is none.
    #[field(versions = "1+", default = Offset(-1))]
    pub offset: Offset,
    /// The epoch of the record at that offset.
    #[field(versions = "4+", default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
}
