//! Making new batches.

use crate::compression::compress_to;
use crate::header::{Attributes, MAGIC};
use crate::recompress::finish;
use crate::record::NewRecord;
use crate::{BatchHeader, Codec, HEADER_BYTES, Header};
use bytes::Bytes;
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// The most that a batch may have before compression, whatever the caller's limit: the length field has 31 bits,
/// and what does not compress grows a little.
const MOST_BYTES: usize = 1 << 30;

/// Collects records into a batch, as a producer sends it: base offset 0, no leader epoch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    limit_bytes: usize,
    /// Room for the header, and the records behind it.
    out: Vec<u8>,
    header: BatchHeader,
}

impl BatchBuilder {
    /// An empty batch that takes up to `limit_bytes`, header included, counted before compression.
    pub fn new(codec: Codec, limit_bytes: usize) -> Self {
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: 0,
            leader_epoch: LeaderEpoch::NONE,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::default().with_codec(codec),
            last_offset_delta: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            record_count: 0,
        };
        Self { codec, limit_bytes, out: vec![0; HEADER_BYTES], header }
    }

    /// Appends a record, and returns whether there was room for it. A first record is taken even if it exceeds the
    /// limit by itself, so that one large record can be sent alone.
    #[must_use]
    pub fn try_push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> bool {
        let first = self.is_empty();
        if first {
            self.header.base_timestamp = timestamp;
        }
        let record = NewRecord {
            timestamp_delta: timestamp.0.wrapping_sub(self.header.base_timestamp.0),
            offset_delta: self.header.record_count,
            key,
            value,
            headers,
        };
        let size = self.out.len().saturating_add(record.size());
        if size > MOST_BYTES || (!first && size > self.limit_bytes) || self.header.record_count == i32::MAX {
            return false;
        }
        record.put(&mut self.out);
        self.header.max_timestamp = if first { timestamp } else { self.header.max_timestamp.max(timestamp) };
        self.header.last_offset_delta = self.header.record_count;
        self.header.record_count += 1;
        true
    }

    /// Makes the batch an idempotent producer's.
    pub fn set_producer(&mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
    }

    /// Makes the batch part of its producer's transaction.
    pub fn set_transactional(&mut self) {
        self.header.attributes = self.header.attributes.with_transactional();
    }

    /// Whether no record has been taken.
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// How many records have been taken.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// The batch's bytes so far, before compression.
    pub fn size_bytes(&self) -> usize {
        self.out.len()
    }

    /// Compresses the records and writes the header. A batch without records is refused by every broker: ask
    /// [`BatchBuilder::is_empty`] first.
    pub fn build(self) -> Bytes {
        let out = match self.codec {
            Codec::None => self.out,
            codec => {
                let mut out = Vec::with_capacity(HEADER_BYTES + self.out.len() / 2);
                out.resize(HEADER_BYTES, 0);
                compress_to(codec, &self.out[HEADER_BYTES..], &mut out);
                out
            }
        };
        let batch =
            finish(self.header, out).expect("less than the longest batch, even if it did not compress");
        batch.into_bytes()
    }
}
