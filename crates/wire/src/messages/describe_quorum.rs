//! DescribeQuorum (key 55): the state of the metadata quorum, as its leader knows it (KIP-595, KIP-853).

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Uuid};

/// Which quorums are asked for.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = DESCRIBE_QUORUM, response = DescribeQuorumResponse, versions = "0-2", flexible = "0+")]
pub struct DescribeQuorumRequest {
    /// The topics: `__cluster_metadata` is the only one that has a quorum.
    pub topics: Vec<DescribeQuorumTopic>,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeQuorumTopic {
    /// The topic.
    pub topic_name: Str,
    /// Its partitions.
    pub partitions: Vec<DescribeQuorumPartition>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribeQuorumPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
}

/// The quorums.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-2", flexible = "0+")]
pub struct DescribeQuorumResponse {
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(versions = "2+", nullable = "2+")]
    pub error_message: Option<Str>,
    /// The topics.
    pub topics: Vec<QuorumTopic>,
    /// Where the members listen.
    #[field(versions = "2+")]
    pub nodes: Vec<QuorumNode>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuorumTopic {
    /// The topic.
    pub topic_name: Str,
    /// Its partitions.
    pub partitions: Vec<QuorumPartition>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuorumPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(versions = "2+", nullable = "2+")]
    pub error_message: Option<Str>,
    /// The leader, -1 if none is known.
    pub leader_id: BrokerId,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// The end of what is committed.
    pub high_watermark: Offset,
    /// The voters.
    pub current_voters: Vec<QuorumReplica>,
    /// The members that do not vote.
    pub observers: Vec<QuorumReplica>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuorumReplica {
    /// The node.
    pub replica_id: BrokerId,
    /// Its disk.
    #[field(versions = "2+")]
    pub replica_directory_id: Uuid,
    /// The end of its log as far as the leader knows, -1 if it does not.
    pub log_end_offset: Offset,
    /// When it was last heard of, -1 if that is not known.
    #[field(versions = "1+", default = -1)]
    pub last_fetch_timestamp: i64,
    /// When it last had everything, -1 if that is not known.
    #[field(versions = "1+", default = -1)]
    pub last_caught_up_timestamp: i64,
}

/// Where a member listens.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuorumNode {
    /// The node.
    pub node_id: BrokerId,
    /// Its listeners.
    pub listeners: Vec<QuorumListener>,
}

/// A listener of a member.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct QuorumListener {
    /// Its name.
    pub name: Str,
    /// Its host.
    pub host: Str,
    /// Its port.
    pub port: u16,
}
