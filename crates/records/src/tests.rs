//! Tests over whole batches: round trips, the rules for producers, an independent implementation as an oracle, and
//! hostile bytes.

use super::*;
use bytes::{Bytes, BytesMut};
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use proptest::prelude::*;

mod hostile;
mod oracle;
mod rules;

/// A record to be put into a batch.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
}

impl Input {
    fn plain(key: &str, value: &str) -> Self {
        Self {
            timestamp: 1_700_000_000_000,
            key: Some(key.into()),
            value: Some(value.into()),
            headers: vec![],
        }
    }

    fn record(&self, offset: i64) -> Record {
        Record {
            offset: Offset(offset),
            timestamp: Timestamp(self.timestamp),
            key: self.key.clone().map(Bytes::from),
            value: self.value.clone().map(Bytes::from),
            headers: self.headers.clone(),
        }
    }
}

pub(crate) fn builder(codec: Codec, inputs: &[Input]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec, usize::MAX);
    for input in inputs {
        let (key, value) = (input.key.as_deref(), input.value.as_deref());
        assert!(builder.try_push(Timestamp(input.timestamp), key, value, &input.headers));
    }
    builder
}

pub(crate) fn batch(codec: Codec, inputs: &[Input]) -> Batch {
    Batch::check(builder(codec, inputs).build()).expect("the builder makes good batches")
}

pub(crate) fn three() -> Vec<Input> {
    let mut second = Input::plain("b", "two");
    second.timestamp += 5;
    second.headers = vec![
        Header { key: Bytes::from_static(b"h"), value: Some(Bytes::from_static(b"1")) },
        Header { key: Bytes::from_static(b"h"), value: None },
    ];
    let mut third = Input::plain("c", "");
    third.timestamp -= 70;
    third.key = None;
    third.value = None;
    vec![Input::plain("a", "one"), second, third]
}

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))
}

fn header_strategy() -> impl Strategy<Value = Header> {
    ("[a-z]{0,8}", field())
        .prop_map(|(key, value)| Header { key: Bytes::from(key), value: value.map(Bytes::from) })
}

pub(crate) fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let headers = proptest::collection::vec(header_strategy(), 0..3);
    let timestamp = prop_oneof![1_600_000_000_000i64..1_700_000_000_000, Just(-1), Just(0)];
    let input = (timestamp, field(), field(), headers).prop_map(|(timestamp, key, value, headers)| Input {
        timestamp,
        key,
        value,
        headers,
    });
    proptest::collection::vec(input, 1..30)
}

pub(crate) fn codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(&Codec::ALL)
}

#[test]
fn the_bytes_of_a_batch() {
    let mut builder = builder(Codec::None, &three());
    builder.set_producer(ProducerId(9), ProducerEpoch(1), 30);
    let bytes = builder.build();
    let lines: Vec<String> = bytes
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    00 00 00 00 00 00 00 00 00 00 00 56 ff ff ff ff
    02 7a 14 4f 9b 00 00 00 00 00 02 00 00 01 8b cf
    e5 68 00 00 00 01 8b cf e5 68 05 00 00 00 00 00
    00 00 09 00 01 00 00 00 1e 00 00 00 03 14 00 00
    00 02 61 06 6f 6e 65 00 22 00 0a 02 02 62 06 74
    77 6f 04 02 68 02 31 02 68 01 0e 00 8b 01 04 01
    01 00
    ");
}

#[test]
fn a_builder_stops_at_its_limit_but_takes_one_large_record() {
    let mut builder = BatchBuilder::new(Codec::None, 200);
    assert!(builder.is_empty());
    assert!(builder.try_push(Timestamp(1), None, Some(&[0; 500]), &[]));
    assert!(!builder.try_push(Timestamp(1), None, Some(&[0; 1]), &[]));
    assert_eq!(builder.record_count(), 1);

    let mut builder = BatchBuilder::new(Codec::None, 200);
    let mut count = 0;
    while builder.try_push(Timestamp(7 + count), Some(b"k"), Some(b"value"), &[]) {
        count += 1;
    }
    assert_eq!(i64::from(builder.record_count()), count);
    assert!(builder.size_bytes() <= 200 && builder.size_bytes() > 200 - 14);
    let size = builder.size_bytes();
    let batch = Batch::check(builder.build()).expect("it is whole");
    assert_eq!(batch.bytes().len(), size);
    assert_eq!(batch.header().max_timestamp, Timestamp(6 + count));
}

#[test]
fn log_append_time_replaces_every_timestamp() {
    let batch = batch(Codec::Lz4, &three());
    let assigned = batch.assigned(Offset(40), LeaderEpoch(2), Some(Timestamp(99)));
    let read = Batch::check(assigned.to_bytes()).expect("the checksum was computed anew");
    assert_eq!(read.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(read.header().max_timestamp, Timestamp(99));
    let timestamps: Vec<_> = read
        .records()
        .expect("it decompresses")
        .map(|record| record.expect("it is whole").timestamp)
        .collect();
    assert_eq!(timestamps, [Timestamp(99); 3]);
}

#[test]
fn a_batch_changes_its_producer() {
    let mut builder = builder(Codec::Zstd, &three());
    let plain = Batch::check(builder.clone().build()).expect("the builder makes good batches");
    builder.set_producer(ProducerId(5), ProducerEpoch(2), 70);
    let expected = Batch::check(builder.build()).expect("the builder makes good batches");
    assert_eq!(plain.with_producer(ProducerId(5), ProducerEpoch(2), 70), expected);
}

#[test]
fn assignment_shares_the_records_and_changes_twelve_bytes() {
    let batch = batch(Codec::None, &three());
    let assigned = batch.assigned(Offset(0x0102_0304_0506_0708), LeaderEpoch(0x0a0b_0c0d), None);
    assert_eq!(assigned.header().last_offset(), Offset(0x0102_0304_0506_070a));
    let [head, body] = assigned.buffers();
    assert_eq!(body.as_ptr(), batch.bytes()[HEADER_BYTES..].as_ptr());
    assert_eq!(head[0..8], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(head[8..12], batch.bytes()[8..12]);
    assert_eq!(head[12..16], [10, 11, 12, 13]);
    assert_eq!(head[16..], batch.bytes()[16..HEADER_BYTES]);
    assert_eq!(assigned.size_bytes(), assigned.to_bytes().len());
}

#[test]
fn batches_end_cleanly_or_name_what_is_wrong() {
    let one = batch(Codec::Gzip, &three());
    let two = batch(Codec::None, &three()[..1]);
    let mut both = BytesMut::from(&one.bytes()[..]);
    both.extend_from_slice(two.bytes());
    let both = both.freeze();
    let all: Result<Vec<_>, _> = Batches::new(both.clone()).collect();
    assert_eq!(all, Ok(vec![one.clone(), two.clone()]));
    for cut in one.bytes().len() + 1..both.len() {
        let mut tolerant = Batches::with_partial_tail(both.slice(..cut));
        assert_eq!(tolerant.next(), Some(Ok(one.clone())));
        assert_eq!(tolerant.next(), None);
        assert_eq!(tolerant.rest().len(), cut - one.bytes().len());
        let mut strict = Batches::new(both.slice(..cut));
        assert_eq!(strict.next(), Some(Ok(one.clone())));
        assert!(matches!(strict.next(), Some(Err(BatchError::Truncated { .. }))), "cut at {cut}");
        assert_eq!(strict.next(), None);
    }
}

proptest! {
    #[test]
    fn records_round_trip(inputs in inputs(), codec in codec(), base in 0i64..1 << 40) {
        let batch = batch(codec, &inputs);
        prop_assert_eq!(batch.deep_check(MAX_DECOMPRESSED_BYTES), Ok(()));
        let assigned = batch.assigned(Offset(base), LeaderEpoch(5), None);
        let stored = Batch::check(assigned.to_bytes()).expect("no checksum covers what was patched");
        prop_assert_eq!(stored.header(), assigned.header());
        let records: Result<Vec<_>, _> = stored.records().expect("it decompresses").collect();
        let expected: Vec<_> = inputs.iter().zip(base..).map(|(input, offset)| input.record(offset)).collect();
        prop_assert_eq!(records.as_ref(), Ok(&expected));
        prop_assert_eq!(stored.header().next_offset(), Offset(base + inputs.len() as i64));
        prop_assert_eq!(
            stored.header().max_timestamp,
            expected.iter().map(|record| record.timestamp).max().unwrap_or_default()
        );
    }

    #[test]
    fn recompression_keeps_everything_else(inputs in inputs(), from in codec(), to in codec()) {
        let mut builder = builder(from, &inputs);
        builder.set_producer(ProducerId(4), ProducerEpoch(0), i32::MAX);
        let before = Batch::check(builder.build()).expect("the builder makes good batches");
        let after = recompress(&before, to, MAX_DECOMPRESSED_BYTES).expect("it decompresses");
        prop_assert_eq!(after.header().attributes.codec(), Ok(to));
        prop_assert_eq!(Batch::check(after.bytes().clone()), Ok(after.clone()));
        let (old, new) = (before.header(), after.header());
        let alike = BatchHeader { batch_length: old.batch_length, crc: old.crc, attributes: old.attributes, ..*new };
        prop_assert_eq!(&alike, old);
        let records = |batch: &Batch| -> Result<Vec<_>, _> { batch.records().expect("it decompresses").collect() };
        prop_assert_eq!(records(&after), records(&before));
    }
}
