//! A test per clause, and per licence that must not be taken for loss.

use super::super::Regime;
use super::super::kit::{LOG, Tale, alter, delete_records, disk_with};
use super::NothingLost;
use crate::disk::SimDisk;
use crate::history::{Op, Outcome};
use highwater_env::Event;
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp};

#[test]
fn what_stands_where_it_was_acknowledged_passes() {
    let mut tale = Tale::of_three();
    tale.read(1, 0, "v-0").sent("open", Outcome::Unknown("timeout".into()));
    tale.sent("no", Outcome::Failed("too large".into())).acked_by(7, "one", 1, false);
    tale.passes(NothingLost);
}

#[test]
fn an_acknowledged_record_that_is_gone_is_found() {
    let mut tale = Tale::of_three();
    tale.ends(2);
    let told = "client 3 was told at 7.000 s that orders-0 offset 2 holds \"v-2\"; \
                the final read has offset 2 = nothing, the log holds 0 to 2";
    tale.finds(NothingLost, "H1", told);
    Tale::of_three().without(1).finds(NothingLost, "H1", "offset 1 = nothing");
}

#[test]
fn a_record_that_was_read_and_is_gone_is_found() {
    let mut tale = Tale::new();
    tale.sent("open", Outcome::Unknown("timeout".into())).read(1, 0, "open");
    tale.finds(NothingLost, "H1", "client 3 read \"open\"");
}

#[test]
fn a_record_without_an_offset_must_be_somewhere() {
    let nowhere = Outcome::Ok((PartitionIndex(0), Offset(-1), Timestamp(-1)));
    let mut tale = Tale::of_three();
    tale.sent("again", nowhere);
    tale.finds(NothingLost, "H1", "the final read has it nowhere");
    tale.stands(3, "again").passes(NothingLost);
    tale.without(3).starts(1).passes(NothingLost);
}

#[test]
fn a_partition_that_is_gone_is_found_unless_the_topic_was_deleted() {
    let mut tale = Tale::of_three();
    tale.state.partitions.clear();
    tale.finds(NothingLost, "H1", "nobody deleted the topic");
    tale.op(Op::DeleteTopic { topic: "orders".into(), answer: Outcome::Failed("no".into()) });
    tale.finds(NothingLost, "H1", "nobody deleted the topic");
    tale.op(Op::DeleteTopic { topic: "orders".into(), answer: Outcome::Unknown("timeout".into()) });
    tale.passes(NothingLost);
}

#[test]
fn a_partition_that_cannot_be_read_is_loss_that_was_reported() {
    let mut tale = Tale::of_three();
    tale.state.partitions.clear();
    tale.state.unreadable.insert(("orders".into(), PartitionIndex(0)), "offline".into());
    tale.finds(NothingLost, "H1", "the final read of the partition failed: offline");
    tale.lie().passes(NothingLost);
    assert!(tale.check(NothingLost, Regime::WithinBudget).is_err());
}

#[test]
fn deleted_records_may_go() {
    for answer in [Outcome::Ok(Offset(2)), Outcome::Unknown("timeout".into()), Outcome::Open] {
        let mut tale = Tale::of_three();
        tale.op(alter("cleanup.policy", "compact", Outcome::Ok(()))).starts(2);
        tale.partition().config.insert("cleanup.policy".into(), "compact".into());
        tale.op(delete_records(2, answer)).passes(NothingLost);
    }
}

#[test]
fn a_start_that_nothing_allows_is_found() {
    let create = |policy: &str| Op::CreateTopic {
        topic: "orders".into(),
        partitions: 1,
        configs: vec![("cleanup.policy".into(), policy.into())],
        answer: Outcome::Ok(LOG.topic),
    };
    let mut tale = Tale::of_three();
    tale.op(create("compact")).log_start(2).starts(2);
    tale.finds(NothingLost, "H1", "the log starts at 2 now, and nothing allowed its removal");
    tale.op(delete_records(2, Outcome::Failed("no".into())));
    tale.finds(NothingLost, "H1", "nothing allowed its removal");
    tale.op(delete_records(1, Outcome::Ok(Offset(1))));
    tale.finds(NothingLost, "H1", "offset 1 holds");
}

#[test]
fn a_replica_without_what_is_committed_is_found() {
    let tell = |holders: &[usize]| {
        let mut tale = Tale::new();
        let mut checksum = 0;
        for node in 0..2 {
            let (disk, sum) = disk_with(0, 2);
            checksum = sum;
            tale.broker(node, if holders.contains(&node) { disk } else { SimDisk::new(1) });
        }
        tale.tell(Event::PartitionState {
            index: 1,
            log: LOG,
            leader: Some(BrokerId(1)),
            epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: vec![BrokerId(1), BrokerId(2)],
            isr: vec![BrokerId(1), BrokerId(2)],
            elr: Vec::new(),
        });
        tale.tell(Event::Appended {
            log: LOG,
            base: Offset(0),
            last: Offset(2),
            epoch: LeaderEpoch(0),
            checksum,
            producer: None,
        });
        tale.tell(Event::HighWatermark { log: LOG, end: Offset(3) });
        tale
    };
    tell(&[0, 1]).passes(NothingLost);
    tell(&[0]).finds(NothingLost, "H1", "replica 2 of orders-0 does not hold offsets 0 to 2");
    tell(&[0]).tell_from(1, Event::LogStart { log: LOG, start: Offset(3) }).passes(NothingLost);
    tell(&[0]).topic_deleted().passes(NothingLost);
}

#[test]
fn reported_loss_on_a_lying_disk_passes_and_silent_loss_does_not() {
    let mut tale = Tale::of_three();
    tale.lie().without(1);
    tale.finds(NothingLost, "H1", "offset 1 = nothing");
    tale.tell(Event::Damaged { log: LOG, from: Offset(1), to: Offset(2) }).passes(NothingLost);
    assert!(tale.check(NothingLost, Regime::WithinBudget).is_err());
}
