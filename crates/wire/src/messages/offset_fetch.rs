//! OffsetFetch (key 9): how far groups have read.
//!
//! Version 2 reads all of a group's offsets, 5 brings the leader epoch (KIP-320), 6 is the first flexible one, 7
//! waits for open transactions (KIP-447), 8 asks for several groups (KIP-709), 9 carries the member's epoch
//! (KIP-848), 10 names topics by id.

use crate::{ErrorCode, Message, Str};
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, TopicId};

/// Whose offsets to read.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = OFFSET_FETCH, response = OffsetFetchResponse, versions = "1-10", flexible = "6+")]
pub struct OffsetFetchRequest {
    /// The group.
    #[field(versions = "0-7")]
    pub group_id: Str,
    /// The topics, null for all that have offsets.
    #[field(versions = "0-7", nullable = "2-7")]
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    /// The groups.
    #[field(versions = "8+")]
    pub groups: Vec<OffsetFetchRequestGroup>,
    /// Whether to refuse partitions that an open transaction may yet commit.
    #[field(versions = "7+")]
    pub require_stable: bool,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// One group's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestGroup {
    /// The group.
    pub group_id: Str,
    /// The member, null from one that is none.
    #[field(versions = "9+", nullable = "9+")]
    pub member_id: Option<Str>,
    /// The member's epoch.
    #[field(versions = "9+", default = -1)]
    pub member_epoch: i32,
    /// The topics, null for all that have offsets.
    #[field(nullable = "8+")]
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
}

/// One topic's part of a group's part.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchRequestTopics {
    /// The topic.
    #[field(versions = "8-9")]
    pub name: Str,
    /// The topic.
    #[field(versions = "10+")]
    pub topic_id: TopicId,
    /// Its partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// The offsets.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "1-10", flexible = "6+")]
pub struct OffsetFetchResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "3+")]
    pub throttle_time_ms: i32,
    /// The topics.
    #[field(versions = "0-7")]
    pub topics: Vec<OffsetFetchResponseTopic>,
    /// The outcome of the request as a whole.
    #[field(versions = "2-7")]
    pub error_code: ErrorCode,
    /// The groups.
    #[field(versions = "8+")]
    pub groups: Vec<OffsetFetchResponseGroup>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseTopic {
    /// The topic.
    pub name: Str,
    /// Its partitions.
    pub partitions: Vec<OffsetFetchResponsePartition>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponsePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The next offset to read, -1 for none.
    pub committed_offset: Offset,
    /// The leader epoch of the last record read.
    #[field(versions = "5+", default = LeaderEpoch::NONE)]
    pub committed_leader_epoch: LeaderEpoch,
    /// What the client kept with the offset.
    #[field(nullable = "0+")]
    pub metadata: Option<Str>,
    /// The outcome.
    pub error_code: ErrorCode,
}

/// One group's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseGroup {
    /// The group.
    pub group_id: Str,
    /// The topics.
    pub topics: Vec<OffsetFetchResponseTopics>,
    /// The outcome.
    pub error_code: ErrorCode,
}

/// One topic's part of a group's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponseTopics {
    /// The topic.
    #[field(versions = "8-9")]
    pub name: Str,
    /// The topic.
    #[field(versions = "10+")]
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<OffsetFetchResponsePartitions>,
}

/// One partition's part of a group's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetFetchResponsePartitions {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The next offset to read, -1 for none.
    pub committed_offset: Offset,
    /// The leader epoch of the last record read.
    #[field(default = LeaderEpoch::NONE)]
    pub committed_leader_epoch: LeaderEpoch,
    /// What the client kept with the offset.
    #[field(nullable = "8+")]
    pub metadata: Option<Str>,
    /// The outcome.
    pub error_code: ErrorCode,
}
