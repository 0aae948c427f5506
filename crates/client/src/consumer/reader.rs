//! The records of one partition in one answer. Pure: bytes in, records out.

use crate::{ClientError, Isolation};
use bytes::Bytes;
use highwater_records::{Batch, BatchError, Batches, Header, Records};
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp};
use highwater_wire::Str;
use highwater_wire::messages::AbortedTransaction;
use std::collections::{BTreeSet, VecDeque};

/// The key of a control record that aborts a transaction: version 0, type 0. Later versions may add to it.
const ABORT_TYPE: i16 = 0;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset within it.
    pub offset: Offset,
    /// The leader epoch in which it was written.
    pub leader_epoch: LeaderEpoch,
    /// When it was created or appended, as the topic has it.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

/// Goes over the batches of one partition in one answer, from a position on. Every batch's checksum is checked.
#[derive(Debug)]
pub(crate) struct Reader {
    topic: Str,
    partition: PartitionIndex,
    /// Where reading began.
    start: Offset,
    position: Offset,
    batches: Batches,
    current: Option<(Batch, Records)>,
    max_decompressed_bytes: usize,
    /// None if every record is to be read.
    aborted: Option<Aborted>,
}

/// The aborted transactions among the batches.
#[derive(Debug)]
struct Aborted {
    /// Those that begin further on, by their first offset.
    later: VecDeque<AbortedTransaction>,
    /// The producers whose transaction here is one of them.
    open: BTreeSet<ProducerId>,
}

impl Aborted {
    fn new(transactions: Vec<AbortedTransaction>) -> Self {
        let mut later = VecDeque::from(transactions);
        later.make_contiguous().sort_by_key(|transaction| transaction.first_offset);
        Self { later, open: BTreeSet::new() }
    }

    /// Whether the batch's records are dropped. Batches come in order.
    fn drops(&mut self, batch: &Batch, is_abort: bool) -> bool {
        let header = batch.header();
        while let Some(next) = self.later.front().filter(|next| next.first_offset <= header.last_offset()) {
            self.open.insert(next.producer_id);
            self.later.pop_front();
        }
        if is_abort {
            self.open.remove(&header.producer_id);
        }
        header.attributes.is_transactional() && self.open.contains(&header.producer_id)
    }
}

impl Reader {
    /// A reader from `position` on of the batches that a broker sent.
    pub(crate) fn new(
        (topic, partition): (Str, PartitionIndex),
        position: Offset,
        bytes: Bytes,
        isolation: Isolation,
        aborted: Vec<AbortedTransaction>,
        max_decompressed_bytes: usize,
    ) -> Self {
        let aborted = match isolation {
            Isolation::ReadUncommitted => None,
            Isolation::ReadCommitted => Some(Aborted::new(aborted)),
        };
        let batches = Batches::with_partial_tail(bytes);
        Self {
            topic,
            partition,
            start: position,
            position,
            batches,
            current: None,
            max_decompressed_bytes,
            aborted,
        }
    }

    /// The offset behind everything that was read or skipped.
    pub(crate) fn position(&self) -> Offset {
        self.position
    }

    /// The next record; None at the end.
    pub(crate) fn next(&mut self) -> Result<Option<ConsumedRecord>, ClientError> {
        loop {
            let Some((batch, records)) = &mut self.current else {
                match self.next_batch() {
                    Ok(true) => continue,
                    Ok(false) if self.is_stuck() => {
                        return Err(self.corrupt(&"the broker sent a part of one batch and nothing else"));
                    }
                    Ok(false) => return Ok(None),
                    Err(error) => return Err(self.corrupt(&error)),
                }
            };
            let header = *batch.header();
            match records.next() {
                Some(Ok(record)) if record.offset < self.position => {}
                Some(Ok(record)) => {
                    self.position = record.offset.next();
                    return Ok(Some(ConsumedRecord {
                        topic: self.topic.clone(),
                        partition: self.partition,
                        offset: record.offset,
                        leader_epoch: header.leader_epoch,
                        timestamp: record.timestamp,
                        key: record.key,
                        value: record.value,
                        headers: record.headers,
                    }));
                }
                Some(Err(error)) => return Err(self.corrupt(&error)),
                None => {
                    // Compaction may have removed records from the batch's end.
                    self.position = self.position.max(header.next_offset());
                    self.current = None;
                }
            }
        }
    }

    /// Goes to the next batch; false at the end. Batches that are not to be read are skipped.
    fn next_batch(&mut self) -> Result<bool, BatchError> {
        let Some(batch) = self.batches.next() else { return Ok(false) };
        let batch = batch?;
        let header = *batch.header();
        let is_control = header.attributes.is_control();
        let is_abort = is_control && self.aborted.is_some() && self.is_abort(&batch)?;
        let dropped = self.aborted.as_mut().is_some_and(|aborted| aborted.drops(&batch, is_abort));
        if is_control || dropped || header.last_offset() < self.position {
            self.position = self.position.max(header.next_offset());
        } else {
            let records = batch.records_within(self.max_decompressed_bytes)?;
            self.current = Some((batch, records));
        }
        Ok(true)
    }

    fn is_abort(&self, batch: &Batch) -> Result<bool, BatchError> {
        let first = batch.records_within(self.max_decompressed_bytes)?.next().transpose()?;
        let key = first.and_then(|record| record.key);
        let kind = key.as_ref().and_then(|key| key.get(2..4)).map(|kind| [kind[0], kind[1]]);
        Ok(kind == Some(ABORT_TYPE.to_be_bytes()))
    }

    /// Whether fetching again from the position would give the same partial batch for ever.
    fn is_stuck(&self) -> bool {
        self.position == self.start && !self.batches.rest().is_empty()
    }

    fn corrupt(&self, error: &impl ToString) -> ClientError {
        ClientError::Corrupt {
            topic: self.topic.to_string(),
            partition: self.partition.0,
            offset: self.position.0,
            cause: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_records::{BatchBuilder, Codec, HEADER_BYTES, crc32c};
    use highwater_types::ProducerEpoch;

    fn values(count: i64, from: i64) -> BatchBuilder {
        let mut builder = BatchBuilder::new(Codec::Lz4, usize::MAX);
        for offset in from..from + count {
            assert!(builder.try_push(Timestamp(7), None, Some(offset.to_string().as_bytes()), &[]));
        }
        builder
    }

    fn stored(builder: BatchBuilder, base: i64) -> Vec<u8> {
        let batch = Batch::check(builder.build()).expect("a builder makes whole batches");
        batch.assigned(Offset(base), LeaderEpoch(3), None).to_bytes().to_vec()
    }

    fn plain(count: i64, base: i64) -> Vec<u8> {
        stored(values(count, base), base)
    }

    fn transactional(producer: i64, count: i64, base: i64) -> Vec<u8> {
        let mut builder = values(count, base);
        builder.set_producer(ProducerId(producer), ProducerEpoch(0), 0);
        builder.set_transactional();
        stored(builder, base)
    }

    fn marker(producer: i64, kind: u8, base: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None, usize::MAX);
        assert!(builder.try_push(Timestamp(7), Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]));
        builder.set_producer(ProducerId(producer), ProducerEpoch(0), -1);
        builder.set_transactional();
        let mut bytes = stored(builder, base);
        // The builder makes no control batches: set their bit by hand.
        bytes[22] |= 1 << 5;
        let crc = crc32c(&bytes[21..]).to_be_bytes();
        bytes[17..21].copy_from_slice(&crc);
        bytes
    }

    fn reader(position: i64, bytes: Vec<u8>, aborted: Option<&[(i64, i64)]>) -> Reader {
        let isolation = if aborted.is_some() { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
        let aborted = aborted.unwrap_or_default().iter().map(|&(producer, first)| AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
        });
        let key = (Str::from("t"), PartitionIndex(1));
        Reader::new(key, Offset(position), bytes.into(), isolation, aborted.collect(), 1 << 20)
    }

    fn check(mut reader: Reader, expected: &[i64], end: i64) {
        let mut offsets = Vec::new();
        while let Some(record) = reader.next().expect("the bytes are good") {
            assert_eq!(record.value, Some(Bytes::from(record.offset.to_string())));
            assert_eq!((record.leader_epoch, record.partition), (LeaderEpoch(3), PartitionIndex(1)));
            offsets.push(record.offset.0);
        }
        assert_eq!(offsets, expected);
        assert_eq!(reader.position(), Offset(end));
    }

    #[test]
    fn reading_begins_within_a_batch_and_ends_before_a_partial_one() {
        let mut bytes = plain(5, 10);
        bytes.extend(plain(2, 15));
        let whole = bytes.len();
        bytes.extend(plain(9, 17));
        check(reader(13, bytes.clone(), None), &[13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25], 26);
        bytes.truncate(whole + HEADER_BYTES + 3);
        check(reader(13, bytes.clone(), None), &[13, 14, 15, 16], 17);
        check(reader(15, bytes.clone(), None), &[15, 16], 17);
        check(reader(17, vec![], None), &[], 17);
        // Answers begin with a whole batch, or asking again would go on for ever.
        let stuck = reader(17, bytes[whole..].to_vec(), None).next();
        assert!(matches!(stuck, Err(ClientError::Corrupt { offset: 17, .. })), "{stuck:?}");
    }

    #[test]
    fn damage_is_reported_where_it_is_and_nothing_of_it_is_returned() {
        let mut bytes = plain(2, 0);
        let first = bytes.len();
        bytes.extend(plain(2, 2));
        bytes[first + 70] ^= 1;
        let mut reader = reader(0, bytes, None);
        assert!(matches!(reader.next(), Ok(Some(_))));
        assert!(matches!(reader.next(), Ok(Some(_))));
        assert!(matches!(reader.next(), Err(ClientError::Corrupt { offset: 2, partition: 1, .. })));
        assert_eq!(reader.position(), Offset(2));
    }

    #[test]
    fn aborted_transactions_are_dropped_for_committed_reads_alone() {
        // Producer 1 aborts 0-1 and commits 7-8; producer 2 commits 2-3; 5 is plain.
        let bytes: Vec<u8> = [
            transactional(1, 2, 0),
            transactional(2, 2, 2),
            marker(1, 0, 4),
            plain(1, 5),
            marker(2, 1, 6),
            transactional(1, 2, 7),
            marker(1, 1, 9),
        ]
        .concat();
        check(reader(0, bytes.clone(), None), &[0, 1, 2, 3, 5, 7, 8], 10);
        check(reader(0, bytes.clone(), Some(&[(1, 0)])), &[2, 3, 5, 7, 8], 10);
        check(reader(0, bytes.clone(), Some(&[])), &[0, 1, 2, 3, 5, 7, 8], 10);
        check(reader(3, bytes, Some(&[(1, 0)])), &[3, 5, 7, 8], 10);
    }
}
