//! The 61 bytes in front of a batch's records.

use crate::{BatchError, Codec};
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// The length of a batch header.
pub const HEADER_BYTES: usize = 61;
/// How many bytes stand in front of what the length field counts: base offset and the length itself.
pub const LENGTH_PREFIX: usize = 12;
/// The format number of record batches.
pub const MAGIC: i8 = 2;

/// Where the magic byte stands, in all formats there ever were.
const MAGIC_POSITION: usize = 16;
/// Where the checksummed part begins.
pub(crate) const CHECKED_FROM: usize = 21;

/// A batch's header, decoded. Offsets in comments are the byte positions of Kafka's record batch format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// 0: the offset of the batch's first record.
    pub base_offset: Offset,
    /// 8: how many bytes follow this field.
    pub batch_length: i32,
    /// 12: the leader epoch in which the batch was appended.
    pub leader_epoch: LeaderEpoch,
    /// 16: the format, always [`MAGIC`].
    pub magic: i8,
    /// 17: CRC-32C of everything from byte 21 on.
    pub crc: u32,
    /// 21: codec and flags.
    pub attributes: Attributes,
    /// 23: the last record's offset relative to the base offset.
    pub last_offset_delta: i32,
    /// 27: what the records' timestamps are relative to.
    pub base_timestamp: Timestamp,
    /// 35: the largest timestamp, or the time of the append.
    pub max_timestamp: Timestamp,
    /// 43: the idempotent producer.
    pub producer_id: ProducerId,
    /// 51: its epoch.
    pub producer_epoch: ProducerEpoch,
    /// 53: the sequence number of the first record; -1 without an idempotent producer.
    pub base_sequence: i32,
    /// 57: how many records there are.
    pub record_count: i32,
}

impl BatchHeader {
    /// Decodes the header in the first bytes of `bytes`, which may end anywhere after it.
    ///
    /// Checked here: the format, that the length covers a header, and that no offset is negative or beyond the last
    /// possible one, so that the arithmetic on offsets cannot overflow. Not checked: the checksum, and whether all
    /// of the batch is there.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::decode(bytes)?;
        header.check_ranges()?;
        Ok(header)
    }

    /// As [`BatchHeader::parse`], without the checks on values that the checksum covers: a checker of whole batches
    /// must see a wrong checksum before it blames the sender for its values.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        // The magic byte tells formats apart whose headers are shorter than this one's.
        if let Some(&magic) = bytes.get(MAGIC_POSITION) {
            match magic as i8 {
                MAGIC => {}
                old @ (0 | 1) => return Err(BatchError::OldFormat(old)),
                unknown => return Err(BatchError::UnknownFormat(unknown)),
            }
        }
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { needed: HEADER_BYTES, have: bytes.len() });
        };
        let header = Self {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, 12))),
            magic: MAGIC,
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, 21))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: Timestamp(i64::from_be_bytes(field(bytes, 27))),
            max_timestamp: Timestamp(i64::from_be_bytes(field(bytes, 35))),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        };
        if header.batch_length < (HEADER_BYTES - LENGTH_PREFIX) as i32 {
            return Err(BatchError::BadLength { length: header.batch_length });
        }
        Ok(header)
    }

    /// The header's bytes, as [`BatchHeader::parse`] reads them.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        out[16] = self.magic as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.0.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    /// The whole batch's length in bytes.
    pub fn size_bytes(&self) -> usize {
        LENGTH_PREFIX + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The offset of the batch's last record.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset that follows the batch.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// The sequence number of the batch's last record; -1 without an idempotent producer. After `i32::MAX` follows 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        let wrapped = last & i64::from(i32::MAX);
        i32::try_from(wrapped).expect("masked to 31 bits")
    }

    /// Whether an idempotent producer made the batch.
    pub fn has_producer(&self) -> bool {
        self.producer_id.is_some()
    }

    /// Whether the batch has no records and says nothing of a producer: it stands for offsets that compaction emptied.
    pub fn is_placeholder(&self) -> bool {
        self.record_count == 0 && !self.has_producer() && !self.attributes.is_control()
    }

    pub(crate) fn check_ranges(&self) -> Result<(), BatchError> {
        let invalid = |field, value| Err(BatchError::InvalidHeader { field, value });
        if self.base_offset.0 < 0 {
            return invalid("base offset", self.base_offset.0);
        }
        if self.last_offset_delta < 0 {
            return invalid("last offset delta", self.last_offset_delta.into());
        }
        if self.base_offset.0.checked_add(i64::from(self.last_offset_delta) + 1).is_none() {
            return invalid("base offset", self.base_offset.0);
        }
        if self.record_count < 0 {
            return invalid("record count", self.record_count.into());
        }
        Ok(())
    }
}

/// The flags of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

/// What a batch's timestamps are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// Given by the producer, per record.
    #[default]
    CreateTime,
    /// The broker's clock when the batch was appended, the same for all records.
    LogAppendTime,
}

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// How the records are compressed.
    pub fn codec(self) -> Result<Codec, BatchError> {
        Codec::from_id(self.0 & Self::CODEC)
    }

    /// What the timestamps are.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, a transaction's end marker for instance.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time after which compaction removes the batch's tombstones (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// These flags with another codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !Self::CODEC) | codec.id())
    }

    /// These flags with the timestamp type LogAppendTime.
    #[must_use]
    pub fn with_log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }

    /// These flags with the one that makes the base timestamp a horizon.
    #[must_use]
    pub fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    /// These flags with the transactional one.
    #[must_use]
    pub fn with_transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(1_000),
            batch_length: 90,
            leader_epoch: LeaderEpoch(7),
            magic: MAGIC,
            crc: 0xdead_beef,
            attributes: Attributes(0b1_0100),
            last_offset_delta: 2,
            base_timestamp: Timestamp(1_700_000_000_000),
            max_timestamp: Timestamp(1_700_000_000_009),
            producer_id: ProducerId(42),
            producer_epoch: ProducerEpoch(3),
            base_sequence: 11,
            record_count: 3,
        }
    }

    fn check(change: impl FnOnce(&mut BatchHeader), expected: BatchError) {
        let mut header = header();
        change(&mut header);
        assert_eq!(BatchHeader::parse(&header.encode()), Err(expected));
    }

    #[test]
    fn encoding_round_trips_and_derived_values_fit() {
        let header = header();
        assert_eq!(BatchHeader::parse(&header.encode()), Ok(header));
        assert_eq!(header.size_bytes(), 102);
        assert_eq!(header.last_offset(), Offset(1_002));
        assert_eq!(header.next_offset(), Offset(1_003));
        assert_eq!(header.last_sequence(), 13);
        assert_eq!(header.attributes.codec(), Ok(Codec::Zstd));
        assert!(header.attributes.is_transactional());
        assert!(!header.attributes.is_control());
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let last = |base_sequence, last_offset_delta| {
            BatchHeader { base_sequence, last_offset_delta, ..header() }.last_sequence()
        };
        assert_eq!(last(i32::MAX, 0), i32::MAX);
        assert_eq!(last(i32::MAX, 1), 0);
        assert_eq!(last(i32::MAX - 1, 3), 1);
        assert_eq!(last(-1, 3), -1);
    }

    #[test]
    fn impossible_values_are_refused() {
        check(|h| h.magic = 0, BatchError::OldFormat(0));
        check(|h| h.magic = 1, BatchError::OldFormat(1));
        check(|h| h.magic = 3, BatchError::UnknownFormat(3));
        check(|h| h.batch_length = 48, BatchError::BadLength { length: 48 });
        check(|h| h.batch_length = -1, BatchError::BadLength { length: -1 });
        let invalid = |field, value| BatchError::InvalidHeader { field, value };
        check(|h| h.base_offset = Offset(-1), invalid("base offset", -1));
        check(|h| h.base_offset = Offset(i64::MAX - 2), invalid("base offset", i64::MAX - 2));
        check(|h| h.last_offset_delta = -1, invalid("last offset delta", -1));
        check(|h| h.record_count = i32::MIN, invalid("record count", i32::MIN.into()));
    }

    #[test]
    fn short_input_is_refused_and_old_formats_are_named_even_then() {
        let bytes = header().encode();
        for length in 0..HEADER_BYTES {
            let expected = Err(BatchError::Truncated { needed: HEADER_BYTES, have: length });
            assert_eq!(BatchHeader::parse(&bytes[..length]), expected);
        }
        // A message of format 1 with an empty value has 34 bytes.
        let mut old = [0; 34];
        old[16] = 1;
        assert_eq!(BatchHeader::parse(&old), Err(BatchError::OldFormat(1)));
    }
}
