//! Going over the records of a batch.

use crate::record::RawRecord;
use crate::{BatchError, BatchHeader, Record, TimestampType};
use bytes::Bytes;
use highwater_types::{Offset, Timestamp};

/// The records of one batch, in offset order. Ends after the first error.
///
/// Offsets must rise and stay within what the header says. They may leave gaps, which compaction makes.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    /// The uncompressed records.
    data: Bytes,
    walk: Walk,
}

impl Records {
    pub(crate) fn new(header: BatchHeader, data: Bytes) -> Self {
        Self { header, data, walk: Walk::new(&header) }
    }

    fn record(&self, raw: &RawRecord<'_>) -> Record {
        let timestamp = match self.header.attributes.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            // Producers may give any timestamp at all: the format's arithmetic wraps.
            TimestampType::CreateTime => {
                Timestamp(self.header.base_timestamp.0.wrapping_add(raw.timestamp_delta))
            }
        };
        Record {
            offset: Offset(self.header.base_offset.0.saturating_add(i64::from(raw.offset_delta))),
            timestamp,
            key: raw.key.map(|key| self.data.slice_ref(key)),
            value: raw.value.map(|value| self.data.slice_ref(value)),
            headers: raw.headers(&self.data),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = self.walk.next(&self.data)?;
        Some(raw.map(|raw| self.record(&raw)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::try_from(self.header.record_count).unwrap_or(0)))
    }
}

/// The position within a batch's uncompressed records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    record_count: i32,
    last_offset_delta: i32,
    position: usize,
    index: i32,
    previous_delta: i32,
    done: bool,
}

impl Walk {
    pub(crate) fn new(header: &BatchHeader) -> Self {
        Self {
            record_count: header.record_count,
            last_offset_delta: header.last_offset_delta,
            position: 0,
            index: 0,
            previous_delta: -1,
            done: false,
        }
    }

    /// Where the records taken so far end.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The next record of `data`, which must be the same at each call.
    pub(crate) fn next<'a>(&mut self, data: &'a [u8]) -> Option<Result<RawRecord<'a>, BatchError>> {
        if self.done {
            return None;
        }
        let index = self.index;
        let result = self.step(data);
        self.done = !matches!(result, Ok(Some(_)));
        result.map_err(|reason| BatchError::InvalidRecord { index, reason }).transpose()
    }

    fn step<'a>(&mut self, data: &'a [u8]) -> Result<Option<RawRecord<'a>>, &'static str> {
        let mut rest = data.get(self.position..).unwrap_or_default();
        if self.index == self.record_count {
            return if rest.is_empty() { Ok(None) } else { Err("bytes follow the last record") };
        }
        if rest.is_empty() {
            return Err("there are fewer records than the header says");
        }
        let record = RawRecord::take(&mut rest)?;
        if record.offset_delta <= self.previous_delta {
            return Err("its offset does not rise");
        }
        if record.offset_delta > self.last_offset_delta {
            return Err("its offset lies beyond the batch");
        }
        self.position = data.len() - rest.len();
        self.index += 1;
        self.previous_delta = record.offset_delta;
        Ok(Some(record))
    }
}
