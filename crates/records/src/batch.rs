//! A checked batch.

use crate::header::CHECKED_FROM;
use crate::recompress::finish;
use crate::record::RawRecord;
use crate::records::Walk;
use crate::{AssignedBatch, BatchError, BatchHeader, Codec, HEADER_BYTES, Records, crc32c, decompress};
use bytes::Bytes;
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// How far a batch's records may grow when decompressed, unless the caller says otherwise.
pub const MAX_DECOMPRESSED_BYTES: usize = 128 << 20;

/// The bytes of exactly one batch, whose structure and checksum have been checked.
///
/// The checksum covers everything but base offset, length and leader epoch. The records within are not looked at
/// until somebody asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Checks that `bytes` are exactly one batch with a right checksum.
    pub fn check(bytes: Bytes) -> Result<Self, BatchError> {
        let header = Self::check_extent(&bytes)?;
        Self::check_contents(header, bytes)
    }

    /// Checks that `bytes` are exactly one batch by its length field.
    pub(crate) fn check_extent(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::decode(bytes)?;
        let needed = header.size_bytes();
        if bytes.len() < needed {
            return Err(BatchError::Truncated { needed, have: bytes.len() });
        }
        if bytes.len() > needed {
            return Err(BatchError::SeveralBatches { extra_bytes: bytes.len() - needed });
        }
        Ok(header)
    }

    /// Checks the checksum, and then the values that it covers.
    pub(crate) fn check_contents(header: BatchHeader, bytes: Bytes) -> Result<Self, BatchError> {
        let computed = crc32c(&bytes[CHECKED_FROM..]);
        if computed != header.crc {
            return Err(BatchError::Corrupt { stored: header.crc, computed });
        }
        header.check_ranges()?;
        Ok(Self { header, bytes })
    }

    /// A batch of which the caller made header and bytes itself.
    pub(crate) fn made(header: BatchHeader, bytes: Bytes) -> Self {
        Self { header, bytes }
    }

    /// The decoded header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The records, decompressed to at most [`MAX_DECOMPRESSED_BYTES`].
    pub fn records(&self) -> Result<Records, BatchError> {
        self.records_within(MAX_DECOMPRESSED_BYTES)
    }

    /// The records, decompressed to at most `limit` bytes. Uncompressed ones are never copied.
    pub fn records_within(&self, limit: usize) -> Result<Records, BatchError> {
        Ok(Records::new(self.header, self.uncompressed(limit)?))
    }

    /// Looks at every record: that it is well formed, that offsets follow each other without a gap, as a producer
    /// must number them, and that there are as many as the header says.
    ///
    /// This costs a walk over all records, and their decompression; [`validate_produced`](crate::validate_produced)
    /// does it only where its rules ask for it.
    pub fn deep_check(&self, limit: usize) -> Result<(), BatchError> {
        self.walk_produced(limit, |_| Ok(()))
    }

    /// As [`Batch::deep_check`], with a further check per record.
    pub(crate) fn walk_produced(
        &self,
        limit: usize,
        mut check: impl FnMut(&RawRecord<'_>) -> Result<(), Refusal>,
    ) -> Result<(), BatchError> {
        let data = self.uncompressed(limit)?;
        let mut walk = Walk::new(&self.header);
        let mut index = 0;
        while let Some(record) = walk.next(&data) {
            let record = record?;
            if record.offset_delta != index {
                return Err(BatchError::InvalidRecord { index, reason: "offsets must follow each other" });
            }
            check(&record).map_err(|refusal| match refusal {
                Refusal::Record(reason) => BatchError::InvalidRecord { index, reason },
                Refusal::Batch(error) => error,
            })?;
            index += 1;
        }
        Ok(())
    }

    /// The batch with its place in a log. Neither touches nor copies the records.
    ///
    /// Patched are the base offset and the leader epoch, which no checksum covers. With `log_append_time` also the
    /// timestamp type and the largest timestamp, for which the checksum is computed anew.
    pub fn assigned(
        &self,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        log_append_time: Option<Timestamp>,
    ) -> AssignedBatch<'_> {
        AssignedBatch::new(self, base_offset, leader_epoch, log_append_time)
    }

    /// The same batch with other numbers of its idempotent producer, as after a change of the producer's epoch. Copies
    /// the records, because the checksum covers these numbers.
    #[must_use]
    pub fn with_producer(&self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        let header = BatchHeader { producer_id: id, producer_epoch: epoch, base_sequence, ..self.header };
        finish(header, self.bytes.to_vec()).expect("it has the length of a batch")
    }

    /// Everything behind the header, as it stands in the batch.
    pub(crate) fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    pub(crate) fn uncompressed(&self, limit: usize) -> Result<Bytes, BatchError> {
        match self.header.attributes.codec()? {
            // These bytes are in memory already: no limit on what decompression takes applies to them.
            Codec::None => Ok(self.body()),
            codec => decompress(codec, &self.bytes[HEADER_BYTES..], limit).map(Bytes::from),
        }
    }
}

/// What a check of one record has against it.
pub(crate) enum Refusal {
    /// The record itself is not allowed.
    Record(&'static str),
    /// Another error, whole.
    Batch(BatchError),
}
