//! What producers may send.

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const HOUR: i64 = 3_600_000;

fn rules() -> ProduceRules {
    ProduceRules { now: NOW, timestamp_after_max_ms: HOUR, ..ProduceRules::default() }
}

fn check(bytes: Bytes, rules: &ProduceRules, expected: Result<(), BatchError>) {
    assert_eq!(validate_produced(bytes, rules).map(drop), expected);
}

/// A batch with a changed header, whose checksum is right.
fn changed(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    changed_from(&batch(Codec::None, &three()), change)
}

fn changed_from(batch: &Batch, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = *batch.header();
    change(&mut header);
    let mut bytes = BytesMut::from(&header.encode()[..]);
    bytes.extend_from_slice(&batch.bytes()[HEADER_BYTES..]);
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

#[test]
fn good_batches_pass() {
    for codec in Codec::ALL {
        let bytes = builder(codec, &three()).build();
        check(bytes.clone(), &rules(), Ok(()));
        check(bytes.clone(), &ProduceRules { deep: true, ..rules() }, Ok(()));
        check(bytes, &ProduceRules { produce_version: 7, ..rules() }, Ok(()));
    }
}

#[test]
fn exactly_one_batch() {
    check(Bytes::new(), &rules(), Err(BatchError::Empty));
    let bytes = builder(Codec::None, &three()).build();
    let extra_bytes = bytes.len();
    check([bytes.clone(), bytes].concat().into(), &rules(), Err(BatchError::SeveralBatches { extra_bytes }));
}

#[test]
fn a_wrong_checksum_comes_before_wrong_values() {
    let mut bytes = BytesMut::from(&changed(|h| h.record_count = -1)[..]);
    check(
        bytes.clone().freeze(),
        &rules(),
        Err(BatchError::InvalidHeader { field: "record count", value: -1 }),
    );
    bytes[60] ^= 1;
    assert!(matches!(validate_produced(bytes.freeze(), &rules()), Err(BatchError::Corrupt { .. })));
}

#[test]
fn header_rules() {
    check(changed(|h| h.base_offset = Offset(1)), &rules(), Err(BatchError::BaseOffset(Offset(1))));
    let counted = |count, last_offset_delta| Err(BatchError::RecordCount { count, last_offset_delta });
    check(changed(|h| h.record_count = 2), &rules(), counted(2, 2));
    check(changed(|h| h.last_offset_delta = i32::MAX), &rules(), counted(3, i32::MAX));
    check(BatchBuilder::new(Codec::None, 100).build(), &rules(), counted(0, 0));
    check(changed(|h| h.attributes = Attributes(1 << 5)), &rules(), Err(BatchError::Control));
    check(changed(|h| h.attributes = Attributes(1 << 3)), &rules(), Err(BatchError::TimestampType));
    check(changed(|h| h.attributes = Attributes(5)), &rules(), Err(BatchError::UnknownCodec(5)));
    let sequence = Err(BatchError::InvalidHeader { field: "base sequence", value: -1 });
    check(changed(|h| h.producer_id = ProducerId(1)), &rules(), sequence);
}

#[test]
fn sizes() {
    let bytes = builder(Codec::None, &three()).build();
    let size = bytes.len();
    let limited = |max_message_bytes| ProduceRules { max_message_bytes, ..rules() };
    check(bytes.clone(), &limited(size), Ok(()));
    check(bytes.clone(), &limited(size - 1), Err(BatchError::TooLarge { size, limit: size - 1 }));
    let limit = size as u64 - 1;
    let segment = ProduceRules { segment_bytes: limit, ..rules() };
    check(bytes, &segment, Err(BatchError::LargerThanSegment { size, limit }));
}

#[test]
fn zstd_needs_produce_7() {
    let bytes = builder(Codec::Zstd, &three()).build();
    let expected = BatchError::UnsupportedCompression { codec: Codec::Zstd, version: 6, needed: 7 };
    check(bytes, &ProduceRules { produce_version: 6, ..rules() }, Err(expected));
}

#[test]
fn compacted_topics_need_keys_in_every_codec() {
    for codec in Codec::ALL {
        let compacted = ProduceRules { compacted: true, ..rules() };
        let expected =
            BatchError::InvalidRecord { index: 2, reason: "a compacted topic needs a key in every record" };
        check(builder(codec, &three()).build(), &compacted, Err(expected));
        check(builder(codec, &three()[..2]).build(), &compacted, Ok(()));
    }
}

#[test]
fn timestamps_must_be_near_the_clock() {
    let at = |timestamp| Input { timestamp, ..Input::plain("a", "b") };
    let bytes = |timestamp| builder(Codec::None, &[at(NOW.0), at(timestamp)]).build();
    let invalid = |timestamp, earliest, latest| {
        Err(BatchError::InvalidTimestamp {
            timestamp: Timestamp(timestamp),
            earliest: Timestamp(earliest),
            latest: Timestamp(latest),
        })
    };
    let latest = NOW.0 + HOUR;
    check(bytes(latest), &rules(), Ok(()));
    check(bytes(latest + 1), &rules(), invalid(latest + 1, i64::MIN, latest));
    check(bytes(-1), &rules(), Ok(()));
    check(bytes(5), &rules(), Ok(()));
    let before = ProduceRules { timestamp_before_max_ms: HOUR, ..rules() };
    check(bytes(NOW.0 - HOUR), &before, Ok(()));
    check(bytes(NOW.0 - HOUR - 1), &before, invalid(NOW.0 - HOUR - 1, NOW.0 - HOUR, latest));
    check(bytes(-1), &before, Ok(()));
    let appended = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..before };
    check(bytes(latest + 1), &appended, Ok(()));
    check(bytes(5), &appended, Ok(()));
}

#[test]
fn the_deep_walk_sees_what_the_header_hides() {
    let deep = ProduceRules { deep: true, ..rules() };
    let hidden = changed(|h| (h.record_count, h.last_offset_delta) = (4, 3));
    check(hidden.clone(), &rules(), Ok(()));
    let fewer = "there are fewer records than the header says";
    check(hidden, &deep, Err(BatchError::InvalidRecord { index: 3, reason: fewer }));
    let hidden = changed(|h| (h.record_count, h.last_offset_delta) = (2, 1));
    let more = "bytes follow the last record";
    check(hidden, &deep, Err(BatchError::InvalidRecord { index: 2, reason: more }));
    let bomb = [Input { value: Some(vec![0; 1 << 20]), ..Input::plain("a", "") }];
    let limited = ProduceRules { max_decompressed_bytes: 1 << 20, ..deep };
    let expected = Err(BatchError::DecompressedTooLarge { limit: 1 << 20 });
    check(builder(Codec::Zstd, &bomb).build(), &limited, expected);
}

#[test]
fn error_texts() {
    let texts = [
        BatchError::OldFormat(1),
        BatchError::Corrupt { stored: 1, computed: 0xfeed },
        BatchError::TooLarge { size: 11, limit: 10 },
        BatchError::UnsupportedCompression { codec: Codec::Zstd, version: 6, needed: 7 },
        BatchError::InvalidRecord { index: 3, reason: "it ends within a varint" },
        BatchError::SeveralBatches { extra_bytes: 70 },
    ]
    .map(|error| error.to_string());
    insta::assert_snapshot!(texts.join("\n"), @r"
    message format 1 is not supported, only record batches (format 2)
    the batch is corrupt: checksum 0x00000001 in its header, 0x0000feed computed
    the batch has 11 bytes, more than max.message.bytes = 10
    zstd needs a Produce request of version 7 or later, not 6
    record 3 of the batch is invalid: it ends within a varint
    exactly one record batch is needed, but 70 bytes follow the first
    ");
}
