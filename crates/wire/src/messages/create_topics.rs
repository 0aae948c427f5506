//! CreateTopics (key 19): creates topics.
//!
//! From version 4 on -1 partitions or replicas ask for the broker's default; 5 is the first flexible one and
//! answers with the topic's configuration, 7 with its id.

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, PartitionIndex, TopicId};

/// The topics to create.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = CREATE_TOPICS, response = CreateTopicsResponse, versions = "2-7", flexible = "5+")]
pub struct CreateTopicsRequest {
    /// The topics.
    pub topics: Vec<CreatableTopic>,
    /// How long to wait, in milliseconds.
    #[field(default = 60_000)]
    pub timeout_ms: i32,
    /// Whether only to check the request.
    #[field(versions = "1+")]
    pub validate_only: bool,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopic {
    /// Its name.
    pub name: Str,
    /// How many partitions, -1 for the default or if `assignments` say it.
    pub num_partitions: i32,
    /// How many replicas, -1 for the default or if `assignments` say it.
    pub replication_factor: i16,
    /// Where each partition goes; empty to leave it to the broker.
    pub assignments: Vec<CreatableReplicaAssignment>,
    /// The configuration where it differs from the default.
    pub configs: Vec<CreatableTopicConfig>,
}

/// Where one partition goes.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableReplicaAssignment {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// Its replicas, the preferred leader first.
    pub broker_ids: Vec<BrokerId>,
}

/// A configuration of a topic to create.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicConfig {
    /// Its name.
    pub name: Str,
    /// Its value.
    #[field(nullable = "0+")]
    pub value: Option<Str>,
}

/// What became of each topic.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "2-7", flexible = "5+")]
pub struct CreateTopicsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "2+")]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<CreatableTopicResult>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicResult {
    /// Its name.
    pub name: Str,
    /// Its id.
    #[field(versions = "7+")]
    pub topic_id: TopicId,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(versions = "1+", nullable = "0+")]
    pub error_message: Option<Str>,
    /// Why there is no configuration in the answer.
    #[field(versions = "5+", tag = 0)]
    pub topic_config_error_code: ErrorCode,
    /// How many partitions it has.
    #[field(versions = "5+", default = -1)]
    pub num_partitions: i32,
    /// How many replicas each of them has.
    #[field(versions = "5+", default = -1)]
    pub replication_factor: i16,
    /// Its configuration.
    #[field(versions = "5+", nullable = "5+")]
    pub configs: Option<Vec<CreatableTopicConfigs>>,
}

/// A configuration of a created topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatableTopicConfigs {
    /// Its name.
    #[field(versions = "5+")]
    pub name: Str,
    /// Its value.
    #[field(versions = "5+", nullable = "5+")]
    pub value: Option<Str>,
    /// Whether it cannot be changed.
    #[field(versions = "5+")]
    pub read_only: bool,
    /// Where its value comes from.
    #[field(versions = "5+", default = -1)]
    pub config_source: i8,
    /// Whether its value is kept secret.
    #[field(versions = "5+")]
    pub is_sensitive: bool,
}
