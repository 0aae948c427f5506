//! A batch on its way into a log.

use crate::header::CHECKED_FROM;
use crate::{Batch, BatchHeader, Crc32c, HEADER_BYTES};
use bytes::Bytes;
use highwater_types::{LeaderEpoch, Offset, Timestamp};

/// A batch whose offsets and leader epoch are those of its place in a log: a header of its own in front of the
/// records of the batch it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedBatch<'a> {
    header: BatchHeader,
    batch: &'a Batch,
}

impl<'a> AssignedBatch<'a> {
    pub(crate) fn new(
        batch: &'a Batch,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        log_append_time: Option<Timestamp>,
    ) -> Self {
        let mut header = BatchHeader { base_offset, leader_epoch, ..*batch.header() };
        if let Some(now) = log_append_time {
            header.attributes = header.attributes.with_log_append_time();
            header.max_timestamp = now;
            let mut crc = Crc32c::new();
            crc.update(&header.encode()[CHECKED_FROM..]);
            crc.update(&batch.bytes()[HEADER_BYTES..]);
            header.crc = crc.finish();
        }
        Self { header, batch }
    }

    /// The header as it is written.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch's bytes, in two pieces for a vectored write.
    pub fn buffers(&self) -> [Bytes; 2] {
        [Bytes::copy_from_slice(&self.header.encode()), self.batch.body()]
    }

    /// Copies the batch's bytes to the end of `to`.
    pub fn copy_to(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.header.encode());
        to.extend_from_slice(&self.batch.bytes()[HEADER_BYTES..]);
    }

    /// How many bytes the batch has.
    pub fn size_bytes(&self) -> usize {
        self.batch.bytes().len()
    }

    /// The batch's bytes in one piece; copies them.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.size_bytes());
        self.copy_to(&mut bytes);
        bytes.into()
    }
}
