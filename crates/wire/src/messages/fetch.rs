//! Fetch (key 1): reads record batches from partitions; followers replicate with it.
//!
//! Version 7 brings fetch sessions (KIP-227), 9 the leader epoch (KIP-320), 12 is the first flexible one and
//! finds diverging logs, 13 names topics by id, 15 moves the replica's id into a tagged field, 16 names the
//! new leader to a client that asked the wrong broker, 17 carries the follower's directory, 18 its high
//! watermark. A tagged field of our own says how far the follower's log is on its disk.

pub use super::shared::{LeaderIdAndEpoch, NodeEndpoint};
use crate::{ErrorCode, Message, Records, Str};
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId, Uuid};

/// Where to read and how much.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = FETCH, response = FetchResponse, versions = "4-18", flexible = "12+")]
pub struct FetchRequest {
    /// The cluster that the sender believes to be in, if it says.
    #[field(versions = "12+", nullable = "12+", tag = 0)]
    pub cluster_id: Option<Str>,
    /// The follower that asks, -1 for a consumer.
    #[field(versions = "0-14", default = BrokerId(-1))]
    pub replica_id: BrokerId,
    /// The follower that asks.
    #[field(versions = "15+", tag = 1)]
    pub replica_state: ReplicaState,
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// How many bytes to wait for.
    pub min_bytes: i32,
    /// How many bytes to send at most; the first batch is sent whatever its size.
    #[field(versions = "3+", default = i32::MAX)]
    pub max_bytes: i32,
    /// 0 reads everything, 1 what is committed.
    #[field(versions = "4+")]
    pub isolation_level: i8,
    /// The fetch session, 0 for none.
    #[field(versions = "7+")]
    pub session_id: i32,
    /// The request's number in its session; -1 for a full fetch without one.
    #[field(versions = "7+", default = -1)]
    pub session_epoch: i32,
    /// What to read.
    pub topics: Vec<FetchTopic>,
    /// What the session need not read any more.
    #[field(versions = "7+")]
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    /// The consumer's rack.
    #[field(versions = "11+")]
    pub rack_id: Str,
}

/// The follower that fetches.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ReplicaState {
    /// The follower, -1 for a consumer.
    #[field(default = BrokerId(-1))]
    pub replica_id: BrokerId,
    /// The broker epoch of this incarnation of it.
    #[field(default = -1)]
    pub replica_epoch: i64,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchTopic {
    /// The topic.
    #[field(versions = "0-12")]
    pub topic: Str,
    /// The topic.
    #[field(versions = "13+")]
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<FetchPartition>,
}

/// One partition's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The leader's epoch as the sender knows it.
    #[field(versions = "9+", default = LeaderEpoch::NONE)]
    pub current_leader_epoch: LeaderEpoch,
    /// The first offset to read.
    pub fetch_offset: Offset,
    /// The epoch of the last record that the sender has.
    #[field(versions = "12+", default = LeaderEpoch::NONE)]
    pub last_fetched_epoch: LeaderEpoch,
    /// The follower's first offset; -1 from a consumer.
    #[field(versions = "5+", default = Offset(-1))]
    pub log_start_offset: Offset,
    /// How many bytes to send at most.
    pub partition_max_bytes: i32,
    /// The directory that the follower keeps the partition in.
    #[field(versions = "17+", tag = 0)]
    pub replica_directory_id: Uuid,
    /// The high watermark that the follower knows: -1 if none, the largest number if it does not say.
    #[field(versions = "18+", tag = 1, default = Offset(i64::MAX))]
    pub high_watermark: Offset,
    /// How far the follower's log is on its disk, -1 if it does not say. A field of Highwater's own, which Kafka skips.
    #[field(versions = "17+", tag = 1000, default = Offset(-1))]
    pub synced_end: Offset,
}

/// Partitions that a session need not read any more.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ForgottenTopic {
    /// The topic.
    #[field(versions = "7-12")]
    pub topic: Str,
    /// The topic.
    #[field(versions = "13+")]
    pub topic_id: TopicId,
    /// Its partitions.
    #[field(versions = "7+")]
    pub partitions: Vec<PartitionIndex>,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "4-18", flexible = "12+")]
pub struct FetchResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The outcome of the request as a whole.
    #[field(versions = "7+")]
    pub error_code: ErrorCode,
    /// The fetch session, 0 for none.
    #[field(versions = "7+")]
    pub session_id: i32,
    /// The topics.
    pub responses: Vec<FetchableTopicResponse>,
    /// Where the leaders named in the answer listen.
    #[field(versions = "16+", tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct FetchableTopicResponse {
    /// The topic.
    #[field(versions = "0-12")]
    pub topic: Str,
    /// The topic.
    #[field(versions = "13+")]
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<PartitionData>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct PartitionData {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The partition's high watermark.
    pub high_watermark: Offset,
    /// The end of what a committed read sees.
    #[field(versions = "4+", default = Offset(-1))]
    pub last_stable_offset: Offset,
    /// The partition's first offset.
    #[field(versions = "5+", default = Offset(-1))]
    pub log_start_offset: Offset,
    /// Where the sender's log parts from the leader's.
    #[field(versions = "12+", tag = 0)]
    pub diverging_epoch: EpochEndOffset,
    /// The leader to ask instead.
    #[field(versions = "12+", tag = 1)]
    pub current_leader: LeaderIdAndEpoch,
    /// The snapshot to fetch instead, for a metadata log.
    #[field(versions = "12+", tag = 2)]
    pub snapshot_id: SnapshotId,
    /// The aborted transactions among the records, for a committed read.
    #[field(versions = "4+", nullable = "4+")]
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead, -1 for none.
    #[field(versions = "11+", default = BrokerId(-1))]
    pub preferred_read_replica: BrokerId,
    /// The records, as whole batches.
    #[field(nullable = "0+")]
    pub records: Records,
}

/// A leader epoch and where it ends.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct EpochEndOffset {
    /// The epoch.
    #[field(default = LeaderEpoch::NONE)]
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    #[field(default = Offset(-1))]
    pub end_offset: Offset,
}

/// A snapshot of a metadata log.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct SnapshotId {
    /// The offset after the last record in it.
    #[field(default = Offset(-1))]
    pub end_offset: Offset,
    /// That record's epoch.
    #[field(default = LeaderEpoch::NONE)]
    pub epoch: LeaderEpoch,
}

/// A transaction whose records a committed read drops.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: ProducerId,
    /// The transaction's first record.
    pub first_offset: Offset,
}
