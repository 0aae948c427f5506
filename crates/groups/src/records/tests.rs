//! The bytes of records, and hostile ones.

use super::*;
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp};
use insta::assert_snapshot;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(record: &Record) -> String {
    let (key, value) = record.encode();
    let value = value.map_or_else(|| "none".to_owned(), |value| hex(&value));
    format!("{}\n{value}", hex(&key))
}

fn offset(expire: i64) -> Record {
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: PartitionIndex(3) };
    let value = OffsetCommitValue {
        offset: Offset(5),
        leader_epoch: LeaderEpoch(2),
        metadata: "m".into(),
        commit_timestamp: Timestamp(7),
        expire_timestamp: Timestamp(expire),
        ..OffsetCommitValue::default()
    };
    Record::Offset(key, Some(value))
}

fn group() -> Record {
    let member = MemberMetadata {
        member_id: "m1".into(),
        group_instance_id: Some("i".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout: 300,
        session_timeout: 10,
        subscription: Bytes::from_static(b"sub"),
        assignment: Bytes::from_static(b"ass"),
    };
    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 4,
        protocol: Some("range".into()),
        leader: None,
        current_state_timestamp: Timestamp(9),
        members: vec![member],
    };
    Record::Group("g".into(), Some(value))
}

#[test]
fn an_offset_is_written_in_version_3() {
    assert_snapshot!(shown(&offset(-1)), @r"
    000100016700017400000003
    000300000000000000050000000200016d0000000000000007
    ");
}

#[test]
fn an_offset_with_an_expiry_of_its_own_is_written_in_version_1() {
    assert_snapshot!(shown(&offset(8)), @r"
    000100016700017400000003
    0001000000000000000500016d00000000000000070000000000000008
    ");
}

#[test]
fn a_group_is_written_in_version_3() {
    assert_snapshot!(shown(&group()), @r"
    0002000167
    00030008636f6e73756d657200000004000572616e6765ffff00000000000000090000000100026d3100016900016300022f680000012c0000000a0000000373756200000003617373
    ");
}

#[test]
fn what_is_gone_has_a_key_alone() {
    assert_snapshot!(shown(&Record::Group("g".into(), None)), @r"
    0002000167
    none
    ");
}

#[test]
fn records_are_read_as_they_were_written() {
    let mut plain = offset(-1);
    for record in [offset(-1), group(), Record::Group("g".into(), None)] {
        let (key, value) = record.encode();
        assert_eq!(Record::decode(Some(key), value), Ok(Some(record)));
    }
    // Version 1 has no leader epoch.
    let (key, value) = offset(8).encode();
    let read = Record::decode(Some(key), value).expect("it is whole");
    if let Record::Offset(_, Some(value)) = &mut plain {
        (value.leader_epoch, value.expire_timestamp) = (LeaderEpoch::NONE, Timestamp(8));
    }
    assert_eq!(read, Some(plain));
}

#[test]
fn a_group_of_the_first_version_has_one_timeout_for_both() {
    let value = b"\0\0\0\x01t\0\0\0\x01\xff\xff\xff\xff\0\0\0\x01\0\x01m\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0";
    let read = Record::decode(Some(Bytes::from_static(b"\0\x02\0\x01g")), Some(Bytes::from_static(value)));
    let Ok(Some(Record::Group(_, Some(value)))) = read else { panic!("{read:?}") };
    assert_eq!((value.members[0].rebalance_timeout, value.members[0].session_timeout), (10, 10));
}

#[test]
fn old_keys_are_read_and_unknown_ones_passed_over() {
    let (key, value) = offset(-1).encode();
    let mut old = key.to_vec();
    old[1] = 0;
    assert_eq!(Record::decode(Some(old.into()), value), Ok(Some(offset(-1))));
    assert_eq!(Record::decode(Some(Bytes::from_static(b"\0\x63anything")), None), Ok(None));
    assert_eq!(Record::decode(None, None), Err(RecordError::NoKey));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(
        kind in 0..5u8,
        key in proptest::collection::vec(any::<u8>(), 0..40),
        version in 0..6u8,
        value in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let key = Bytes::from([&[0, kind], key.as_slice()].concat());
        let value = Bytes::from([&[0, version], value.as_slice()].concat());
        if let Ok(Some(record)) = Record::decode(Some(key), Some(value)) {
            let (key, value) = record.encode();
            let read = Record::decode(Some(key), value).expect("what is written can be read").expect("it is known");
            prop_assert_eq!(read.group(), record.group());
        }
    }
}
