//! What a client may produce.

use crate::batch::Refusal;
use crate::{Batch, BatchError, Codec, MAX_DECOMPRESSED_BYTES, TimestampType};
use bytes::Bytes;
use highwater_types::{Offset, Timestamp};

/// The first version of Produce whose batches may be compressed with Zstandard (KIP-110).
const ZSTD_FROM: i16 = 7;
/// What is accepted where timestamps are not bounded.
const UNBOUNDED: i64 = i64::MAX;

/// What a batch is held against: the topic's configuration, the request and the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceRules {
    /// The version of the Produce request.
    pub produce_version: i16,
    /// The topic's `max.message.bytes`.
    pub max_message_bytes: usize,
    /// The topic's `segment.bytes`.
    pub segment_bytes: u64,
    /// The topic's `message.timestamp.type`. With LogAppendTime the client's timestamps do not matter.
    pub timestamp_type: TimestampType,
    /// The broker's wall clock.
    pub now: Timestamp,
    /// The topic's `message.timestamp.before.max.ms`; `i64::MAX` for no bound.
    pub timestamp_before_max_ms: i64,
    /// The topic's `message.timestamp.after.max.ms`; `i64::MAX` for no bound.
    pub timestamp_after_max_ms: i64,
    /// Whether the topic's `cleanup.policy` includes compaction, which needs a key in every record.
    pub compacted: bool,
    /// Whether to look at every record in any case, as before a conversion to another codec.
    pub deep: bool,
    /// How far a batch's records may grow when decompressed.
    pub max_decompressed_bytes: usize,
}

impl Default for ProduceRules {
    /// Kafka's defaults for a topic, for the newest request, with no bound on timestamps.
    fn default() -> Self {
        Self {
            produce_version: i16::MAX,
            max_message_bytes: 1_048_588,
            segment_bytes: 1 << 30,
            timestamp_type: TimestampType::CreateTime,
            now: Timestamp(0),
            timestamp_before_max_ms: UNBOUNDED,
            timestamp_after_max_ms: UNBOUNDED,
            compacted: false,
            deep: false,
            max_decompressed_bytes: MAX_DECOMPRESSED_BYTES,
        }
    }
}

impl ProduceRules {
    /// Whether the rules cannot be checked on the header alone.
    fn need_records(&self) -> bool {
        self.deep
            || self.compacted
            || (self.timestamp_type == TimestampType::CreateTime && self.timestamp_before_max_ms != UNBOUNDED)
    }

    fn check_timestamp(&self, timestamp: Timestamp) -> Result<(), BatchError> {
        if self.timestamp_type == TimestampType::LogAppendTime || timestamp == Timestamp::NONE {
            return Ok(());
        }
        let bound = |from: Timestamp, by: i64, toward: i64| match by {
            UNBOUNDED => Timestamp(toward),
            by if toward == i64::MIN => Timestamp(from.0.saturating_sub(by)),
            by => Timestamp(from.0.saturating_add(by)),
        };
        let earliest = bound(self.now, self.timestamp_before_max_ms, i64::MIN);
        let latest = bound(self.now, self.timestamp_after_max_ms, i64::MAX);
        if timestamp < earliest || timestamp > latest {
            return Err(BatchError::InvalidTimestamp { timestamp, earliest, latest });
        }
        Ok(())
    }
}

/// Checks what a client sent for one partition: exactly one batch, intact, and allowed by `rules`.
///
/// The checksum and the header are always checked. The records within are looked at only where the rules cannot be
/// decided without them: compacted topics (keys), a bound on old timestamps, or `rules.deep`. Kafka looks at every
/// record always; the walk would be the dearest part of producing small records, and what it catches beyond the
/// checksum is a producer that makes malformed batches, which consumers refuse by themselves. So a timestamp in the
/// future is refused by the header's largest timestamp.
pub fn validate_produced(bytes: Bytes, rules: &ProduceRules) -> Result<Batch, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::Empty);
    }
    let header = Batch::check_extent(&bytes)?;
    if header.size_bytes() > rules.max_message_bytes {
        return Err(BatchError::TooLarge { size: header.size_bytes(), limit: rules.max_message_bytes });
    }
    if header.size_bytes() as u64 > rules.segment_bytes {
        return Err(BatchError::LargerThanSegment { size: header.size_bytes(), limit: rules.segment_bytes });
    }
    let batch = Batch::check_contents(header, bytes)?;
    check_header(&batch, rules)?;
    if rules.need_records() {
        check_records(&batch, rules)?;
    }
    Ok(batch)
}

fn check_header(batch: &Batch, rules: &ProduceRules) -> Result<(), BatchError> {
    let header = batch.header();
    if header.base_offset != Offset::ZERO {
        return Err(BatchError::BaseOffset(header.base_offset));
    }
    // The delta is not negative, so that a count of 0 is refused here too.
    if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return Err(BatchError::RecordCount {
            count: header.record_count,
            last_offset_delta: header.last_offset_delta,
        });
    }
    if header.attributes.is_control() {
        return Err(BatchError::Control);
    }
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::TimestampType);
    }
    let codec = header.attributes.codec()?;
    if codec == Codec::Zstd && rules.produce_version < ZSTD_FROM {
        return Err(BatchError::UnsupportedCompression {
            codec,
            version: rules.produce_version,
            needed: ZSTD_FROM,
        });
    }
    if header.has_producer() && (header.base_sequence < 0 || header.producer_epoch.0 < 0) {
        return Err(BatchError::InvalidHeader { field: "base sequence", value: header.base_sequence.into() });
    }
    rules.check_timestamp(header.max_timestamp)
}

fn check_records(batch: &Batch, rules: &ProduceRules) -> Result<(), BatchError> {
    let base = batch.header().base_timestamp.0;
    batch.walk_produced(rules.max_decompressed_bytes, |record| {
        if rules.compacted && record.key.is_none() {
            return Err(Refusal::Record("a compacted topic needs a key in every record"));
        }
        rules.check_timestamp(Timestamp(base.wrapping_add(record.timestamp_delta))).map_err(Refusal::Batch)
    })
}
