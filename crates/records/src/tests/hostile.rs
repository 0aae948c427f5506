//! Bytes that nobody should send.

use super::*;

/// Runs everything that reads a batch over `bytes`.
fn read_all(bytes: &Bytes) {
    for batch in Batches::with_partial_tail(bytes.clone()).flatten() {
        read_records(&batch);
    }
    for batch in Batches::new(bytes.clone()).flatten() {
        assert!(batch.bytes().len() <= bytes.len());
    }
    let rules = ProduceRules { deep: true, max_decompressed_bytes: 1 << 20, ..ProduceRules::default() };
    if let Ok(batch) = validate_produced(bytes.clone(), &rules) {
        let _ = recompress(&batch, Codec::Snappy, 1 << 20);
        let _ = batch.assigned(Offset(i64::MAX), LeaderEpoch(i32::MAX), Some(Timestamp(i64::MIN)));
    }
}

fn read_records(batch: &Batch) {
    if let Ok(records) = batch.records_within(1 << 20) {
        let most = batch.header().record_count as usize + 1;
        assert!(records.take(most + 1).count() <= most);
    }
    let header = batch.header();
    assert!(header.next_offset() > header.last_offset() && header.last_offset() >= header.base_offset);
    assert!(header.last_sequence() >= -1 || header.base_sequence < -1);
}

/// As an attacker would: with a checksum that fits.
fn with_right_checksum(mut bytes: Vec<u8>) -> Bytes {
    if bytes.len() > 21 {
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    bytes.into()
}

#[test]
fn every_truncation_is_an_error() {
    for codec in Codec::ALL {
        let whole = builder(codec, &three()).build();
        for length in 0..whole.len() {
            let cut = whole.slice(..length);
            assert!(Batch::check(cut.clone()).is_err(), "{codec} at {length}");
            assert!(validate_produced(cut.clone(), &ProduceRules::default()).is_err(), "{codec} at {length}");
            read_all(&cut);
        }
    }
}

#[test]
fn every_flipped_bit_is_seen_or_moves_offset_or_epoch_alone() {
    for codec in Codec::ALL {
        let whole = batch(codec, &three());
        for bit in 0..whole.bytes().len() * 8 {
            let mut bytes = whole.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bytes = Bytes::from(bytes);
            read_all(&bytes);
            match (bit / 8, Batch::check(bytes)) {
                (0..8 | 12..16, Ok(changed)) => {
                    let header = changed.header();
                    let (base_offset, leader_epoch) =
                        (whole.header().base_offset, whole.header().leader_epoch);
                    assert_eq!(&BatchHeader { base_offset, leader_epoch, ..*header }, whole.header());
                }
                (0..8, Err(BatchError::InvalidHeader { .. })) => {}
                (8..12, Err(BatchError::Truncated { .. } | BatchError::BadLength { .. })) => {}
                (8..12, Err(BatchError::SeveralBatches { .. })) => {}
                (16, Err(BatchError::UnknownFormat(_) | BatchError::OldFormat(_))) => {}
                (17.., Err(BatchError::Corrupt { .. })) => {}
                (byte, other) => panic!("{codec}, byte {byte}, bit {}: {other:?}", bit % 8),
            }
        }
    }
}

#[test]
fn old_message_sets_are_refused() {
    // One message each of format 0 and 1: offset, size, checksum, magic, attributes, (timestamp,) key, value.
    let value = b"\x00\x00\x00\x05hello";
    let mut zero = b"\0\0\0\0\0\0\0\0\0\0\0\x13\x11\x22\x33\x44\x00\x00\xff\xff\xff\xff".to_vec();
    zero.extend_from_slice(value);
    let mut one =
        b"\0\0\0\0\0\0\0\0\0\0\0\x1b\x11\x22\x33\x44\x01\x00\0\0\0\0\0\0\0\x01\xff\xff\xff\xff".to_vec();
    one.extend_from_slice(value);
    for (magic, bytes) in [(0, zero), (1, one)] {
        let bytes = Bytes::from(bytes);
        assert_eq!(Batch::check(bytes.clone()), Err(BatchError::OldFormat(magic)));
        assert_eq!(
            validate_produced(bytes.clone(), &ProduceRules::default()),
            Err(BatchError::OldFormat(magic))
        );
        assert_eq!(Batches::with_partial_tail(bytes).next(), Some(Err(BatchError::OldFormat(magic))));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes.clone().into());
        let mut shaped = bytes;
        if shaped.len() > 70 {
            // Let most of them get past the first checks.
            let length = (shaped.len() - LENGTH_PREFIX) as u32;
            shaped[8..12].copy_from_slice(&length.to_be_bytes());
            shaped[16] = 2;
            shaped[22] &= 0b1101_1111;
            shaped[57] = 0;
            shaped[58] = 0;
        }
        read_all(&with_right_checksum(shaped));
    }

    #[test]
    fn changed_bytes_behind_a_right_checksum_never_panic(
        inputs in inputs(),
        codec in codec(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = builder(codec, &inputs).build().to_vec();
        for (at, value) in changes {
            let at = 21 + at.index(bytes.len() - 21);
            bytes[at] = value;
        }
        read_all(&with_right_checksum(bytes));
    }
}
