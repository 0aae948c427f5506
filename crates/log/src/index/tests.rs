use super::*;
use highwater_records::{Attributes, MAGIC as BATCH_MAGIC};
use highwater_types::{LeaderEpoch, ProducerEpoch, ProducerId};
use proptest::prelude::*;

const BASE: Offset = Offset(1_000);

fn header(base: i64, count: i32, size: usize, time: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base),
        batch_length: size as i32 - 12,
        leader_epoch: LeaderEpoch(0),
        magic: BATCH_MAGIC,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: Timestamp(time),
        max_timestamp: Timestamp(time),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        record_count: count,
    }
}

/// Batches of 10 offsets and 100 bytes with the given times, an entry every 200 bytes.
fn builder(times: &[i64]) -> IndexBuilder {
    let mut builder = IndexBuilder::new(BASE);
    for (number, &time) in times.iter().enumerate() {
        builder.push(&header(BASE.0 + 10 * number as i64, 10, 100, time), 200, false);
    }
    builder
}

#[test]
fn offsets_lead_to_the_entry_before_them() {
    let builder = builder(&[1, 2, 3, 4, 5]);
    let check = |offset, expected: Option<(i64, u32, u32)>| {
        let found = builder.span(Offset(offset)).map(|span| (span.offset.0, span.position, span.next));
        assert_eq!(found, expected, "{offset}");
    };
    check(999, None);
    check(1_000, Some((1_000, 64, 264)));
    check(1_019, Some((1_000, 64, 264)));
    check(1_020, Some((1_020, 264, 464)));
    check(1_049, Some((1_040, 464, 564)));
    check(i64::MAX, None);
}

#[test]
fn times_lead_to_an_offset_before_the_first_batch_that_is_late_enough() {
    let builder = builder(&[5, 9, 3, 7, 12, 1]);
    let check =
        |time, expected| assert_eq!(builder.offset_before(Timestamp(time)), Offset(expected), "{time}");
    check(5, 1_000);
    check(6, 1_000);
    check(9, 1_000);
    check(10, 1_020);
    check(12, 1_020);
    check(13, 1_040);
    assert_eq!(builder.summary().max_timestamp, Timestamp(12));
    assert_eq!(builder.summary().max_timestamp_at, Offset(1_040));
}

#[test]
fn files_round_trip() {
    for count in [0, 1, 2, 50] {
        let index = builder(&(0..count).collect::<Vec<_>>()).finish();
        let bytes = index.encode();
        assert_eq!(Some(bytes.len()), file_bytes(index.entries.len()));
        assert_eq!(decode_header(&bytes), Some((index.summary, index.entries.len())));
        assert_eq!(Index::decode(&bytes), Some(index));
    }
}

#[test]
fn entries_out_of_order_or_bounds_are_refused_even_with_a_right_checksum() {
    let check = |change: fn(&mut Index)| {
        let mut index = builder(&[1, 2, 3, 4, 5]).finish();
        change(&mut index);
        assert_eq!(Index::decode(&index.encode()), None, "{index:?}");
    };
    check(|index| index.entries.swap(0, 1));
    check(|index| index.entries[1].position = index.entries[0].position);
    check(|index| index.entries[0].position = 63);
    check(|index| index.entries[2].position = index.summary.size);
    check(|index| index.entries[2].relative = 50);
    check(|index| index.entries[2].max_timestamp = Timestamp(0));
    check(|index| index.summary.end = Offset(999));
    check(|index| index.summary.size = u32::MAX);
}

proptest! {
    #[test]
    fn any_change_is_noticed(at in any::<prop::sample::Index>(), mask in 1u8.., cut in any::<prop::sample::Index>()) {
        let bytes = builder(&[1, 2, 3, 4, 5]).finish().encode();
        let mut damaged = bytes.to_vec();
        let at = at.index(damaged.len());
        damaged[at] ^= mask;
        prop_assert_eq!(Index::decode(&damaged), None);
        prop_assert_eq!(Index::decode(&bytes[..cut.index(bytes.len())]), None);
    }
}
