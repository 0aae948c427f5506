//! The configurations of topics.
//!
//! Every name that Kafka 4 has is here, so that tools made for it work. What is not acted on says so in its
//! documentation, or takes only the value that asks for nothing.

use super::key::{Key, Rule, Synonym, ValueType};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const MAX_LONG: &str = "9223372036854775807";

const NO_TIERS: &str = "tiered storage is not built";
const FIXED_LEVELS: &str = "each codec is used at one level.";

const fn synonym(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn in_unit(name: &'static str, factor: i64) -> Synonym {
    Synonym { name, factor }
}

/// The names, in order.
pub(super) const TOPIC_KEYS: &[Key] = &[
    Key::new("cleanup.policy", ValueType::List, "delete")
        .rule(Rule::Words(&["compact", "delete"]))
        .synonyms(&[synonym("log.cleanup.policy")])
        .doc(
            "How old records leave a partition. \"delete\" drops whole segments by age and size; \"compact\" keeps \
             the newest record of each key, and requires that every record has a key.",
        ),
    Key::new("compression.gzip.level", ValueType::Int, "-1")
        .rule(Rule::Within(-1, 9))
        .synonyms(&[synonym("compression.gzip.level")])
        .doc("The gzip level when compression.type is gzip and a batch arrives compressed otherwise.")
        .inert(FIXED_LEVELS),
    Key::new("compression.lz4.level", ValueType::Int, "9")
        .rule(Rule::Within(1, 17))
        .synonyms(&[synonym("compression.lz4.level")])
        .doc("The lz4 level when compression.type is lz4 and a batch arrives compressed otherwise.")
        .inert(FIXED_LEVELS),
    Key::new("compression.type", ValueType::String, "producer")
        .rule(Rule::Words(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]))
        .synonyms(&[synonym("compression.type")])
        .doc(
            "The codec that batches are stored with. \"producer\" keeps what the producer chose, and is the only value \
             that never makes the broker rebuild a batch.",
        ),
    Key::new("compression.zstd.level", ValueType::Int, "3")
        .rule(Rule::Within(-131_072, 22))
        .synonyms(&[synonym("compression.zstd.level")])
        .doc("The zstd level when compression.type is zstd and a batch arrives compressed otherwise.")
        .inert(FIXED_LEVELS),
    Key::new("delete.retention.ms", ValueType::Long, "86400000")
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("log.cleaner.delete.retention.ms")])
        .doc("How long compaction keeps a record that deletes its key, so that a reader from the start still sees it."),
    Key::new("durability", ValueType::String, "sync")
        .rule(Rule::Words(&["sync", "replicated"]))
        .synonyms(&[synonym("durability")])
        .doc(
            "What an acknowledgement of acks=all stands for. \"sync\": the records are synced to disk on every in-sync \
             replica. \"replicated\": they are in every in-sync replica's memory, as Kafka does it, and may be lost \
             when the power fails on all of them. Kafka has no such name.",
        ),
    Key::new("file.delete.delay.ms", ValueType::Long, "60000")
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("log.segment.delete.delay.ms")])
        .doc("How long a segment that retention has dropped stays on disk, for readers that are in the middle of it."),
    Key::new("flush.messages", ValueType::Long, MAX_LONG)
        .rule(Rule::at_least(1))
        .synonyms(&[synonym("log.flush.interval.messages")])
        .doc("After how many records a log is synced to disk.")
        .inert("durability decides when a log is synced."),
    Key::new("flush.ms", ValueType::Long, MAX_LONG)
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("log.flush.interval.ms"), synonym("log.flush.scheduler.interval.ms")])
        .doc("After how long a log is synced to disk.")
        .inert("durability decides when a log is synced."),
    Key::new("follower.replication.throttled.replicas", ValueType::List, "")
        .rule(Rule::ThrottledReplicas)
        .doc(
            "The replicas, partition:broker, that fetch within follower.replication.throttled.rate of their broker for \
             as long as they are not in sync.",
        ),
    Key::new("index.interval.bytes", ValueType::Int, "4096")
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("log.index.interval.bytes")])
        .doc("How many bytes of a segment lie between two entries of its index."),
    Key::new("leader.replication.throttled.replicas", ValueType::List, "")
        .rule(Rule::ThrottledReplicas)
        .doc(
            "The replicas, partition:broker, that as leaders serve followers that are not in sync within \
             leader.replication.throttled.rate of their broker.",
        ),
    Key::new("local.retention.bytes", ValueType::Long, "-2")
        .rule(Rule::Only(&["-2"], NO_TIERS))
        .synonyms(&[synonym("log.local.retention.bytes")])
        .doc("How many bytes of a tiered partition stay on local disks; -2 follows retention.bytes.")
        .inert(NO_TIERS_SENTENCE),
    Key::new("local.retention.ms", ValueType::Long, "-2")
        .rule(Rule::Only(&["-2"], NO_TIERS))
        .synonyms(&[synonym("log.local.retention.ms")])
        .doc("How long the records of a tiered partition stay on local disks; -2 follows retention.ms.")
        .inert(NO_TIERS_SENTENCE),
    Key::new("max.compaction.lag.ms", ValueType::Long, MAX_LONG)
        .rule(Rule::at_least(1))
        .synonyms(&[synonym("log.cleaner.max.compaction.lag.ms")])
        .doc("After how long a record becomes due for compaction at the latest."),
    Key::new("max.message.bytes", ValueType::Int, "1048588")
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("message.max.bytes")])
        .doc("The largest batch of records that is taken, as it stands on the wire: after compression, with its header."),
    Key::new("message.timestamp.after.max.ms", ValueType::Long, "3600000")
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("log.message.timestamp.after.max.ms")])
        .doc("How far ahead of the broker's clock a record's timestamp may lie. Not looked at with LogAppendTime."),
    Key::new("message.timestamp.before.max.ms", ValueType::Long, MAX_LONG)
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("log.message.timestamp.before.max.ms")])
        .doc("How far behind the broker's clock a record's timestamp may lie. Not looked at with LogAppendTime."),
    Key::new("message.timestamp.type", ValueType::String, "CreateTime")
        .rule(Rule::Words(&["CreateTime", "LogAppendTime"]))
        .synonyms(&[synonym("log.message.timestamp.type")])
        .doc("Whose clock records are stamped by: CreateTime is the producer's, LogAppendTime the broker's."),
    Key::new("min.cleanable.dirty.ratio", ValueType::Double, "0.5")
        .rule(Rule::Fraction)
        .synonyms(&[synonym("log.cleaner.min.cleanable.ratio")])
        .doc("The share of a log that must be not yet compacted before it is compacted."),
    Key::new("min.compaction.lag.ms", ValueType::Long, "0")
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("log.cleaner.min.compaction.lag.ms")])
        .doc("For how long a record is safe from compaction."),
    Key::new("min.insync.replicas", ValueType::Int, "1")
        .unset()
        .rule(Rule::at_least(1))
        .synonyms(&[synonym("min.insync.replicas")])
        .doc(
            "How many replicas must be in sync for a produce request with acks=all to be taken. Without a setting: 2 \
             for topics with three replicas or more, else 1, because with two replicas a minimum of two would stop \
             at the first failure.",
        ),
    Key::new("preallocate", ValueType::Boolean, "false")
        .synonyms(&[synonym("log.preallocate")])
        .doc("Whether the disk space of a segment is reserved when the segment is made."),
    Key::new("remote.copy.lag.bytes", ValueType::Long, "0")
        .rule(Rule::Only(&["0", "-1"], NO_TIERS))
        .doc("How many bytes the copy of a partition in remote storage may lag behind.")
        .inert(NO_TIERS_SENTENCE),
    Key::new("remote.copy.lag.ms", ValueType::Long, "0")
        .rule(Rule::Only(&["0", "-1"], NO_TIERS))
        .doc("How long the copy of a partition in remote storage may lag behind.")
        .inert(NO_TIERS_SENTENCE),
    Key::new("remote.log.copy.disable", ValueType::Boolean, "false")
        .rule(Rule::Only(&["false"], NO_TIERS))
        .doc("Whether segments are no longer copied to remote storage.")
        .inert(NO_TIERS_SENTENCE),
    Key::new("remote.log.delete.on.disable", ValueType::Boolean, "false")
        .rule(Rule::Only(&["false"], NO_TIERS))
        .doc("Whether remote segments are deleted when tiered storage is switched off.")
        .inert(NO_TIERS_SENTENCE),
    Key::new("remote.storage.enable", ValueType::Boolean, "false")
        .rule(Rule::Only(&["false"], NO_TIERS))
        .doc("Whether old segments move to remote storage.")
        .inert(NO_TIERS_SENTENCE),
    Key::new("retention.bytes", ValueType::Long, "-1")
        .rule(Rule::at_least(-1))
        .synonyms(&[synonym("log.retention.bytes")])
        .doc("How many bytes each partition keeps before its oldest segments are dropped; -1: without limit."),
    Key::new("retention.ms", ValueType::Long, "604800000")
        .rule(Rule::at_least(-1))
        .synonyms(&[
            synonym("log.retention.ms"),
            in_unit("log.retention.minutes", MINUTE),
            in_unit("log.retention.hours", HOUR),
        ])
        .doc("How long records are kept before the segments they are in are dropped; -1: for ever."),
    Key::new("segment.bytes", ValueType::Int, "1073741824")
        .rule(Rule::at_least(1024))
        .synonyms(&[synonym("log.segment.bytes")])
        .doc(
            "The largest size of a segment file. A batch that is larger is refused, and so is a value under 1024; \
             Kafka's own least value is 1048576.",
        ),
    Key::new("segment.index.bytes", ValueType::Int, "10485760")
        .rule(Rule::at_least(4))
        .synonyms(&[synonym("log.index.size.max.bytes")])
        .doc("The largest size of a segment's index; a segment ends when its index is full."),
    Key::new("segment.jitter.ms", ValueType::Long, "0")
        .rule(Rule::at_least(0))
        .synonyms(&[synonym("log.roll.jitter.ms"), in_unit("log.roll.jitter.hours", HOUR)])
        .doc("How much earlier than segment.ms a segment may end, at random, so that not all end at once.")
        .inert("segments end by size and age alone."),
    Key::new("segment.ms", ValueType::Long, "604800000")
        .rule(Rule::at_least(1))
        .synonyms(&[synonym("log.roll.ms"), in_unit("log.roll.hours", HOUR)])
        .doc("After how long a segment ends even if it is not full, so that retention can drop it."),
    Key::new("unclean.leader.election.enable", ValueType::Boolean, "false")
        .synonyms(&[synonym("unclean.leader.election.enable")])
        .doc("Whether a replica that is not in sync may lead when no other is left, at the price of acknowledged records."),
];

const NO_TIERS_SENTENCE: &str = "tiered storage is not built.";
