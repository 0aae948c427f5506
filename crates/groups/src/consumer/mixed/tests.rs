//! Groups that move from one protocol to the other, step by step.

use super::bench::{Bench, Member, Next, SESSION_MS, settings};
use crate::consumer::tests::World;
use crate::records::versioned;
use crate::testing::GROUP;
use crate::{Answer, MemberMetadata, MigrationPolicy, Record};
use bytes::Bytes;
use highwater_assign::protocol::{Assignment, Subscription, decode, listed};
use highwater_types::PartitionIndex;
use highwater_wire::ErrorCode;
use highwater_wire::messages::ConsumerGroupHeartbeatResponse;

fn bench() -> Bench {
    Bench::new(World::default().with("t", 4), MigrationPolicy::Bidirectional)
}

/// Acts until all have come to rest, in turns.
fn rest(bench: &mut Bench, members: &mut [&mut Member]) {
    for _ in 0..12 {
        for member in &mut *members {
            member.act(bench);
        }
        bench.pass(1_000);
    }
}

/// A stable classic group of two.
fn two(eager: bool) -> (Bench, Member, Member) {
    let mut bench = bench();
    let mut a = Member { eager, ..Member::classic("a", &["t"]) };
    let mut b = Member { eager, ..Member::classic("b", &["t"]) };
    rest(&mut bench, &mut [&mut a, &mut b]);
    assert_eq!(bench.state(), "Classic Stable");
    assert_eq!((a.numbers(), b.numbers()), (vec![0, 2], vec![1, 3]));
    (bench, a, b)
}

/// A member of the new protocol asks to join; what it is answered.
fn knock(bench: &mut Bench, member: &Member) -> ConsumerGroupHeartbeatResponse {
    let token = bench.join_anew(member);
    match bench.take(token) {
        Some(Answer::ConsumerHeartbeat(response)) => response,
        other => panic!("no answer to a heartbeat: {other:?}"),
    }
}

#[test]
fn a_classic_group_moves_with_what_its_members_have() {
    let (mut bench, mut a, mut b) = two(false);
    let commit = bench.commit(&a, 7);
    assert_eq!(bench.take(commit), Some(Answer::Commit(Ok(vec![ErrorCode::NONE]))));
    let (before, generation) = (bench.log.len(), a.epoch);
    let mut c = Member::consumer("c", &["t"]);
    c.act(&mut bench);
    assert_eq!((bench.state().as_str(), c.numbers()), ("Consumer Reconciling", vec![]));
    let kept = format!("a kind 0 epoch {generation} [0, 2]; b kind 0 epoch {generation} [1, 3]");
    assert_eq!(bench.described(), format!("{kept}; c kind 1 epoch {} []", generation + 1));
    assert!(matches!(bench.log[before], Record::Group(_, None)));
    assert_eq!(bench.core.offset(GROUP, "t", PartitionIndex(0)).map(|at| at.offset.0), Some(7));
    // Each is told to join again, gives up, and joins once more.
    a.act(&mut bench);
    assert_eq!(a.next, Next::Join);
    a.act(&mut bench);
    assert_eq!((a.epoch, a.numbers()), (generation, vec![0, 2]));
    c.act(&mut bench);
    assert_eq!(c.numbers(), []);
    rest(&mut bench, &mut [&mut a, &mut b, &mut c]);
    assert_eq!(bench.state(), "Consumer Stable");
    assert_eq!((a.numbers(), b.numbers(), c.numbers()), (vec![0], vec![1, 3], vec![2]));
}

#[test]
fn eager_members_give_up_all_at_once() {
    let (mut bench, mut a, mut b) = two(true);
    let mut c = Member::consumer("c", &["t"]);
    rest(&mut bench, &mut [&mut c, &mut a, &mut b]);
    assert_eq!(bench.state(), "Consumer Stable");
    assert_eq!((a.numbers(), b.numbers(), c.numbers()), (vec![0], vec![1, 3], vec![2]));
    // More of them may come.
    let mut d = Member { eager: true, ..Member::classic("d", &["t"]) };
    rest(&mut bench, &mut [&mut d, &mut c, &mut a, &mut b]);
    assert_eq!((bench.state().as_str(), d.numbers().len()), ("Consumer Stable", 1));
    // Those that know none of the others' protocols may not.
    let mut e = Member::classic("e", &["t"]);
    let metadata = e.metadata();
    let token = bench.join(&e, "consumer", &metadata);
    assert_eq!(code(bench.take(token)), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    e.eager = true;
    let token = bench.join(&e, "connect", &metadata);
    assert_eq!(code(bench.take(token)), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let token = bench.join(&e, "consumer", &Bytes::from_static(b"\0\x01\0\0"));
    assert_eq!(code(bench.take(token)), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

fn code(answer: Option<Answer>) -> ErrorCode {
    match answer {
        Some(Answer::Join(response)) => response.error_code,
        Some(Answer::Heartbeat(code)) => code,
        other => panic!("no answer to a member of the classic protocol: {other:?}"),
    }
}

#[test]
fn without_members_of_the_new_protocol_the_group_is_a_classic_one_again() {
    let (mut bench, mut a, mut b) = two(false);
    let mut c = Member::consumer("c", &["t"]);
    rest(&mut bench, &mut [&mut c, &mut a, &mut b]);
    let epoch = c.epoch;
    bench.leave(&mut c);
    assert_eq!(bench.state(), "Classic PreparingRebalance");
    // Whoever coordinates next goes on with the rebalance, and accepts what members committed before it.
    bench.reload();
    assert_eq!(bench.state(), "Classic PreparingRebalance");
    let commit = bench.commit(&a, 3);
    assert_eq!(bench.take(commit), Some(Answer::Commit(Ok(vec![ErrorCode::NONE]))));
    rest(&mut bench, &mut [&mut a, &mut b]);
    assert_eq!((bench.state().as_str(), a.epoch > epoch), ("Classic Stable", true));
    let mut all = [a.numbers(), b.numbers()].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    assert!(!bench.replayed().groups[GROUP].has_consumers());
}

#[test]
fn a_silent_member_of_the_new_protocol_makes_way() {
    let (mut bench, mut a, mut b) = two(false);
    let mut c = Member::consumer("c", &["t"]);
    c.act(&mut bench);
    rest(&mut bench, &mut [&mut a, &mut b]);
    rest(&mut bench, &mut [&mut a, &mut b]);
    assert_eq!(bench.state(), "Classic Stable");
    let mut all = [a.numbers(), b.numbers()].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
}

#[test]
fn what_the_policy_forbids_is_refused_and_changes_nothing() {
    let (mut bench, ..) = two(false);
    let (records, described) = (bench.log.len(), bench.core.describe(&GROUP.into(), 6));
    let check = |bench: &mut Bench, message: &str| {
        let response = knock(bench, &Member::consumer("c", &["t"]));
        assert_eq!(response.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
        let expected = format!("Cannot upgrade classic group group to consumer group because {message}.");
        assert_eq!(response.error_message.as_deref(), Some(expected.as_str()));
    };
    for policy in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        bench.settings = settings(policy);
        bench.reload();
        check(&mut bench, "online upgrade is disabled");
    }
    bench.settings = settings(MigrationPolicy::Upgrade);
    bench.settings.consumer.max_size = 1;
    bench.reload();
    check(&mut bench, "the group size exceeds the consumer group maximum size");
    assert_eq!((bench.log.len(), bench.core.describe(&GROUP.into(), 6)), (records, described));
    // It is full when its members have moved: they do not.
    bench.settings.consumer.max_size = 2;
    bench.reload();
    let response = knock(&mut bench, &Member::consumer("c", &["t"]));
    assert_eq!(response.error_code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!((bench.log.len(), bench.state().as_str()), (records, "Classic Stable"));
}

#[test]
fn what_cannot_be_read_or_would_be_lost_does_not_move() {
    let check = |change: &dyn Fn(&mut MemberMetadata), kind: &str, message: &str| {
        let (mut bench, ..) = two(false);
        let value = bench.log.iter_mut().rev().find_map(|record| match record {
            Record::Group(_, Some(value)) => Some(value),
            _ => None,
        });
        let value = value.expect("the group is in the log");
        value.protocol_type = kind.into();
        change(value.members.last_mut().expect("there are two"));
        bench.reload();
        let response = knock(&mut bench, &Member::consumer("c", &["t"]));
        assert_eq!(response.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
        let text = response.error_message.unwrap_or_default();
        assert!(text.ends_with(message), "{text}");
        assert_eq!(bench.state(), "Classic Stable");
    };
    let malformed = "because the embedded consumer protocol is malformed.";
    check(&|_| {}, "connect", "because the group does not use the consumer embedded protocol.");
    check(&|member| member.subscription = Bytes::from_static(b"\0\x01\0"), "consumer", malformed);
    check(&|member| member.assignment = Bytes::from_static(b"\0\x01\0\0\0\x07"), "consumer", malformed);
    let with_data = Assignment { partitions: Vec::new(), user_data: Some(Bytes::from_static(b"x")) };
    let with_data = versioned(0, &with_data);
    let custom = "before re-attempting the upgrade.";
    check(&|member| member.assignment = with_data.clone(), "consumer", custom);
}

#[test]
fn without_downgrades_members_of_the_classic_protocol_stay_where_they_are() {
    let mut bench = Bench::new(World::default().with("t", 4), MigrationPolicy::Upgrade);
    let (mut a, mut c) = (Member::classic("a", &["t"]), Member::consumer("c", &["t"]));
    rest(&mut bench, &mut [&mut a]);
    rest(&mut bench, &mut [&mut a, &mut c]);
    bench.leave(&mut c);
    rest(&mut bench, &mut [&mut a]);
    assert_eq!((bench.state().as_str(), a.numbers()), ("Consumer Stable", vec![0, 1, 2, 3]));
    // It learns of new partitions from its heartbeats.
    bench.world = bench.world.clone().with("t", 5);
    rest(&mut bench, &mut [&mut a]);
    assert_eq!((bench.state().as_str(), a.numbers()), ("Consumer Stable", vec![0, 1, 2, 3, 4]));
    bench.leave(&mut a);
    rest(&mut bench, &mut [&mut a]);
    assert_eq!(bench.state(), "Classic Stable");
}

#[test]
fn a_move_that_is_not_written_did_not_happen() {
    let (mut bench, mut a, mut b) = two(false);
    let mut c = Member::consumer("c", &["t"]);
    bench.hold = true;
    c.act(&mut bench);
    assert_eq!(bench.state(), "Consumer Reconciling");
    // What is asked meanwhile is answered once it is known what became of the move.
    let token = bench.heartbeat(&a);
    assert_eq!(bench.take(token), None);
    bench.fail_write();
    assert_eq!((bench.reloads, bench.state().as_str()), (1, "Classic Stable"));
    bench.hold = false;
    let token = bench.heartbeat(&a);
    assert_eq!(code(bench.take(token)), ErrorCode::NONE);
    c.waits = None;
    rest(&mut bench, &mut [&mut a, &mut b, &mut c]);
    assert_eq!(bench.state(), "Consumer Stable");
    // The same, the other way round.
    bench.hold = true;
    bench.leave(&mut c);
    bench.fail_write();
    assert_eq!((bench.reloads, bench.state().as_str()), (2, "Consumer Stable"));
}

#[test]
fn members_in_a_rebalance_keep_what_they_say_they_have() {
    let (mut bench, mut a, mut b) = two(false);
    // A third makes them join again. Both have their say, and nobody brings an assignment before a fourth comes.
    let mut c = Member::classic("c", &["t"]);
    c.act(&mut bench);
    c.act(&mut bench);
    for member in [&mut a, &mut b] {
        member.act(&mut bench);
        member.act(&mut bench);
    }
    c.hear(&mut bench);
    a.hear(&mut bench);
    b.hear(&mut bench);
    assert_eq!(
        (a.next, b.next, bench.state().as_str()),
        (Next::Sync, Next::Sync, "Classic CompletingRebalance")
    );
    let mut d = Member::classic("d", &["t"]);
    d.act(&mut bench);
    d.act(&mut bench);
    assert_eq!(bench.state(), "Classic PreparingRebalance");
    let mut e = Member::consumer("e", &["t"]);
    e.act(&mut bench);
    assert_eq!(e.numbers(), []);
    d.hear(&mut bench);
    assert_eq!((d.next, d.waits), (Next::Join, None));
    assert!(bench.described().contains("[0, 2]") && bench.described().contains("[1, 3]"));
    rest(&mut bench, &mut [&mut a, &mut b, &mut c, &mut d, &mut e]);
    assert_eq!(bench.state(), "Consumer Stable");
}

#[test]
fn members_have_their_own_sessions_and_their_time_for_each_step() {
    let (mut bench, mut a, mut b) = two(false);
    let mut c = Member::consumer("c", &["t"]);
    rest(&mut bench, &mut [&mut a, &mut b, &mut c]);
    // One is silent, and then does not do what it is told.
    for _ in 0..SESSION_MS / 1_000 {
        a.act(&mut bench);
        c.act(&mut bench);
        bench.pass(1_000);
    }
    assert!(!bench.described().contains("b kind"), "{}", bench.described());
    rest(&mut bench, &mut [&mut a, &mut c]);
    bench.world = bench.world.clone().with("t", 6);
    for _ in 0..45 {
        bench.heartbeat(&a);
        c.act(&mut bench);
        bench.pass(1_000);
    }
    assert_eq!((bench.described().contains("a kind"), c.numbers().len()), (false, 6));
    let token = bench.heartbeat(&a);
    assert_eq!(code(bench.take(token)), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn who_was_dropped_comes_back_without_what_it_had() {
    let (mut bench, mut a, mut b) = two(false);
    let mut c = Member::consumer("c", &["t"]);
    rest(&mut bench, &mut [&mut a, &mut b, &mut c]);
    for _ in 0..SESSION_MS / 1_000 {
        a.act(&mut bench);
        c.act(&mut bench);
        bench.pass(1_000);
    }
    b.next = Next::Join;
    let metadata = b.metadata();
    let token = bench.join(&b, "consumer", &metadata);
    assert_eq!(code(bench.take(token)), ErrorCode::UNKNOWN_MEMBER_ID);
    rest(&mut bench, &mut [&mut b, &mut a, &mut c]);
    assert_eq!((bench.state().as_str(), b.numbers().len()), ("Consumer Stable", 1));
}

#[test]
fn a_generation_is_a_members_epoch() {
    let (mut bench, mut a, mut b) = two(false);
    let mut c = Member::consumer("c", &["t"]);
    rest(&mut bench, &mut [&mut a, &mut b, &mut c]);
    let accepted = Some(Answer::Commit(Ok(vec![ErrorCode::NONE])));
    let token = bench.commit(&a, 9);
    assert_eq!(bench.take(token), accepted);
    let late = Member { epoch: a.epoch - 1, ..a.clone() };
    let token = bench.commit(&late, 8);
    assert_eq!(bench.take(token), Some(Answer::Commit(Err(ErrorCode::ILLEGAL_GENERATION))));
    let token = bench.heartbeat(&late);
    assert_eq!(code(bench.take(token)), ErrorCode::ILLEGAL_GENERATION);
    // A member of the new protocol does not speak the classic one.
    let token = bench.heartbeat(&c);
    assert_eq!(code(bench.take(token)), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_static_member_comes_back_with_the_other_protocol() {
    let mut bench = bench();
    let named = |member: Member| Member { instance: Some("i".into()), ..member };
    let (mut a, mut b) = (named(Member::classic("a", &["t"])), Member::classic("b", &["t"]));
    rest(&mut bench, &mut [&mut a, &mut b]);
    let had = a.numbers();
    let mut new = named(Member::consumer("c", &["t"]));
    new.act(&mut bench);
    assert_eq!((bench.state().as_str(), new.numbers()), ("Consumer Reconciling", had));
    let token = bench.heartbeat(&a);
    assert_eq!(code(bench.take(token)), ErrorCode::FENCED_INSTANCE_ID);
    rest(&mut bench, &mut [&mut new, &mut b]);
    assert_eq!(bench.state(), "Consumer Stable");
    // It was the only one of the new protocol.
    let mut old = named(Member::classic("d", &["t"]));
    old.act(&mut bench);
    assert_eq!(bench.state(), "Classic PreparingRebalance");
    rest(&mut bench, &mut [&mut old, &mut b]);
    assert_eq!((bench.state().as_str(), old.numbers().len()), ("Classic Stable", 2));
    new.act(&mut bench);
    assert_eq!(new.epoch, 0);
}

#[test]
fn a_static_member_that_waited_for_more_gets_it_when_it_is_back() {
    let mut bench = bench();
    let (mut a, mut c) = (Member::classic("a", &["t"]), Member::consumer("c", &["t"]));
    c.instance = Some("i".into());
    rest(&mut bench, &mut [&mut a]);
    c.act(&mut bench);
    assert_eq!((c.epoch > 0, c.numbers()), (true, vec![]));
    bench.leave(&mut c);
    c.name = "d".to_owned();
    c.forget();
    rest(&mut bench, &mut [&mut a, &mut c]);
    assert_eq!((bench.state().as_str(), a.numbers().len(), c.numbers().len()), ("Consumer Stable", 2, 2));
}

#[test]
fn what_members_say_they_have_is_read_back() {
    let mut member = Member::classic("a", &["t"]);
    member.owned.insert(("t".into(), PartitionIndex(3)));
    let read: Subscription = decode(&member.metadata()).expect("it can be read");
    let Subscription { topics, owned, .. } = read;
    assert_eq!((topics, owned), (vec!["t".into()], listed(&member.owned)));
}
