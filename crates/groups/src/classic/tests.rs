//! Groups from the outside: requests in, answers and records out.

use crate::testing::{Bench, Who, known, new};
use highwater_wire::ErrorCode;
use insta::assert_snapshot;

#[test]
fn two_members_share_a_group() {
    let mut bench = Bench::new();
    bench.join(new("a"));
    // From version 4 on the id comes first.
    assert_snapshot!(bench.answers(), @"1: MEMBER_ID_REQUIRED a#1");
    bench.join(known("a#1"));
    bench.pass(1_000);
    bench.join(Who { version: 3, ..new("b") });
    // An empty group waits until nobody came for a while.
    bench.pass(2_999);
    assert_snapshot!(bench.answers(), @"");
    bench.pass(1);
    assert_snapshot!(bench.answers(), @r"
    2: a#1 joined generation 1 by range, led by a#1 of [a#1 b#3]
    3: b#3 joined generation 1 by range, led by a#1 of []
    ");
    bench.sync(known("b#3"), 1, &[]);
    bench.commit(Some(known("b#3")), 1, "topic", 3);
    assert_snapshot!(bench.answers(), @"5: refused, REBALANCE_IN_PROGRESS");
    bench.hold = true;
    bench.sync(known("a#1"), 1, &[("a#1", "one"), ("b#3", "two")]);
    // Nobody has anything before it is committed.
    assert_snapshot!(bench.answers(), @"");
    bench.hold = false;
    bench.run();
    assert_snapshot!(bench.answers(), @r#"
    6: has "one"
    4: has "two"
    "#);
    bench.heartbeat(known("b#3"), 1);
    bench.commit(Some(known("b#3")), 1, "topic", 5);
    assert_snapshot!(bench.answers(), @r"
    7: NONE
    8: NONE
    ");
    assert_eq!(bench.offset("topic"), Some(5));
}

#[test]
fn what_is_stale_or_foreign_changes_nothing() {
    let (mut bench, a, _) = Bench::with_two(&["range"]);
    bench.commit(Some(a), 0, "topic", 9);
    bench.commit(Some(a), 2, "topic", 9);
    bench.commit(Some(known("x#9")), 1, "topic", 9);
    bench.commit(None, -1, "topic", 9);
    bench.commit(Some(Who { instance: Some("i"), ..a }), 1, "topic", 9);
    bench.heartbeat(a, 2);
    bench.heartbeat(known("x#9"), 1);
    bench.sync(a, 0, &[]);
    bench.sync(known("x#9"), 1, &[]);
    bench.leave(known("x#9"));
    bench.join(known("x#9"));
    bench.join(Who { protocols: &["other"], ..new("c") });
    bench.join(Who { protocols: &[], ..new("c") });
    bench.delete_group();
    assert_snapshot!(bench.answers(), @r"
    5: refused, ILLEGAL_GENERATION
    6: refused, ILLEGAL_GENERATION
    7: refused, UNKNOWN_MEMBER_ID
    8: refused, UNKNOWN_MEMBER_ID
    9: refused, UNKNOWN_MEMBER_ID
    10: ILLEGAL_GENERATION
    11: UNKNOWN_MEMBER_ID
    12: ILLEGAL_GENERATION
    13: UNKNOWN_MEMBER_ID
    14: UNKNOWN_MEMBER_ID
    15: UNKNOWN_MEMBER_ID x#9
    16: INCONSISTENT_GROUP_PROTOCOL
    17: INCONSISTENT_GROUP_PROTOCOL
    18: NON_EMPTY_GROUP
    ");
    assert_eq!((bench.state().as_str(), bench.offset("topic")), ("Stable", None));
}

#[test]
fn a_member_that_is_silent_is_replaced() {
    let (mut bench, a, _) = Bench::with_two(&["range"]);
    for _ in 0..2 {
        bench.pass(5_000);
        bench.heartbeat(a, 1);
    }
    // The other's session is over.
    bench.pass(1);
    bench.heartbeat(a, 1);
    bench.join(a);
    assert_snapshot!(bench.answers(), @r"
    5: NONE
    6: REBALANCE_IN_PROGRESS
    7: REBALANCE_IN_PROGRESS
    8: a#1 joined generation 2 by range, led by a#1 of [a#1]
    ");
}

#[test]
fn members_that_leave_leave_the_others_to_go_on() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    bench.leave(a);
    bench.heartbeat(b, 1);
    bench.join(b);
    bench.sync(b, 2, &[("b#2", "all")]);
    bench.leave(b);
    bench.leave(b);
    assert_snapshot!(bench.answers(), @r#"
    5: NONE
    6: REBALANCE_IN_PROGRESS
    7: b#2 joined generation 2 by range, led by b#2 of [b#2]
    8: has "all"
    9: NONE
    10: UNKNOWN_MEMBER_ID
    "#);
    assert_eq!(bench.state(), "Empty");
    assert_eq!(bench.reloaded().state(), "Empty");
}

#[test]
fn members_that_do_not_come_back_in_time_are_left_behind() {
    let (mut bench, a, _) = Bench::with_two(&["range"]);
    bench.join(a);
    // The session of the other ends before the time for rejoining does.
    bench.pass(10_000);
    assert_snapshot!(bench.answers(), @"5: a#1 joined generation 2 by range, led by a#1 of [a#1]");
}

#[test]
fn members_that_do_not_fetch_their_assignment_are_left_behind() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    bench.join(a);
    bench.join(b);
    bench.sync(a, 2, &[("a#1", "one"), ("b#2", "two")]);
    for _ in 0..12 {
        bench.pass(5_000);
        bench.heartbeat(b, 2);
        bench.heartbeat(a, 2);
    }
    let answers = bench.answers();
    let last = answers.lines().rev().take(2).collect::<Vec<_>>().join("\n");
    assert_snapshot!(last, @r"
    31: REBALANCE_IN_PROGRESS
    30: UNKNOWN_MEMBER_ID
    ");
}

#[test]
fn the_protocol_is_one_that_all_know_and_most_prefer() {
    let mut bench = Bench::new();
    for (client, protocols) in [
        ("a", &["sticky", "range"][..]),
        ("b", &["range", "sticky"]),
        ("c", &["cooperative", "range", "sticky"]),
    ] {
        bench.join(Who { version: 3, protocols, ..new(client) });
    }
    bench.pass(6_000);
    assert_snapshot!(bench.answers(), @r"
    1: a#1 joined generation 1 by range, led by a#1 of [a#1 b#2 c#3]
    2: b#2 joined generation 1 by range, led by a#1 of []
    3: c#3 joined generation 1 by range, led by a#1 of []
    ");
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    bench.join(b);
    bench.join(a);
    // Both are waited for in the next generation, because the leader came again.
    bench.join(b);
    bench.join(b);
    bench.sync(b, 2, &[]);
    bench.sync(a, 2, &[("a#1", "one"), ("b#2", "two")]);
    bench.sync(b, 2, &[]);
    assert_snapshot!(bench.answers(), @r#"
    5: b#2 joined generation 1 by range, led by a#1 of []
    6: a#1 joined generation 2 by range, led by a#1 of [a#1 b#2]
    7: b#2 joined generation 2 by range, led by a#1 of []
    8: b#2 joined generation 2 by range, led by a#1 of []
    10: has "one"
    9: has "two"
    11: has "two"
    "#);
}

#[test]
fn an_assignment_that_is_not_written_is_made_anew() {
    let (mut bench, a, b) = Bench::with_two(&["range"]);
    bench.join(a);
    bench.join(b);
    bench.hold = true;
    bench.sync(b, 2, &[]);
    bench.sync(a, 2, &[("a#1", "one"), ("b#2", "two")]);
    bench.fail_write(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_snapshot!(bench.answers(), @r"
    5: a#1 joined generation 2 by range, led by a#1 of [a#1 b#2]
    6: b#2 joined generation 2 by range, led by a#1 of []
    8: COORDINATOR_NOT_AVAILABLE
    7: COORDINATOR_NOT_AVAILABLE
    ");
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn a_static_member_keeps_its_place_over_a_restart() {
    let mut bench = Bench::new();
    let named = |who: Who| Who { instance: Some("i"), ..who };
    bench.join(named(new("a")));
    bench.join(Who { version: 3, ..new("b") });
    bench.pass(6_000);
    bench.sync(known("b#2"), 1, &[]);
    bench.sync(named(known("i#1")), 1, &[("i#1", "one"), ("b#2", "two")]);
    bench.answers();
    bench.join(named(new("a")));
    bench.sync(named(known("i#3")), 1, &[]);
    bench.heartbeat(known("b#2"), 1);
    // The one before is fenced.
    bench.heartbeat(named(known("i#1")), 1);
    bench.commit(Some(named(known("i#1"))), 1, "topic", 1);
    bench.sync(named(known("i#1")), 1, &[]);
    bench.join(named(known("i#1")));
    bench.leave(named(known("i#1")));
    bench.heartbeat(known("i#1"), 1);
    assert_snapshot!(bench.answers(), @r#"
    5: i#3 joined generation 1 by range, led by i#3 of [b#2 i#3], keeps the assignment
    6: has "one"
    7: NONE
    8: FENCED_INSTANCE_ID
    9: refused, FENCED_INSTANCE_ID
    10: FENCED_INSTANCE_ID
    11: FENCED_INSTANCE_ID i#1
    12: FENCED_INSTANCE_ID
    13: UNKNOWN_MEMBER_ID
    "#);
    // Its new id is in the log.
    let mut next = bench.reloaded();
    next.heartbeat(named(known("i#3")), 1);
    next.heartbeat(named(known("i#1")), 1);
    assert_snapshot!(next.answers(), @r"
    14: NONE
    15: FENCED_INSTANCE_ID
    ");
}

#[test]
fn a_static_member_whose_new_id_is_not_written_keeps_the_old_one() {
    let mut bench = Bench::new();
    let named = |who: Who| Who { instance: Some("i"), ..who };
    bench.join(named(new("a")));
    bench.pass(6_000);
    bench.sync(named(known("i#1")), 1, &[("i#1", "one")]);
    bench.answers();
    bench.hold = true;
    bench.join(named(new("a")));
    bench.fail_write(ErrorCode::NOT_COORDINATOR);
    bench.heartbeat(named(known("i#1")), 1);
    assert_snapshot!(bench.answers(), @r"
    3: NOT_COORDINATOR i#2
    4: NONE
    ");
}

#[test]
fn a_static_member_whose_new_id_is_not_written_is_missed_all_the_same() {
    let mut bench = Bench::new();
    let named = |who: Who| Who { instance: Some("i"), ..who };
    bench.join(named(new("a")));
    bench.pass(6_000);
    bench.sync(named(known("i#1")), 1, &[("i#1", "one")]);
    bench.hold = true;
    bench.join(named(new("a")));
    bench.fail_write(ErrorCode::NOT_COORDINATOR);
    bench.hold = false;
    assert_eq!(bench.state(), "Stable");
    bench.pass(60_000);
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn an_administrator_removes_a_static_member_by_its_name() {
    let mut bench = Bench::new();
    let named = |who: Who| Who { instance: Some("i"), ..who };
    bench.join(named(new("a")));
    bench.pass(6_000);
    bench.answers();
    bench.leave(Who { instance: Some("other"), ..new("admin") });
    bench.leave(named(new("admin")));
    assert_snapshot!(bench.answers(), @r"
    2: UNKNOWN_MEMBER_ID
    3: NONE
    ");
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn members_find_their_group_again_at_another_coordinator() {
    let (bench, a, b) = Bench::with_two(&["range"]);
    let mut next = bench.reloaded();
    next.heartbeat(a, 1);
    next.sync(b, 1, &[]);
    next.commit(Some(b), 1, "topic", 7);
    assert_snapshot!(next.answers(), @r#"
    5: NONE
    6: has "two"
    7: NONE
    "#);
    // Sessions began when it was loaded.
    next.pass(10_000);
    assert_eq!(next.state(), "Empty");
}

#[test]
fn a_group_that_nobody_came_back_to_is_forgotten() {
    let mut bench = Bench::new();
    bench.join(new("a"));
    assert_eq!(bench.core.group_count(), 1);
    bench.pass(10_000);
    assert_eq!(bench.core.group_count(), 0);
    assert!(bench.log.is_empty());
}
