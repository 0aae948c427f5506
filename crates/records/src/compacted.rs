//! What becomes of a batch when its log is compacted.

use crate::compression::compress_to;
use crate::recompress::finish;
use crate::record::{NewRecord, RawRecord};
use crate::records::Walk;
use crate::{Attributes, Batch, BatchError, BatchHeader, Codec, HEADER_BYTES, MAGIC, TimestampType};
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use std::ops::Range;

/// A record as compaction sees it.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRecord<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// The key; compaction keeps the last record of each.
    pub key: Option<&'a [u8]>,
    /// It has no value: it deletes its key.
    pub is_tombstone: bool,
}

/// What a batch becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compacted {
    /// All of it stays as it is.
    Unchanged,
    /// Some records stay, or all with a horizon that they did not have.
    Rewritten(Batch),
    /// No record stays.
    Emptied,
}

impl Batch {
    /// Calls `each` for every record, decompressed to at most `limit` bytes.
    pub fn for_each_key(
        &self,
        limit: usize,
        mut each: impl FnMut(KeyedRecord<'_>),
    ) -> Result<(), BatchError> {
        let data = self.uncompressed(limit)?;
        let mut walk = Walk::new(self.header());
        while let Some(record) = walk.next(&data) {
            each(self.keyed(&record?));
        }
        Ok(())
    }

    /// The batch with the records alone that `keep` keeps, decompressed to at most `limit` bytes. What it says of its
    /// offsets and its producer stays, and so does the place of each record.
    ///
    /// If a tombstone is kept for the first time, `horizon` is noted as the time from which on it need not be kept
    /// any more (KIP-534).
    pub fn compacted(
        &self,
        limit: usize,
        horizon: Timestamp,
        mut keep: impl FnMut(KeyedRecord<'_>) -> bool,
    ) -> Result<Compacted, BatchError> {
        let data = self.uncompressed(limit)?;
        let mut kept: Vec<(Range<usize>, RawRecord<'_>)> = Vec::new();
        let mut keeps_tombstone = false;
        let mut walk = Walk::new(self.header());
        let mut start = 0;
        while let Some(record) = walk.next(&data) {
            let record = record?;
            let end = walk.position();
            let keyed = self.keyed(&record);
            if keep(keyed) {
                keeps_tombstone |= keyed.is_tombstone;
                kept.push((start..end, record));
            }
            start = end;
        }
        if kept.is_empty() {
            return Ok(Compacted::Emptied);
        }
        let header = self.header();
        let gains_horizon = keeps_tombstone && !header.attributes.has_delete_horizon();
        if !gains_horizon && kept.len() == usize::try_from(header.record_count).unwrap_or(0) {
            return Ok(Compacted::Unchanged);
        }
        let base = if gains_horizon { horizon } else { header.base_timestamp };
        let time_of = |record: &RawRecord<'_>| header.base_timestamp.0.wrapping_add(record.timestamp_delta);
        let mut records = Vec::with_capacity(data.len());
        for (range, record) in &kept {
            if gains_horizon {
                let timestamp_delta = time_of(record).wrapping_sub(base.0);
                let RawRecord { offset_delta, key, value, .. } = *record;
                let headers = record.headers(&data);
                NewRecord { timestamp_delta, offset_delta, key, value, headers: &headers }.put(&mut records);
            } else {
                records.extend_from_slice(&data[range.clone()]);
            }
        }
        let latest = kept.iter().map(|(_, record)| Timestamp(time_of(record))).max();
        let max_timestamp = match header.attributes.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp,
            TimestampType::CreateTime => latest.unwrap_or(Timestamp::NONE),
        };
        let attributes = match gains_horizon {
            true => header.attributes.with_delete_horizon(),
            false => header.attributes,
        };
        let record_count = i32::try_from(kept.len()).expect("no more than there were");
        let header = BatchHeader { attributes, base_timestamp: base, max_timestamp, record_count, ..*header };
        rebuilt(header, &records).map(Compacted::Rewritten)
    }

    /// The batch without its records: what is known of its producer stays.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let header = self.header();
        let attributes = header.attributes.with_codec(Codec::None);
        let none = Timestamp::NONE;
        let header =
            BatchHeader { attributes, base_timestamp: none, max_timestamp: none, record_count: 0, ..*header };
        finish(header, vec![0; HEADER_BYTES]).expect("it has the length of a header")
    }

    /// A batch without records that stands for offsets of one leader epoch: at least one, and 2^31 at most.
    pub fn placeholder(offsets: Range<Offset>, leader_epoch: LeaderEpoch) -> Self {
        let last = i32::try_from(offsets.end.0 - offsets.start.0 - 1).expect("at most 2^31 offsets");
        let header = BatchHeader {
            base_offset: offsets.start,
            batch_length: 0,
            leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: last,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            record_count: 0,
        };
        finish(header, vec![0; HEADER_BYTES]).expect("it has the length of a header")
    }

    fn keyed<'a>(&self, record: &RawRecord<'a>) -> KeyedRecord<'a> {
        let offset = Offset(self.header().base_offset.0.saturating_add(i64::from(record.offset_delta)));
        KeyedRecord { offset, key: record.key, is_tombstone: record.value.is_none() }
    }
}

fn rebuilt(header: BatchHeader, records: &[u8]) -> Result<Batch, BatchError> {
    let mut out = Vec::with_capacity(HEADER_BYTES + records.len());
    out.resize(HEADER_BYTES, 0);
    match header.attributes.codec()? {
        Codec::None => out.extend_from_slice(records),
        codec => compress_to(codec, records, &mut out),
    }
    finish(header, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Header};
    use bytes::Bytes;

    const LIMIT: usize = 1 << 20;

    fn batch(codec: Codec, records: &[(&str, Option<&str>)]) -> Batch {
        let mut builder = BatchBuilder::new(codec, LIMIT);
        let headers = [Header { key: Bytes::from_static(b"h"), value: None }];
        for (index, (key, value)) in records.iter().enumerate() {
            let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
            assert!(builder.try_push(Timestamp(1_000 + index as i64), key, value, &headers));
        }
        builder.set_producer(ProducerId(7), ProducerEpoch(1), 20);
        let batch = Batch::check(builder.build()).expect("the builder makes good batches");
        let placed = batch.assigned(Offset(100), LeaderEpoch(3), None).to_bytes();
        Batch::check(placed).expect("still good")
    }

    /// Offset, time and key of each record; no value is `!`.
    fn shown(batch: &Batch) -> Vec<String> {
        let checked = Batch::check(batch.bytes().clone()).expect("a good batch");
        assert_eq!(checked.header(), batch.header());
        let records = batch.records().expect("records").map(|record| record.expect("a record"));
        let show = |record: crate::Record| {
            assert_eq!(record.headers.len(), 1);
            let key = String::from_utf8_lossy(&record.key.expect("a key")).into_owned();
            let mark = if record.value.is_none() { "!" } else { "" };
            format!("{}@{}={key}{mark}", record.offset, record.timestamp.0)
        };
        records.map(show).collect()
    }

    #[test]
    fn records_that_stay_keep_their_places_and_times() {
        for codec in Codec::ALL {
            let whole = batch(codec, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
            let keep = |record: KeyedRecord<'_>| record.key == Some(b"b");
            let Ok(Compacted::Rewritten(less)) = whole.compacted(LIMIT, Timestamp(9), keep) else {
                panic!("one record of three stays");
            };
            assert_eq!(shown(&less), ["101@1001=b"]);
            let header = less.header();
            assert_eq!((header.base_offset, header.last_offset()), (Offset(100), Offset(102)));
            assert_eq!((header.last_sequence(), header.producer_id), (22, ProducerId(7)));
            assert_eq!((header.max_timestamp, header.leader_epoch), (Timestamp(1_001), LeaderEpoch(3)));
            assert_eq!(header.attributes.codec(), Ok(codec));
            assert_eq!(whole.compacted(LIMIT, Timestamp(9), |_| true), Ok(Compacted::Unchanged));
            assert_eq!(whole.compacted(LIMIT, Timestamp(9), |_| false), Ok(Compacted::Emptied));
        }
    }

    #[test]
    fn a_tombstone_gets_its_horizon_once() {
        let whole = batch(Codec::None, &[("a", None), ("b", Some("2"))]);
        let Ok(Compacted::Rewritten(noted)) = whole.compacted(LIMIT, Timestamp(90_000), |_| true) else {
            panic!("the horizon is noted");
        };
        assert_eq!(shown(&noted), ["100@1000=a!", "101@1001=b"]);
        assert!(noted.header().attributes.has_delete_horizon());
        assert_eq!(noted.header().base_timestamp, Timestamp(90_000));
        assert_eq!(noted.compacted(LIMIT, Timestamp(99_000), |_| true), Ok(Compacted::Unchanged));
        let keep = |record: KeyedRecord<'_>| !record.is_tombstone;
        let Ok(Compacted::Rewritten(less)) = noted.compacted(LIMIT, Timestamp(99_000), keep) else {
            panic!("one record of two stays");
        };
        assert_eq!(shown(&less), ["101@1001=b"]);
    }

    #[test]
    fn what_has_no_records_any_more_keeps_its_offsets() {
        let emptied = batch(Codec::Zstd, &[("a", Some("1")), ("b", Some("2"))]).emptied();
        assert_eq!(shown(&emptied), Vec::<String>::new());
        assert_eq!((emptied.header().next_offset(), emptied.header().last_sequence()), (Offset(102), 21));
        let stands = Batch::placeholder(Offset(5)..Offset(9), LeaderEpoch(2));
        assert_eq!(shown(&stands), Vec::<String>::new());
        assert_eq!((stands.header().base_offset, stands.header().next_offset()), (Offset(5), Offset(9)));
        assert!(!stands.header().has_producer());
    }
}
