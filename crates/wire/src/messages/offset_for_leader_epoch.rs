//! OffsetForLeaderEpoch (key 23): where an epoch ends, so that consumers and followers find where their log
//! parts from the leader's (KIP-101, KIP-320). Version 4 is the first flexible one.

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex};

/// The epochs to look up.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(
    key = OFFSET_FOR_LEADER_EPOCH,
    response = OffsetForLeaderEpochResponse,
    versions = "2-4",
    flexible = "4+"
)]
pub struct OffsetForLeaderEpochRequest {
    /// The follower that asks, -1 for a consumer, -2 for one that did not say.
    #[field(versions = "3+", default = BrokerId(-2))]
    pub replica_id: BrokerId,
    /// The topics.
    pub topics: Vec<OffsetForLeaderTopic>,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetForLeaderTopic {
    /// The topic.
    pub topic: Str,
    /// Its partitions.
    pub partitions: Vec<OffsetForLeaderPartition>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetForLeaderPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The leader's epoch as the sender knows it.
    #[field(versions = "2+", default = LeaderEpoch::NONE)]
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch to look up.
    pub leader_epoch: LeaderEpoch,
}

/// Where the epochs end.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "2-4", flexible = "4+")]
pub struct OffsetForLeaderEpochResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "2+")]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetForLeaderTopicResult>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OffsetForLeaderTopicResult {
    /// The topic.
    pub topic: Str,
    /// Its partitions.
    pub partitions: Vec<EpochEndOffset>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct EpochEndOffset {
    /// The outcome.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition: PartitionIndex,
    /// The largest epoch not above the one asked for.
    #[field(versions = "1+", default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
    /// The offset after its last record.
    #[field(default = Offset(-1))]
    pub end_offset: Offset,
}
