//! DescribeTopicPartitions (key 75): topics and who has their partitions, page by page (KIP-966).

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};

/// Which topics to describe.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(
    key = DESCRIBE_TOPIC_PARTITIONS,
    response = DescribeTopicPartitionsResponse,
    versions = "0",
    flexible = "0+"
)]
pub struct DescribeTopicPartitionsRequest {
    /// The topics, empty for all.
    pub topics: Vec<TopicRequest>,
    /// How many partitions to answer with at most.
    #[field(default = 2000)]
    pub response_partition_limit: i32,
    /// Where to go on, null for the start.
    #[field(nullable = "0+")]
    pub cursor: Option<Cursor>,
}

/// A topic to describe.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicRequest {
    /// Its name.
    pub name: Str,
}

/// A place among all partitions, by topic name and partition.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Cursor {
    /// The topic.
    pub topic_name: Str,
    /// The partition.
    pub partition_index: PartitionIndex,
}

/// One page of topics.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct DescribeTopicPartitionsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Where the next page starts, null after the last.
    #[field(nullable = "0+")]
    pub next_cursor: Option<Cursor>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeTopicPartitionsResponseTopic {
    /// The outcome.
    pub error_code: ErrorCode,
    /// Its name.
    #[field(nullable = "0+")]
    pub name: Option<Str>,
    /// Its id.
    pub topic_id: TopicId,
    /// Whether it is the cluster's own.
    pub is_internal: bool,
    /// Its partitions.
    pub partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    /// What the client may do with it, a bit each; the least number if it was not asked for.
    #[field(default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

/// A partition and who has it.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeTopicPartitionsResponsePartition {
    /// The outcome.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition_index: PartitionIndex,
    /// Its leader, -1 if there is none.
    pub leader_id: BrokerId,
    /// The leader's epoch.
    #[field(default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
    /// All its replicas.
    pub replica_nodes: Vec<BrokerId>,
    /// Those in sync with the leader.
    pub isr_nodes: Vec<BrokerId>,
    /// Those out of sync that may still lead.
    #[field(nullable = "0+")]
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    /// Those that were the last to be eligible.
    #[field(nullable = "0+")]
    pub last_known_elr: Option<Vec<BrokerId>>,
    /// Those that are not alive.
    pub offline_replicas: Vec<BrokerId>,
}
