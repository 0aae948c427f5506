//! The topic configurations that concern a log, with Kafka's defaults.

use highwater_records::{Codec, TimestampType};

/// The largest segment: positions within segments have 31 bits.
pub const MAX_SEGMENT_BYTES: u32 = i32::MAX as u32;

/// The configuration of one log. Names and values as text are not known here.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it would grow beyond this. At most [`MAX_SEGMENT_BYTES`].
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when it is as old as this, so that it can expire.
    pub segment_ms: u64,
    /// `segment.index.bytes`: a segment is closed when its index has this size.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: how far apart the entries of the index are.
    pub index_interval_bytes: u32,
    /// `retention.ms`: closed segments whose newest record is older than this are removed. None keeps them for ever.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`: the oldest closed segments are removed while the log keeps at least this much. None keeps
    /// all.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy`.
    pub cleanup: CleanupPolicy,
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a record's timestamp may lie.
    pub timestamp_before_max_ms: u64,
    /// `message.timestamp.after.max.ms`: how far in the future a record's timestamp may lie.
    pub timestamp_after_max_ms: u64,
    /// `compression.type`; None keeps what the producer chose.
    pub compression: Option<Codec>,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `delete.retention.ms`: how long a compacted log keeps tombstones.
    pub delete_retention_ms: u64,
    /// `min.cleanable.dirty.ratio`: when a log is compacted.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: for how long a record is safe from compaction.
    pub min_compaction_lag_ms: u64,
    /// `max.compaction.lag.ms`: how old a record may get before it is compacted, whatever else is not compacted.
    pub max_compaction_lag_ms: u64,
    /// `file.delete.delay.ms`: how long a removed segment's file stays, for those who still read it.
    pub file_delete_delay_ms: u64,
    /// `preallocate`: whether room for a whole segment is reserved when it is made.
    pub preallocate: bool,
}

/// What happens to old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments are removed by age and size.
    pub delete: bool,
    /// Only the last record of each key is kept.
    pub compact: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            cleanup: CleanupPolicy { delete: true, compact: false },
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX as u64,
            timestamp_after_max_ms: 3_600_000,
            compression: None,
            min_insync_replicas: 1,
            unclean_leader_election: false,
            delete_retention_ms: 24 * 3_600_000,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX as u64,
            file_delete_delay_ms: 60_000,
            preallocate: false,
        }
    }
}
