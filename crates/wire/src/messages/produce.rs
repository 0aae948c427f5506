//! Produce (key 0): appends record batches to partitions.
//!
//! Version 9 is the first flexible one, 10 names the new leader to a client that asked the wrong broker, 12
//! adds partitions to a transaction by itself (KIP-890), 13 names topics by id.

pub use super::shared::{LeaderIdAndEpoch, NodeEndpoint};
use crate::{ErrorCode, Message, Records, Str};
use highwater_types::{Offset, PartitionIndex, Timestamp, TopicId};

/// Record batches for any number of partitions.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = PRODUCE, response = ProduceResponse, versions = "3-13", flexible = "9+")]
pub struct ProduceRequest {
    /// The transactional id; null unless the producer is transactional.
    #[field(nullable = "0+")]
    pub transactional_id: Option<Str>,
    /// Who must have the records before the answer: 0 nobody (and there is no answer), 1 the leader, -1 all
    /// in-
    /// sync replicas.
    pub acks: i16,
    /// How long to wait for them, in milliseconds.
    pub timeout_ms: i32,
    /// The topics.
    pub topic_data: Vec<TopicProduceData>,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicProduceData {
    /// The topic.
    #[field(versions = "0-12")]
    pub name: Str,
    /// The topic.
    #[field(versions = "13+")]
    pub topic_id: TopicId,
    /// Its partitions.
    pub partition_data: Vec<PartitionProduceData>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionProduceData {
    /// The partition.
    pub index: PartitionIndex,
    /// One record batch.
    #[field(nullable = "0+")]
    pub records: Records,
}

/// What became of each partition's batch.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "3-13", flexible = "9+")]
pub struct ProduceResponse {
    /// The topics.
    pub responses: Vec<TopicProduceResponse>,
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// Where the leaders named in the answer listen.
    #[field(versions = "10+", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicProduceResponse {
    /// The topic.
    #[field(versions = "0-12")]
    pub name: Str,
    /// The topic.
    #[field(versions = "13+")]
    pub topic_id: TopicId,
    /// Its partitions.
    pub partition_responses: Vec<PartitionProduceResponse>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionProduceResponse {
    /// The partition.
    pub index: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The first record's offset.
    pub base_offset: Offset,
    /// The broker's time of the append; -1 if the records keep their own.
    #[field(versions = "2+", default = Timestamp::NONE)]
    pub log_append_time_ms: Timestamp,
    /// The partition's first offset.
    #[field(versions = "5+", default = Offset(-1))]
    pub log_start_offset: Offset,
    /// The records that made the broker refuse the batch.
    #[field(versions = "8+")]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    /// What is wrong, in words.
    #[field(versions = "8+", nullable = "8+")]
    pub error_message: Option<Str>,
    /// The leader to ask instead.
    #[field(versions = "10+", tag = 0)]
    pub current_leader: LeaderIdAndEpoch,
}

/// A record for which its batch was refused.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct BatchIndexAndErrorMessage {
    /// The record's place in the batch.
    #[field(versions = "8+")]
    pub batch_index: i32,
    /// What is wrong with it, in words.
    #[field(versions = "8+", nullable = "8+")]
    pub batch_index_error_message: Option<Str>,
}
