//! OffsetCommit (key 8): how far a group has read.
//!
//! Version 5 drops the retention time (KIP-211), 6 brings the leader epoch (KIP-320), 7 static members (KIP-345), 8
//! is the first flexible one, 9 the epochs of the new group protocol (KIP-848), 10 names topics by id.

use crate::{ErrorCode, Message, Str};
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, TopicId};

/// What to commit.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = OFFSET_COMMIT, response = OffsetCommitResponse, versions = "2-10", flexible = "8+")]
pub struct OffsetCommitRequest {
    /// The group.
    pub group_id: Str,
    /// The generation, or the member's epoch; -1 from one that is no member.
    #[field(default = -1)]
    pub generation_id_or_member_epoch: i32,
    /// The member, empty from one that is none.
    pub member_id: Str,
    /// The name of a static member.
    #[field(versions = "7+", nullable = "7+")]
    pub group_instance_id: Option<Str>,
    /// For how long to keep the offsets, in milliseconds; -1 for the broker's default.
    #[field(versions = "2-4", default = -1)]
    pub retention_time_ms: i64,
    /// The topics.
    pub topics: Vec<OffsetCommitRequestTopic>,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitRequestTopic {
    /// The topic.
    #[field(versions = "0-9")]
    pub name: Str,
    /// The topic.
    #[field(versions = "10+")]
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<OffsetCommitRequestPartition>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitRequestPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The next offset to read.
    pub committed_offset: Offset,
    /// The leader epoch of the last record read.
    #[field(versions = "6+", default = LeaderEpoch::NONE)]
    pub committed_leader_epoch: LeaderEpoch,
    /// What the client wants to keep with the offset.
    #[field(nullable = "0+")]
    pub committed_metadata: Option<Str>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "2-10", flexible = "8+")]
pub struct OffsetCommitResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "3+")]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetCommitResponseTopic>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitResponseTopic {
    /// The topic.
    #[field(versions = "0-9")]
    pub name: Str,
    /// The topic.
    #[field(versions = "10+")]
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<OffsetCommitResponsePartition>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetCommitResponsePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
}
