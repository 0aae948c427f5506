//! Groups of the new protocol from the outside.

use super::{each, gathered};
use crate::testing::GROUP;
use crate::topics::Topics;
use crate::{
    Action, Answer, Client, ConsumerSettings, Coordinator, GroupSettings, Now, OwnedPartitions, Racks,
    Record, Token, WriteId,
};
use bytes::Bytes;
use highwater_types::{Instant, PartitionIndex, Timestamp, TopicId, Uuid};
use highwater_wire::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use highwater_wire::{ErrorCode, Str};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub(super) struct World(pub(super) BTreeMap<Str, (TopicId, i32)>, u64, BTreeMap<TopicId, Racks>);

impl World {
    pub(super) fn with(mut self, name: &str, partitions: i32) -> Self {
        let next = u8::try_from(self.0.len() + 1).expect("few topics");
        self.0.entry(name.into()).or_insert((TopicId(Uuid([next; 16])), 0)).1 = partitions;
        self.1 += 1;
        self
    }

    /// A topic has partitions with one replica each, in these racks.
    fn placed(mut self, name: &str, racks: &[&str]) -> Self {
        self = self.with(name, i32::try_from(racks.len()).expect("few partitions"));
        let (id, _) = self.0[name];
        self.2.insert(id, racks.iter().map(|rack| BTreeSet::from([Str::from(*rack)])).collect());
        self
    }
}

impl Topics for World {
    fn version(&self) -> u64 {
        self.1
    }

    fn topic(&self, name: &str) -> Option<(TopicId, i32)> {
        self.0.get(name).copied()
    }

    fn by_id(&self, id: TopicId) -> Option<(Str, i32)> {
        self.0.iter().find(|(_, (known, _))| *known == id).map(|(name, (_, count))| (name.clone(), *count))
    }

    fn racks(&self, id: TopicId) -> Racks {
        self.2.get(&id).cloned().unwrap_or_default()
    }

    fn names(&self) -> Vec<Str> {
        self.0.keys().cloned().collect()
    }
}

struct Bench {
    core: Coordinator,
    world: World,
    log: Vec<Record>,
    now_ms: u64,
    tokens: u64,
    answer: Option<ConsumerGroupHeartbeatResponse>,
}

fn settings() -> GroupSettings {
    let consumer = ConsumerSettings { max_size: 4, ..ConsumerSettings::default() };
    GroupSettings { consumer, ..GroupSettings::default() }
}

/// A member as it takes itself to be.
#[derive(Clone, Debug, Default)]
struct Member {
    id: String,
    instance: Option<Str>,
    epoch: i32,
    owned: BTreeSet<(TopicId, PartitionIndex)>,
    topics: Vec<Str>,
    regex: Option<Str>,
    rack: Option<Str>,
}

impl Member {
    fn new(id: &str, topics: &[&str]) -> Self {
        let topics = topics.iter().map(|topic| (*topic).into()).collect();
        Self { id: id.to_owned(), topics, ..Self::default() }
    }

    fn numbers(&self) -> Vec<i32> {
        self.owned.iter().map(|(_, partition)| partition.0).collect()
    }
}

impl Bench {
    fn new(world: World) -> Self {
        let mut core = Coordinator::new(settings());
        core.loaded(Now::default());
        Self { core, world, log: Vec::new(), now_ms: 0, tokens: 0, answer: None }
    }

    fn reloaded(&self) -> Self {
        self.reloaded_from(self.log.iter().map(Record::encode))
    }

    /// From a log in which the last record of each key is left.
    fn compacted(&self) -> Self {
        let records: Vec<_> = self.log.iter().map(Record::encode).collect();
        let last: BTreeMap<_, usize> =
            records.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
        let kept = records.into_iter().enumerate().filter(|(at, (key, _))| last[key] == *at);
        self.reloaded_from(kept.map(|(_, record)| record))
    }

    fn reloaded_from(&self, records: impl Iterator<Item = (Bytes, Option<Bytes>)>) -> Self {
        let mut core = Coordinator::new(settings());
        for (key, value) in records {
            core.replay(Record::decode(Some(key), value).expect("it can be read").expect("it is known"));
        }
        core.loaded(self.now());
        Self { core, world: self.world.clone(), log: self.log.clone(), answer: None, ..*self }
    }

    fn now(&self) -> Now {
        Now { instant: Instant(self.now_ms * 1_000_000), wall: Timestamp(self.now_ms as i64) }
    }

    fn run(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Answer(_, Answer::ConsumerHeartbeat(answer)) => self.answer = Some(answer),
                Action::Write(id, records) => self.written(id, records),
                Action::Answer(..) | Action::Note(_) => {}
                Action::Reload => panic!("nothing fails here"),
            }
        }
    }

    fn written(&mut self, id: WriteId, records: Vec<Record>) {
        self.log.extend(records);
        self.core.committed(id, self.now());
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.core.tick(&self.world, self.now());
        self.run();
    }

    fn send(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        self.tokens += 1;
        // Clients come from elsewhere now and then, which is written anew without anything else.
        let host = if self.tokens.is_multiple_of(3) { "/elsewhere" } else { "/host" };
        let client = Client { id: "client", host, version: 1, fresh: Uuid([7; 16]) };
        let request = ConsumerGroupHeartbeatRequest { group_id: GROUP.into(), ..request };
        self.core.consumer_heartbeat(Token(self.tokens), &client, &request, &self.world, self.now());
        self.run();
        self.answer.take().expect("it is answered at once here")
    }

    /// A heartbeat that says all. The member does what it is told.
    fn beat(&mut self, member: &mut Member) -> ErrorCode {
        let owned =
            member.owned.iter().fold(BTreeMap::<TopicId, Vec<_>>::new(), |mut all, (topic, partition)| {
                all.entry(*topic).or_default().push(*partition);
                all
            });
        let owned = owned.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions });
        let answer = self.send(ConsumerGroupHeartbeatRequest {
            member_id: member.id.as_str().into(),
            member_epoch: member.epoch,
            instance_id: member.instance.clone(),
            rebalance_timeout_ms: 10_000,
            subscribed_topic_names: Some(member.topics.clone()),
            subscribed_topic_regex: member.regex.clone(),
            rack_id: member.rack.clone(),
            topic_partitions: Some(owned.collect()),
            ..ConsumerGroupHeartbeatRequest::default()
        });
        if answer.error_code == ErrorCode::NONE {
            member.epoch = answer.member_epoch;
            if let Some(assignment) = answer.assignment {
                let listed: Vec<OwnedPartitions> = assignment
                    .topic_partitions
                    .into_iter()
                    .map(|topic| OwnedPartitions { topic_id: topic.topic_id, partitions: topic.partitions })
                    .collect();
                member.owned = each(&gathered(&listed)).collect();
            }
        }
        answer.error_code
    }

    fn leave(&mut self, member: &mut Member, epoch: i32) -> ErrorCode {
        let answer = self.send(ConsumerGroupHeartbeatRequest {
            member_id: member.id.as_str().into(),
            member_epoch: epoch,
            instance_id: member.instance.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        });
        (member.epoch, member.owned) = (0, BTreeSet::new());
        answer.error_code
    }

    fn state(&self) -> String {
        self.core.describe_consumers(&GROUP.into(), &self.world).group_state.to_string()
    }
}

#[test]
fn a_partition_moves_once_its_owner_has_given_it_up() {
    let mut bench = Bench::new(World::default().with("t", 4));
    let (mut a, mut b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    assert_eq!(bench.beat(&mut a), ErrorCode::NONE);
    assert_eq!((a.epoch, a.numbers()), (1, vec![0, 1, 2, 3]));
    bench.beat(&mut b);
    assert_eq!((b.epoch, b.numbers()), (2, vec![]));
    // It is told what to give up, and keeps its epoch until it has.
    bench.beat(&mut a);
    assert_eq!((a.epoch, a.numbers()), (1, vec![0, 1]));
    bench.beat(&mut b);
    assert_eq!((b.numbers(), bench.state().as_str()), (vec![], "Reconciling"));
    bench.beat(&mut a);
    assert_eq!(a.epoch, 2);
    bench.beat(&mut b);
    assert_eq!((b.numbers(), bench.state().as_str()), (vec![2, 3], "Stable"));
    let described = bench.core.describe_consumers(&GROUP.into(), &bench.world);
    assert_eq!(bench.reloaded().core.describe_consumers(&GROUP.into(), &bench.world), described);
}

#[test]
fn who_is_stale_or_unknown_is_fenced() {
    let mut bench = Bench::new(World::default().with("t", 2));
    let mut a = Member::new("a", &["t"]);
    assert_eq!(
        bench.beat(&mut Member { epoch: 3, ..Member::new("x", &["t"]) }),
        ErrorCode::GROUP_ID_NOT_FOUND
    );
    bench.beat(&mut a);
    assert_eq!(
        bench.beat(&mut Member { epoch: 3, ..Member::new("x", &["t"]) }),
        ErrorCode::UNKNOWN_MEMBER_ID
    );
    assert_eq!(bench.beat(&mut Member { epoch: 7, ..a.clone() }), ErrorCode::FENCED_MEMBER_EPOCH);
    assert_eq!(bench.leave(&mut Member::new("x", &[]), super::LEAVES), ErrorCode::UNKNOWN_MEMBER_ID);
    bench.world = bench.world.clone().with("t", 3);
    let before = a.clone();
    bench.beat(&mut a);
    assert_eq!((a.epoch, a.numbers()), (2, vec![0, 1, 2]));
    // The answer may have been lost: the epoch before is good once more.
    assert_eq!(bench.beat(&mut before.clone()), ErrorCode::NONE);
    for id in ["b", "c", "d"] {
        bench.beat(&mut Member::new(id, &["t"]));
    }
    assert_eq!(bench.beat(&mut Member::new("e", &["t"])), ErrorCode::GROUP_MAX_SIZE_REACHED);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut bench = Bench::new(World::default().with("t", 2));
    let valid = ConsumerGroupHeartbeatRequest {
        member_id: "a".into(),
        rebalance_timeout_ms: 1000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let check = |bench: &mut Bench, change: &dyn Fn(&mut ConsumerGroupHeartbeatRequest), code| {
        let mut request = valid.clone();
        change(&mut request);
        assert_eq!(bench.send(request).error_code, code);
    };
    let invalid = ErrorCode::INVALID_REQUEST;
    check(&mut bench, &|request| request.member_id = Str::new(), invalid);
    check(&mut bench, &|request| request.member_epoch = -3, invalid);
    check(&mut bench, &|request| request.member_epoch = -2, invalid);
    check(&mut bench, &|request| request.rebalance_timeout_ms = -1, invalid);
    check(&mut bench, &|request| request.topic_partitions = None, invalid);
    check(&mut bench, &|request| request.subscribed_topic_names = None, invalid);
    check(&mut bench, &|request| request.instance_id = Some(Str::new()), invalid);
    check(
        &mut bench,
        &|request| request.server_assignor = Some("sticky".into()),
        ErrorCode::UNSUPPORTED_ASSIGNOR,
    );
    check(
        &mut bench,
        &|request| request.subscribed_topic_regex = Some("(".into()),
        ErrorCode::INVALID_REGULAR_EXPRESSION,
    );
    assert_eq!(bench.core.group_count(), 0);
    check(&mut bench, &|request| request.server_assignor = Some("range".into()), ErrorCode::NONE);
}

#[test]
fn topics_are_wanted_by_regular_expression() {
    let mut bench = Bench::new(World::default().with("orders-a", 1).with("other", 1));
    let mut a = Member { regex: Some("orders-.*".into()), ..Member::new("a", &[]) };
    bench.beat(&mut a);
    assert_eq!(a.owned.len(), 1);
    bench.world = bench.world.clone().with("orders-b", 2);
    bench.beat(&mut a);
    assert_eq!((a.epoch, a.owned.len()), (2, 3));
}

#[test]
fn members_have_what_is_in_their_rack() {
    let mut bench = Bench::new(World::default().placed("t", &["x", "y", "y", "x"]));
    let within = |id, rack: &str| Member { rack: Some(rack.into()), ..Member::new(id, &["t"]) };
    let (mut a, mut b) = (within("a", "y"), within("b", "x"));
    let settle = |bench: &mut Bench, a: &mut Member, b: &mut Member| {
        for _ in 0..3 {
            assert_eq!((bench.beat(a), bench.beat(b)), (ErrorCode::NONE, ErrorCode::NONE));
        }
        (a.epoch, a.numbers(), b.numbers())
    };
    assert_eq!(settle(&mut bench, &mut a, &mut b), (2, vec![1, 2], vec![0, 3]));
    // Replicas move, and so do partitions.
    bench.world = bench.world.clone().placed("t", &["y", "x", "y", "x"]);
    assert_eq!(settle(&mut bench, &mut a, &mut b), (3, vec![0, 2], vec![1, 3]));
    // So do members.
    (a.rack, b.rack) = (b.rack, a.rack);
    assert_eq!(settle(&mut bench, &mut a, &mut b), (5, vec![1, 3], vec![0, 2]));
    // Nothing does if it only seems that something might have changed.
    bench.world = bench.world.clone().placed("t", &["y", "x", "y", "x"]).with("other", 1);
    assert_eq!(settle(&mut bench, &mut a, &mut b), (5, vec![1, 3], vec![0, 2]));
}

#[test]
fn a_static_member_keeps_what_it_has_over_a_restart() {
    let mut bench = Bench::new(World::default().with("t", 2));
    let named = |id| Member { instance: Some("i".into()), ..Member::new(id, &["t"]) };
    let (mut first, mut second, mut b) = (named("one"), named("two"), Member::new("b", &["t"]));
    bench.beat(&mut first);
    bench.beat(&mut b);
    bench.beat(&mut first);
    bench.beat(&mut first);
    bench.beat(&mut b);
    assert_eq!((first.numbers(), b.numbers()), (vec![0], vec![1]));
    assert_eq!(bench.beat(&mut second), ErrorCode::UNRELEASED_INSTANCE_ID);
    assert_eq!(bench.leave(&mut first, super::LEAVES_FOR_A_WHILE), ErrorCode::NONE);
    bench.beat(&mut b);
    assert_eq!((b.numbers(), b.epoch), (vec![1], 2));
    assert_eq!(bench.beat(&mut second), ErrorCode::NONE);
    assert_eq!(second.numbers(), [0]);
    assert_eq!(bench.beat(&mut Member { epoch: 2, ..named("one") }), ErrorCode::FENCED_INSTANCE_ID);
}

#[test]
fn who_is_silent_or_does_not_give_up_is_dropped() {
    let mut bench = Bench::new(World::default().with("t", 2));
    let (mut a, mut b) = (Member::new("a", &["t"]), Member::new("b", &["t"]));
    bench.beat(&mut a);
    bench.beat(&mut b);
    // It is told to give one up, and does not say that it did.
    let told = a.clone();
    bench.beat(&mut a);
    bench.pass(10_000);
    bench.beat(&mut b);
    assert_eq!(bench.beat(&mut told.clone()), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(b.owned.len(), 2);
    bench.pass(45_000);
    assert_eq!(bench.state(), "Empty");
    // A member of the classic protocol may have the group now.
    assert_eq!(bench.reloaded().state(), "Empty");
}

#[derive(Clone, Debug)]
enum Step {
    Beat(usize),
    Leave(usize),
    Restart(usize),
    Pass(u64),
    Grow,
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..4usize).prop_map(Step::Beat),
        1 => (0..4usize).prop_map(Step::Leave),
        1 => (0..4usize).prop_map(Step::Restart),
        2 => prop_oneof![Just(1_000), Just(9_000), Just(46_000)].prop_map(Step::Pass),
        1 => Just(Step::Grow),
        1 => Just(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nobody_has_what_another_has_and_all_settle(steps in proptest::collection::vec(step(), 0..120)) {
        let mut bench = Bench::new(World::default().with("t", 5).with("u", 2));
        let wants: [&[&str]; 4] = [&["t"], &["t", "u"], &["u"], &["t", "u", "missing"]];
        let mut lives = 0;
        let mut members: Vec<Member> = Vec::new();
        for wants in wants {
            lives += 1;
            members.push(Member::new(&format!("m{lives}"), wants));
        }
        let mut heard: BTreeMap<String, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Beat(index) => {
                    let member = &mut members[index];
                    match bench.beat(member) {
                        ErrorCode::NONE => {
                            heard.insert(member.id.clone(), bench.now_ms);
                        }
                        _ => (member.epoch, member.owned) = (0, BTreeSet::new()),
                    }
                }
                Step::Leave(index) => {
                    bench.leave(&mut members[index], super::LEAVES);
                }
                Step::Restart(index) => {
                    lives += 1;
                    members[index] = Member::new(&format!("m{lives}"), wants[index]);
                }
                Step::Pass(ms) => bench.pass(ms),
                Step::Grow => {
                    let count = bench.world.0["t"].1;
                    bench.world = bench.world.clone().with("t", (count + 1).min(9));
                }
                Step::Reload => bench = bench.reloaded(),
            }
            // Who has not been heard of for a session knows that it has nothing any more.
            let mut owners = BTreeMap::new();
            for member in &members {
                let alive = heard.get(&member.id).is_some_and(|at| bench.now_ms - at < 10_000);
                for key in member.owned.iter().filter(|_| alive) {
                    let other = owners.insert(*key, member.id.clone());
                    prop_assert_eq!(other, None, "{} as well", member.id);
                }
            }
        }
        bench.pass(46_000);
        for _ in 0..8 {
            for member in &mut members {
                if bench.beat(member) != ErrorCode::NONE {
                    (member.epoch, member.owned) = (0, BTreeSet::new());
                    prop_assert_eq!(bench.beat(member), ErrorCode::NONE);
                }
            }
            bench.pass(1_000);
        }
        prop_assert_eq!(bench.state(), "Stable");
        let owned: usize = members.iter().map(|member| member.owned.len()).sum();
        let all: i32 = bench.world.0.values().map(|(_, count)| count).sum();
        prop_assert_eq!(owned, all as usize);
        let described = bench.core.describe_consumers(&GROUP.into(), &bench.world);
        prop_assert_eq!(bench.reloaded().core.describe_consumers(&GROUP.into(), &bench.world), described.clone());
        prop_assert_eq!(bench.compacted().core.describe_consumers(&GROUP.into(), &bench.world), described);
    }
}
