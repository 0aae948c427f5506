//! A topic's configuration as values of their types.

use super::key::{Key, parse_bool, parse_double, parse_list, parse_long};
use super::registry::topic_key;
use highwater_types::{BrokerId, PartitionIndex};
use std::collections::BTreeSet;

/// How old records leave a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Whole segments are dropped by age and size.
    pub delete: bool,
    /// The newest record of each key stays.
    pub compact: bool,
}

/// The codec that batches are stored with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// Whatever the producer chose.
    Producer,
    /// None.
    Uncompressed,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// Whose clock records are stamped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// What an acknowledgement of acks=all stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disks of every in-sync replica.
    Sync,
    /// In the memory of every in-sync replica.
    Replicated,
}

impl Durability {
    /// The durability of this name, which has been checked.
    pub(super) fn of(text: &str) -> Self {
        if text.trim() == "replicated" { Self::Replicated } else { Self::Sync }
    }
}

/// Replicas whose catching up is held to a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    /// All.
    All,
    /// These replicas of these partitions.
    Listed(BTreeSet<(PartitionIndex, BrokerId)>),
}

impl ThrottledReplicas {
    /// Whether a broker's replica of a partition is one of them.
    pub fn contains(&self, partition: PartitionIndex, broker: BrokerId) -> bool {
        match self {
            Self::All => true,
            Self::Listed(replicas) => replicas.contains(&(partition, broker)),
        }
    }

    fn parse(value: &str) -> Self {
        let parts = parse_list(value);
        if parts == ["*"] {
            return Self::All;
        }
        let pair = |part: &str| {
            let (partition, broker) = part.split_once(':')?;
            Some((PartitionIndex(partition.parse().ok()?), BrokerId(broker.parse().ok()?)))
        };
        // A number beyond any partition's names none.
        Self::Listed(parts.into_iter().filter_map(pair).collect())
    }
}

/// A topic's configuration. Fields have the names of the configurations; those that nothing looks at are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `durability`.
    pub durability: Durability,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `follower.replication.throttled.replicas`.
    pub follower_throttled: ThrottledReplicas,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `leader.replication.throttled.replicas`.
    pub leader_throttled: ThrottledReplicas,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`.
    pub max_message_bytes: i32,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `retention.bytes`; none: without limit.
    pub retention_bytes: Option<i64>,
    /// `retention.ms`; none: for ever.
    pub retention_ms: Option<i64>,
    /// `segment.bytes`.
    pub segment_bytes: i32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
}

impl TopicConfig {
    /// Reads the values; `value` gives one that its configuration takes.
    pub(super) fn from_lookup(value: impl Fn(&'static Key) -> Option<String>) -> Self {
        let text = |name: &str| {
            let key = topic_key(name).expect("fields are named after configurations in the table");
            value(key).expect("every topic configuration has a default")
        };
        let long = |name| parse_long(&text(name)).expect("values in force are checked");
        let int = |name| i32::try_from(long(name)).expect("values in force are checked");
        let flag = |name| parse_bool(&text(name)).expect("values in force are checked");
        let limit = |name| Some(long(name)).filter(|&limit| limit >= 0);
        Self {
            cleanup_policy: cleanup_policy(&text("cleanup.policy")),
            compression_type: compression_type(&text("compression.type")),
            delete_retention_ms: long("delete.retention.ms"),
            durability: Durability::of(&text("durability")),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            follower_throttled: ThrottledReplicas::parse(&text("follower.replication.throttled.replicas")),
            index_interval_bytes: int("index.interval.bytes"),
            leader_throttled: ThrottledReplicas::parse(&text("leader.replication.throttled.replicas")),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            max_message_bytes: int("max.message.bytes"),
            message_timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            message_timestamp_type: match text("message.timestamp.type").trim() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: parse_double(&text("min.cleanable.dirty.ratio"))
                .expect("values in force are checked"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: flag("preallocate"),
            retention_bytes: limit("retention.bytes"),
            retention_ms: limit("retention.ms"),
            segment_bytes: int("segment.bytes"),
            segment_index_bytes: int("segment.index.bytes"),
            segment_ms: long("segment.ms"),
            unclean_leader_election_enable: flag("unclean.leader.election.enable"),
        }
    }
}

fn cleanup_policy(value: &str) -> CleanupPolicy {
    let parts = parse_list(value);
    CleanupPolicy { delete: parts.contains(&"delete"), compact: parts.contains(&"compact") }
}

fn compression_type(value: &str) -> CompressionType {
    match value.trim() {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttled_replicas_are_all_or_those_that_are_named() {
        let check = |value, partition, broker, expected| {
            let replicas = ThrottledReplicas::parse(value);
            assert_eq!(replicas.contains(PartitionIndex(partition), BrokerId(broker)), expected, "{value:?}");
        };
        check("", 0, 1, false);
        check("*", 7, 3, true);
        check("0:1, 12:3", 12, 3, true);
        check("0:1,12:3", 12, 1, false);
        check("4294967295:1", -1, 1, false);
    }
}
