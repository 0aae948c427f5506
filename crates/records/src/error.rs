//! What can be wrong with a batch.

use crate::Codec;
use highwater_types::{Offset, Timestamp};

/// Why bytes are not a batch that can be used. One variant per kind of answer that a broker gives; the mapping to
/// Kafka's error codes is the broker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch is cut short: {have} bytes of {needed}")]
    Truncated {
        /// How many bytes the header, or the length in it, asks for.
        needed: usize,
        /// How many there are.
        have: usize,
    },
    /// The length field is smaller than a header.
    #[error("the batch length {length} is smaller than a batch header")]
    BadLength {
        /// The length field.
        length: i32,
    },
    /// A message set of format 0 or 1, which Kafka itself no longer accepts since 4.0.
    #[error("message format {0} is not supported, only record batches (format 2)")]
    OldFormat(i8),
    /// A format that does not exist.
    #[error("unknown message format {0}")]
    UnknownFormat(i8),
    /// The checksum does not fit the bytes.
    #[error("the batch is corrupt: checksum {stored:#010x} in its header, {computed:#010x} computed")]
    Corrupt {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A header field has a value that no batch can have.
    #[error("the batch header is invalid: {field} is {value}")]
    InvalidHeader {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// No batch where one is needed.
    #[error("there is no record batch")]
    Empty,
    /// More bytes than one batch, where exactly one is needed.
    #[error("exactly one record batch is needed, but {extra_bytes} bytes follow the first")]
    SeveralBatches {
        /// How many bytes follow the first batch.
        extra_bytes: usize,
    },
    /// A client's batch whose base offset is not 0.
    #[error("the base offset of a produced batch must be 0, not {0}")]
    BaseOffset(Offset),
    /// The record count does not fit the last offset delta.
    #[error("the record count {count} does not fit the last offset delta {last_offset_delta}")]
    RecordCount {
        /// The record count.
        count: i32,
        /// The last offset delta.
        last_offset_delta: i32,
    },
    /// A client's batch with the control bit.
    #[error("clients may not write control batches")]
    Control,
    /// Larger than the topic's `max.message.bytes`.
    #[error("the batch has {size} bytes, more than max.message.bytes = {limit}")]
    TooLarge {
        /// The batch's bytes, header included.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Larger than a segment of the log.
    #[error("the batch has {size} bytes, more than segment.bytes = {limit}")]
    LargerThanSegment {
        /// The batch's bytes, header included.
        size: usize,
        /// The limit.
        limit: u64,
    },
    /// A record that is malformed or not allowed.
    #[error("record {index} of the batch is invalid: {reason}")]
    InvalidRecord {
        /// Its number within the batch, from 0.
        index: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A timestamp too far from the broker's clock.
    #[error("timestamp {timestamp} is outside of the accepted range {earliest} to {latest}")]
    InvalidTimestamp {
        /// The timestamp.
        timestamp: Timestamp,
        /// The earliest that is accepted.
        earliest: Timestamp,
        /// The latest that is accepted.
        latest: Timestamp,
    },
    /// A client's batch that claims its timestamps to be the broker's.
    #[error("clients may not set the timestamp type LogAppendTime")]
    TimestampType,
    /// A codec number that does not exist.
    #[error("unknown compression codec {0}")]
    UnknownCodec(i16),
    /// A codec that the request's version does not allow.
    #[error("{codec} needs a Produce request of version {needed} or later, not {version}")]
    UnsupportedCompression {
        /// The codec.
        codec: Codec,
        /// The request's version.
        version: i16,
        /// The version that allows it.
        needed: i16,
    },
    /// The compressed bytes do not decompress.
    #[error("the records do not decompress with {codec}: {reason}")]
    BadCompression {
        /// The codec.
        codec: Codec,
        /// What the codec's library says.
        reason: String,
    },
    /// The records decompress to more bytes than are allowed.
    #[error("the records decompress to more than {limit} bytes")]
    DecompressedTooLarge {
        /// The limit.
        limit: usize,
    },
}
