//! Offsets: committed, forgotten, expired.

use crate::testing::{Bench, GROUP, Who, known};
use crate::{Coordinator, GroupSettings, Record, Token};
use highwater_wire::ErrorCode;
use insta::assert_snapshot;
use std::time::Duration;

const HOUR: u64 = 3_600_000;
const WEEK: u64 = 7 * 24 * HOUR;

#[test]
fn an_offset_counts_once_it_is_in_the_log() {
    let mut bench = Bench::new();
    bench.hold = true;
    bench.commit(None, -1, "topic", 5);
    bench.commit(None, -1, "topic", 6);
    assert_snapshot!(bench.answers(), @"");
    assert_eq!(bench.offset("topic"), None);
    bench.fail_write(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    bench.hold = false;
    bench.run();
    assert_snapshot!(bench.answers(), @r"
    1: refused, COORDINATOR_NOT_AVAILABLE
    2: NONE
    ");
    assert_eq!((bench.offset("topic"), bench.reloaded().offset("topic")), (Some(6), Some(6)));
}

#[test]
fn a_long_text_is_refused_and_the_others_are_not() {
    let mut core = Coordinator::new(GroupSettings::default());
    let offset = |topic: &str, length: usize| crate::NewOffset {
        topic: topic.into(),
        partition: highwater_types::PartitionIndex(0),
        offset: highwater_types::Offset(1),
        leader_epoch: highwater_types::LeaderEpoch::NONE,
        metadata: "m".repeat(length).into(),
    };
    let commit = crate::Commit {
        generation: -1,
        member: "".into(),
        instance: None,
        retention: None,
        offsets: vec![offset("long", 4097), offset("short", 4096)],
    };
    core.commit(Token(1), &GROUP.into(), commit, crate::Now::default());
    let Some(crate::Action::Write(id, records)) = core.poll_action() else { panic!("a write") };
    assert_eq!(records.len(), 1);
    core.committed(id, crate::Now::default());
    assert!(matches!(core.poll_action(), Some(crate::Action::Note(_))));
    let codes = vec![ErrorCode::OFFSET_METADATA_TOO_LARGE, ErrorCode::NONE];
    assert_eq!(core.poll_action(), Some(crate::Action::Answer(Token(1), crate::Answer::Commit(Ok(codes)))));
}

#[test]
fn the_offsets_of_nobody_are_kept_for_a_week() {
    let mut bench = Bench::new();
    bench.commit(None, -1, "old", 5);
    bench.pass(WEEK - HOUR);
    bench.commit(None, -1, "young", 5);
    bench.pass(2 * HOUR);
    assert_eq!((bench.offset("old"), bench.offset("young")), (None, Some(5)));
    bench.pass(WEEK);
    assert_eq!(bench.core.group_count(), 0);
    assert_eq!(bench.reloaded().core.group_count(), 0);
}

#[test]
fn a_group_in_use_keeps_its_offsets_and_loses_them_a_week_after() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    bench.commit(Some(a), 1, "topic", 5);
    bench.commit(Some(a), 1, "not-wanted", 5);
    for _ in 0..WEEK / 9_000 + 600 {
        bench.pass(9_000);
        bench.heartbeat(a, 1);
        bench.heartbeat(b, 1);
    }
    assert_eq!((bench.offset("topic"), bench.offset("not-wanted")), (Some(5), None));
    bench.leave(a);
    bench.leave(b);
    bench.pass(WEEK - HOUR);
    // The time since when it is empty is kept.
    let mut bench = bench.reloaded();
    assert_eq!((bench.state().as_str(), bench.offset("topic")), ("Empty", Some(5)));
    bench.pass(2 * HOUR);
    assert_eq!((bench.state().as_str(), bench.offset("topic")), ("Dead", None));
    assert_eq!(bench.reloaded().core.group_count(), 0);
}

#[test]
fn what_an_administrator_sets_in_an_old_group_is_kept_as_long() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    bench.commit(Some(a), 1, "topic", 5);
    bench.leave(a);
    bench.leave(b);
    bench.pass(WEEK - HOUR);
    bench.commit(None, -1, "topic", 9);
    bench.pass(2 * HOUR);
    assert_eq!(bench.offset("topic"), Some(9));
}

#[test]
fn a_client_may_say_how_long_an_offset_is_kept() {
    let mut bench = Bench::new();
    bench.commit_for("topic", 5, Duration::from_secs(3600));
    bench.commit(None, -1, "other", 5);
    let mut bench = bench.reloaded();
    bench.pass(HOUR / 2);
    assert_eq!(bench.offset("topic"), Some(5));
    bench.pass(HOUR);
    assert_eq!((bench.offset("topic"), bench.offset("other")), (None, Some(5)));
}

#[test]
fn expiry_does_not_overtake_a_commit() {
    let mut bench = Bench::new();
    bench.commit(None, -1, "topic", 5);
    bench.pass(WEEK - HOUR);
    bench.hold = true;
    bench.commit(None, -1, "topic", 6);
    bench.pass(2 * HOUR);
    bench.hold = false;
    bench.run();
    assert_eq!(bench.offset("topic"), Some(6));
}

#[test]
fn offsets_of_topics_that_are_wanted_are_not_deleted() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    bench.commit(Some(a), 1, "topic", 5);
    bench.commit(Some(a), 1, "not-wanted", 5);
    bench.answers();
    bench.delete_offsets("topic");
    bench.delete_offsets("not-wanted");
    bench.delete_offsets("never-there");
    assert_eq!((bench.offset("topic"), bench.offset("not-wanted")), (Some(5), None));
    bench.leave(a);
    bench.leave(b);
    bench.delete_offsets("topic");
    assert_snapshot!(bench.answers(), @r"
    7: GROUP_SUBSCRIBED_TO_TOPIC
    8: NONE
    9: NONE
    10: NONE
    11: NONE
    12: NONE
    ");
    assert_eq!(bench.offset("topic"), None);
}

#[test]
fn who_is_no_member_may_name_itself() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    let lone = Who { instance: Some("i"), ..known("old#9") };
    bench.answers();
    bench.commit(Some(lone), -1, "topic", 5);
    bench.leave(a);
    bench.leave(b);
    bench.commit(Some(lone), -1, "topic", 6);
    assert_snapshot!(bench.answers(), @r"
    5: refused, UNKNOWN_MEMBER_ID
    6: NONE
    7: NONE
    8: NONE
    ");
    assert_eq!(bench.offset("topic"), Some(6));
}

#[test]
fn a_deleted_group_leaves_nothing() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    bench.commit(Some(a), 1, "topic", 5);
    bench.leave(a);
    bench.leave(b);
    bench.answers();
    bench.delete_group();
    bench.delete_group();
    bench.delete_offsets("topic");
    bench.commit(Some(known("a#1")), 1, "topic", 5);
    assert_snapshot!(bench.answers(), @r"
    8: NONE
    9: GROUP_ID_NOT_FOUND
    10: refused, GROUP_ID_NOT_FOUND
    11: refused, ILLEGAL_GENERATION
    ");
    assert_eq!((bench.core.group_count(), bench.reloaded().core.group_count()), (0, 0));
    assert!(matches!(bench.log.last(), Some(Record::Group(_, None))));
}

#[test]
fn offsets_of_topics_that_are_gone_are_forgotten() {
    let mut bench = Bench::new();
    bench.commit(None, -1, "gone", 5);
    bench.commit(None, -1, "here", 5);
    bench.core.forget_topics(&|topic| topic == "gone");
    bench.run();
    assert_eq!((bench.offset("gone"), bench.offset("here")), (None, Some(5)));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let (bench, ..) = Bench::with_two(&["range"]);
    let listed = |states: &[&'static str], types: &[&'static str]| {
        let words = |words: &[&'static str]| words.iter().map(|word| (*word).into()).collect::<Vec<_>>();
        bench.core.list(&words(states), &words(types)).len()
    };
    assert_eq!((listed(&[], &[]), listed(&["stable"], &["classic"])), (1, 1));
    assert_eq!((listed(&["Empty"], &[]), listed(&[], &["consumer"])), (0, 0));
    let group = bench.core.describe(&GROUP.into(), 6);
    assert_eq!((&*group.protocol_type, &*group.protocol_data, group.members.len()), ("consumer", "range", 2));
    assert_eq!(group.members[1].member_assignment, "two");
    let missing = bench.core.describe(&"other".into(), 6);
    assert_eq!((missing.error_code, &*missing.group_state), (ErrorCode::GROUP_ID_NOT_FOUND, "Dead"));
    assert_eq!(bench.core.describe(&"other".into(), 5).error_code, ErrorCode::NONE);
}
