//! Records of the offsets topic, as a coordinator reads them when it is made: two bytes with the key's length, the key,
//! the value.

use super::Target;
use bytes::Bytes;
use highwater_env::Rng;
use highwater_groups::{
    Coordinator, GroupMetadataValue, GroupSettings, MemberMetadata, Now, OffsetCommitKey, OffsetCommitValue,
    Record,
};
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp};
use rand::RngExt;

/// One record.
pub struct GroupRecords;

/// A consumer's subscription to two topics.
const SUBSCRIPTION: &[u8] = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";

impl Target for GroupRecords {
    fn name(&self) -> &'static str {
        "group-records"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        let record = if rng.random() { offset(rng) } else { group(rng) };
        let (key, value) = record.encode();
        let length = u16::try_from(key.len()).expect("keys are short here").to_be_bytes();
        [&length, &key[..], &value.unwrap_or_default()].concat()
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let Some((length, rest)) = input.split_first_chunk() else { return Ok(()) };
        let Some((key, value)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
            return Ok(());
        };
        let value = Some(Bytes::copy_from_slice(value)).filter(|value| !value.is_empty());
        let Ok(Some(record)) = Record::decode(Some(Bytes::copy_from_slice(key)), value) else {
            return Ok(());
        };
        let (key, value) = record.encode();
        match Record::decode(Some(key), value) {
            Ok(Some(again)) if again.group() == record.group() => {}
            other => return Err(format!("what was read is written as something else: {other:?}")),
        }
        let mut coordinator = Coordinator::new(GroupSettings::default());
        let id = record.group().clone();
        coordinator.replay(record);
        coordinator.loaded(Now::default());
        coordinator.describe(&id, 6);
        coordinator
            .tick(&(), Now { instant: highwater_types::Instant(u64::MAX / 2), wall: Timestamp(i64::MAX) });
        while coordinator.poll_action().is_some() {}
        Ok(())
    }
}

fn offset(rng: &mut Rng) -> Record {
    let key =
        OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: PartitionIndex(rng.random()) };
    let value = OffsetCommitValue {
        offset: Offset(rng.random()),
        leader_epoch: LeaderEpoch(rng.random()),
        metadata: "m".into(),
        commit_timestamp: Timestamp(rng.random()),
        expire_timestamp: Timestamp(if rng.random() { -1 } else { rng.random() }),
        ..OffsetCommitValue::default()
    };
    Record::Offset(key, Some(value).filter(|_| rng.random_range(0..8) != 0))
}

fn group(rng: &mut Rng) -> Record {
    let member = |rng: &mut Rng| MemberMetadata {
        member_id: format!("m{}", rng.random_range(0..3)).into(),
        group_instance_id: Some("i".into()).filter(|_| rng.random()),
        client_id: "c".into(),
        client_host: "h".into(),
        rebalance_timeout: rng.random(),
        session_timeout: rng.random(),
        subscription: Bytes::from_static(SUBSCRIPTION),
        assignment: Bytes::from_static(b"a"),
    };
    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: rng.random(),
        protocol: Some("range".into()),
        leader: Some("m0".into()).filter(|_| rng.random()),
        current_state_timestamp: Timestamp(rng.random()),
        members: (0..rng.random_range(0..4)).map(|_| member(rng)).collect(),
    };
    Record::Group("g".into(), Some(value).filter(|_| rng.random_range(0..8) != 0))
}
