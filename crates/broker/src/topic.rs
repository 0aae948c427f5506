//! One topic as requests see it.

use crate::partition::Partition;
use highwater_env::Env;
use highwater_log::{CleanupPolicy, LogConfig, Store};
use highwater_metadata::configs::{
    CompressionType, Durability, ThrottledReplicas, TimestampType, TopicConfig,
};
use highwater_records::{BatchHeader, Codec, ProduceRules, TimestampType as BatchTimestampType};
use highwater_types::{BrokerId, PartitionIndex, Timestamp, TopicId};
use highwater_wire::messages::LeaderIdAndEpoch;
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

/// How far a batch's records may grow when they must be decompressed, in multiples of `max.message.bytes`: what is
/// stored is bounded by that, and a batch that unpacks to more than this is an attack rather than data.
const MAX_EXPANSION: usize = 64;

/// One topic as requests see it.
pub(crate) struct Topic<E: Env> {
    /// Its id.
    pub(crate) id: TopicId,
    /// Its name, cheap to copy into answers.
    pub(crate) name: Str,
    /// This node.
    pub(crate) node: BrokerId,
    /// What the cluster's metadata says of it.
    pub(crate) metadata: Arc<highwater_metadata::Topic>,
    /// What a batch must be like.
    pub(crate) rules: TopicRules,
    /// Its partitions, by index. None: this node is no replica of it, or should be and cannot, because its log
    /// could not be opened; see [`Topic::absence`].
    pub(crate) partitions: Vec<Option<Arc<Partition<E>>>>,
}

impl<E: Env> Topic<E> {
    /// A partition of the topic; the outer None: there is none of that index.
    pub(crate) fn partition(&self, index: PartitionIndex) -> Option<Option<&Arc<Partition<E>>>> {
        self.partitions.get(usize::try_from(index.0).ok()?).map(Option::as_ref)
    }

    /// Whether a log has come that was missing.
    pub(crate) fn has_new_log(&self, store: &Store<E>) -> bool {
        let missing = self.metadata.logs().zip(&self.partitions).filter(|(_, partition)| partition.is_none());
        missing.into_iter().any(|(id, _)| store.log(id).is_some())
    }

    /// Why this node does not have one of the partitions.
    pub(crate) fn absence(&self, index: PartitionIndex) -> ErrorCode {
        match self.metadata.partition(index) {
            Some(partition) if partition.replicas.contains(&self.node) => ErrorCode::KAFKA_STORAGE_ERROR,
            Some(_) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        }
    }

    /// The leader of a partition, as the metadata has it.
    pub(crate) fn leader(&self, index: PartitionIndex) -> LeaderIdAndEpoch {
        self.metadata.partition(index).map_or_else(LeaderIdAndEpoch::default, |partition| LeaderIdAndEpoch {
            leader_id: partition.leader.unwrap_or(BrokerId(-1)),
            leader_epoch: partition.leader_epoch,
        })
    }

    /// Whether fewer replicas of a partition are in sync than records with acks=all need (`min.insync.replicas`).
    pub(crate) fn lacks_replicas(&self, index: PartitionIndex) -> bool {
        let in_sync = self.metadata.partition(index).map_or(0, |partition| partition.isr.len());
        in_sync < self.rules.min_insync_replicas
    }
}

/// What a batch must be like, from the topic's configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicRules {
    rules: ProduceRules,
    /// The codec that batches are stored with; None keeps the producer's.
    pub(crate) compression: Option<Codec>,
    /// Whether a record counts when it is synced; else when it is appended.
    pub(crate) sync: bool,
    /// How many replicas must be in sync for records with acks=all.
    pub(crate) min_insync_replicas: usize,
    /// The replicas that serve followers, and that fetch, within their broker's quota.
    pub(crate) leader_throttled: ThrottledReplicas,
    pub(crate) follower_throttled: ThrottledReplicas,
}

impl TopicRules {
    pub(crate) fn new(config: &TopicConfig) -> Self {
        let log = log_config(config);
        let max_message_bytes = log.max_message_bytes as usize;
        Self {
            rules: ProduceRules {
                produce_version: i16::MAX,
                max_message_bytes,
                segment_bytes: u64::from(log.segment_bytes),
                timestamp_type: log.timestamp_type,
                now: Timestamp(0),
                timestamp_before_max_ms: config.message_timestamp_before_max_ms,
                timestamp_after_max_ms: config.message_timestamp_after_max_ms,
                compacted: config.cleanup_policy.compact,
                deep: false,
                max_decompressed_bytes: max_message_bytes.saturating_mul(MAX_EXPANSION),
            },
            compression: log.compression,
            sync: config.durability == Durability::Sync,
            min_insync_replicas: usize::try_from(config.min_insync_replicas).unwrap_or(0),
            leader_throttled: config.leader_throttled.clone(),
            follower_throttled: config.follower_throttled.clone(),
        }
    }

    /// The rules for one request.
    pub(crate) fn at(&self, produce_version: i16, now: Timestamp) -> ProduceRules {
        ProduceRules { produce_version, now, ..self.rules }
    }

    /// Whether checking these bytes of a client may take long enough to hold up others: all records must be looked at,
    /// and there are many, or they are compressed, so that a few bytes may become very many.
    pub(crate) fn is_heavy(&self, batch: &[u8]) -> bool {
        const HEAVY_BYTES: usize = 16 << 10;
        let walks = self.rules.compacted
            || (self.rules.timestamp_before_max_ms != i64::MAX
                && self.rules.timestamp_type == BatchTimestampType::CreateTime);
        let is_compressed =
            || BatchHeader::parse(batch).is_ok_and(|header| header.attributes.codec() != Ok(Codec::None));
        (walks || self.compression.is_some()) && (batch.len() > HEAVY_BYTES || is_compressed())
    }
}

/// The part of a topic's configuration that its logs act on.
pub(crate) fn log_config(config: &TopicConfig) -> LogConfig {
    let millis = |value: i64| u64::try_from(value).unwrap_or(0);
    let bytes = |value: i32| u32::try_from(value).unwrap_or(0);
    LogConfig {
        segment_bytes: bytes(config.segment_bytes),
        segment_ms: millis(config.segment_ms),
        segment_index_bytes: bytes(config.segment_index_bytes),
        index_interval_bytes: bytes(config.index_interval_bytes),
        retention_ms: config.retention_ms.map(millis),
        retention_bytes: config.retention_bytes.map(millis),
        cleanup: CleanupPolicy {
            delete: config.cleanup_policy.delete,
            compact: config.cleanup_policy.compact,
        },
        max_message_bytes: bytes(config.max_message_bytes),
        timestamp_type: match config.message_timestamp_type {
            TimestampType::CreateTime => BatchTimestampType::CreateTime,
            TimestampType::LogAppendTime => BatchTimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: millis(config.message_timestamp_before_max_ms),
        timestamp_after_max_ms: millis(config.message_timestamp_after_max_ms),
        compression: match config.compression_type {
            CompressionType::Producer => None,
            CompressionType::Uncompressed => Some(Codec::None),
            CompressionType::Gzip => Some(Codec::Gzip),
            CompressionType::Snappy => Some(Codec::Snappy),
            CompressionType::Lz4 => Some(Codec::Lz4),
            CompressionType::Zstd => Some(Codec::Zstd),
        },
        min_insync_replicas: bytes(config.min_insync_replicas),
        unclean_leader_election: config.unclean_leader_election_enable,
        delete_retention_ms: millis(config.delete_retention_ms),
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: millis(config.min_compaction_lag_ms),
        max_compaction_lag_ms: millis(config.max_compaction_lag_ms),
        file_delete_delay_ms: millis(config.file_delete_delay_ms),
        preallocate: config.preallocate,
    }
}
