use super::*;
use highwater_records::{Attributes, MAGIC};
use highwater_types::LeaderEpoch;
use proptest::prelude::*;

fn header(id: i64, epoch: i16, sequence: i32, count: i32, base: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base),
        batch_length: 49,
        leader_epoch: LeaderEpoch(0),
        magic: MAGIC,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: Timestamp(5),
        max_timestamp: Timestamp(5),
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        record_count: count,
    }
}

/// After appends of (epoch, first sequence, count) by producer 1, what becomes of one more.
fn check(appended: &[(i16, i32, i32)], next: (i16, i32, i32), expected: &str) {
    let mut producers = Producers::default();
    let mut end = 100;
    for &(epoch, sequence, count) in appended {
        producers.record(&header(1, epoch, sequence, count, end), Timestamp(0));
        end += i64::from(count);
    }
    let verdict = match producers.check(&header(1, next.0, next.1, next.2, end)) {
        Ok(Verdict::Append) => "append".to_owned(),
        Ok(Verdict::Duplicate(batch)) => format!("duplicate of {} to {}", batch.base, batch.end),
        Err(error) => error.to_string(),
    };
    assert_eq!(verdict, expected, "{appended:?} {next:?}");
}

#[test]
fn sequences_follow_each_other() {
    check(&[], (0, 0, 3), "append");
    check(&[(0, 0, 3)], (0, 3, 1), "append");
    check(&[(0, 0, 3)], (0, 4, 1), "sequence number 4 does not follow: 3 is next");
    check(&[(0, 0, 3)], (0, 2, 1), "sequence number 2 does not follow: 3 is next");
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    check(&[], (4, 1_234, 1), "append");
}

#[test]
fn sequences_wrap_to_zero() {
    check(&[(0, i32::MAX, 1)], (0, 0, 1), "append");
    check(&[(0, i32::MAX - 1, 4)], (0, 2, 1), "append");
    check(&[(0, i32::MAX - 1, 4)], (0, i32::MAX - 1, 4), "duplicate of 100 to 104");
}

#[test]
fn repeats_of_the_last_five_batches_are_known() {
    let batches: Vec<_> = (0..6).map(|number| (0, number * 2, 2)).collect();
    check(&batches, (0, 10, 2), "duplicate of 110 to 112");
    check(&batches, (0, 2, 2), "duplicate of 102 to 104");
    check(&batches, (0, 0, 2), "sequence number 0 does not follow: 12 is next");
    check(&batches, (0, 10, 1), "sequence number 10 does not follow: 12 is next");
}

#[test]
fn epochs_fence_and_start_at_zero() {
    check(&[(3, 7, 1)], (2, 8, 1), "producer epoch 2 was fenced by 3");
    check(&[(3, 7, 1)], (4, 0, 1), "append");
    check(&[(3, 7, 1)], (4, 8, 1), "sequence number 8 does not follow: 0 is next");
    check(&[(3, 7, 1), (4, 0, 1)], (4, 1, 1), "append");
    check(&[(3, 0, 1), (4, 0, 1)], (4, 0, 1), "duplicate of 101 to 102");
}

#[test]
fn idle_producers_are_forgotten() {
    let mut producers = Producers::default();
    producers.record(&header(1, 0, 0, 1, 0), Timestamp(10));
    producers.record(&header(2, 0, 0, 1, 1), Timestamp(20));
    producers.expire(Timestamp(11));
    assert!(matches!(producers.check(&header(1, 0, 9, 1, 2)), Ok(Verdict::Append)));
    assert!(producers.check(&header(2, 0, 9, 1, 2)).is_err());
}

#[test]
fn the_number_of_producers_is_bounded() {
    let mut producers = Producers::default();
    for id in 0..MOST_PRODUCERS as i64 + 1 {
        producers.record(&header(id, 0, 0, 1, id), Timestamp(id));
    }
    assert!(producers.0.len() <= MOST_PRODUCERS);
    assert!(!producers.0.contains_key(&ProducerId(0)));
    assert!(producers.0.contains_key(&ProducerId(MOST_PRODUCERS as i64)));
}

proptest! {
    #[test]
    fn snapshots_round_trip(
        appends in proptest::collection::vec((0i64..6, 0i16..3, 0i32..50, 1i32..9, 0i64..1000), 0..60),
        end in 0i64..,
    ) {
        let mut producers = Producers::default();
        for (id, epoch, sequence, count, time) in appends {
            producers.record(&header(id, epoch, sequence, count, time), Timestamp(time));
        }
        let bytes = producers.encode(Offset(end));
        prop_assert_eq!(Producers::decode(&bytes), Some((Offset(end), producers)));
    }

    #[test]
    fn hostile_snapshots_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Producers::decode(&KIND.encode(&payload));
        let _ = Producers::decode(&payload.into());
    }
}

#[test]
fn the_largest_batch_fits_into_a_snapshot() {
    let mut producers = Producers::default();
    let largest = BatchHeader { last_offset_delta: i32::MAX, ..header(1, 0, 0, 1, 7) };
    producers.record(&largest, Timestamp(0));
    let (end, decoded) = Producers::decode(&producers.encode(Offset(9))).unwrap();
    assert_eq!(end, Offset(9));
    let batch = &decoded.0[&ProducerId(1)].batches[0];
    assert_eq!((batch.base, batch.end), (Offset(7), Offset(8 + i64::from(i32::MAX))));
}
