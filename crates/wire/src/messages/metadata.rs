//! Metadata (key 3): the brokers, the topics and who leads their partitions.
//!
//! Version 0 takes an empty list of topics for all topics, every later one a null. Version 9 is the first
//! flexible one, 10 has topic ids, 12 looks topics up by id, 13 has an error for the request as a whole.

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};

/// Which topics to describe.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = METADATA, response = MetadataResponse, versions = "0-13", flexible = "9+")]
pub struct MetadataRequest {
    /// The topics, null for all.
    #[field(nullable = "1+")]
    pub topics: Option<Vec<MetadataRequestTopic>>,
    /// Whether a topic that is missing may be created.
    #[field(versions = "4+", default = true)]
    pub allow_auto_topic_creation: bool,
    /// Whether to say what the client may do with the cluster.
    #[field(versions = "8-10")]
    pub include_cluster_authorized_operations: bool,
    /// Whether to say what the client may do with the topics.
    #[field(versions = "8+")]
    pub include_topic_authorized_operations: bool,
}

/// A topic to describe.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataRequestTopic {
    /// Its id, or zero.
    #[field(versions = "10+")]
    pub topic_id: TopicId,
    /// Its name, or null.
    #[field(nullable = "10+")]
    pub name: Option<Str>,
}

/// The cluster as this broker sees it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-13", flexible = "9+")]
pub struct MetadataResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "3+")]
    pub throttle_time_ms: i32,
    /// The live brokers.
    pub brokers: Vec<MetadataResponseBroker>,
    /// The cluster's id.
    #[field(versions = "2+", nullable = "2+")]
    pub cluster_id: Option<Str>,
    /// The broker to send changes to.
    #[field(versions = "1+", default = BrokerId(-1))]
    pub controller_id: BrokerId,
    /// The topics.
    pub topics: Vec<MetadataResponseTopic>,
    /// What the client may do with the cluster, a bit each; the least number if it was not asked for.
    #[field(versions = "8-10", default = i32::MIN)]
    pub cluster_authorized_operations: i32,
    /// The outcome of the request as a whole.
    #[field(versions = "13+")]
    pub error_code: ErrorCode,
}

/// A broker and where it listens.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponseBroker {
    /// The broker.
    pub node_id: BrokerId,
    /// Its host name.
    pub host: Str,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    #[field(versions = "1+", nullable = "1+")]
    pub rack: Option<Str>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponseTopic {
    /// The outcome.
    pub error_code: ErrorCode,
    /// Its name; null if it was looked up by an id that nothing has.
    #[field(nullable = "12+")]
    pub name: Option<Str>,
    /// Its id; zero if it was looked up by a name that nothing has.
    #[field(versions = "10+")]
    pub topic_id: TopicId,
    /// Whether it is the cluster's own.
    #[field(versions = "1+")]
    pub is_internal: bool,
    /// Its partitions.
    pub partitions: Vec<MetadataResponsePartition>,
    /// What the client may do with it, a bit each; the least number if it was not asked for.
    #[field(versions = "8+", default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

/// A partition and who has it.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MetadataResponsePartition {
    /// The outcome.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition_index: PartitionIndex,
    /// Its leader, -1 if there is none.
    pub leader_id: BrokerId,
    /// The leader's epoch.
    #[field(versions = "7+", default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
    /// All its replicas.
    pub replica_nodes: Vec<BrokerId>,
    /// Those in sync with the leader.
    pub isr_nodes: Vec<BrokerId>,
    /// Those that are not alive.
    #[field(versions = "5+")]
    pub offline_replicas: Vec<BrokerId>,
}
