//! A driver for tests of groups with members of both protocols: a log in memory that commits at once, or when told, and
//! clients that do what their protocols ask for.

use crate::consumer::tests::World;
use crate::consumer::{JOINS, LEAVES, LEAVES_FOR_A_WHILE};
use crate::records::versioned;
use crate::testing::GROUP;
use crate::topics::Topics;
use crate::{
    Action, Answer, Client, Commit, ConsumerSettings, Coordinator, GroupSettings, MigrationPolicy, NewOffset,
    Now, Record, Token, WriteId,
};
use bytes::Bytes;
use highwater_assign::protocol::{self, NamedPartitions, Subscription};
use highwater_types::{Instant, LeaderEpoch, Offset, PartitionIndex, Timestamp, Uuid};
use highwater_wire::messages::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, TopicPartitions};
use highwater_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, MemberIdentity, SyncGroupRequest,
    SyncGroupRequestAssignment,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The session of members of either protocol.
pub(super) const SESSION_MS: i32 = 10_000;
/// The time that members have for a step.
pub(super) const REBALANCE_MS: i32 = 30_000;

/// A partition by its topic's name.
pub(super) type Key = (Str, PartitionIndex);

pub(super) struct Bench {
    pub(super) core: Coordinator,
    pub(super) world: World,
    pub(super) settings: GroupSettings,
    pub(super) log: Vec<Record>,
    /// Writes are not committed before this is taken back.
    pub(super) hold: bool,
    pub(super) held: VecDeque<(WriteId, Vec<Record>)>,
    pub(super) now_ms: u64,
    next: u128,
    answers: BTreeMap<u64, Answer>,
    /// How often the coordinator was made anew.
    pub(super) reloads: u32,
}

pub(super) fn settings(migration: MigrationPolicy) -> GroupSettings {
    let session_timeout = Duration::from_millis(SESSION_MS as u64);
    let consumer = ConsumerSettings { session_timeout, migration, ..ConsumerSettings::default() };
    GroupSettings { consumer, ..GroupSettings::default() }
}

impl Bench {
    pub(super) fn new(world: World, migration: MigrationPolicy) -> Self {
        let settings = settings(migration);
        let mut bench = Self {
            core: Coordinator::new(settings.clone()),
            world,
            settings,
            log: Vec::new(),
            hold: false,
            held: VecDeque::new(),
            now_ms: 1_000_000,
            next: 0,
            answers: BTreeMap::new(),
            reloads: 0,
        };
        bench.core.loaded(bench.now());
        bench
    }

    /// The coordinator moves: what is not in the log is gone, and so are the connections.
    pub(super) fn reload(&mut self) {
        self.core = self.replayed();
        self.held.clear();
        self.answers.clear();
        self.reloads += 1;
        self.run();
    }

    /// A coordinator that is made from the log.
    pub(super) fn replayed(&self) -> Coordinator {
        let mut core = Coordinator::new(self.settings.clone());
        for record in &self.log {
            let (key, value) = record.encode();
            core.replay(Record::decode(Some(key), value).expect("it can be read").expect("it is known"));
        }
        core.loaded(self.now());
        core
    }

    pub(super) fn now(&self) -> Now {
        Now { instant: Instant(self.now_ms * 1_000_000), wall: Timestamp(self.now_ms as i64) }
    }

    /// Does what is to be done.
    pub(super) fn run(&mut self) {
        loop {
            while let Some(action) = self.core.poll_action() {
                match action {
                    Action::Answer(token, answer) => {
                        self.answers.insert(token.0, answer);
                    }
                    Action::Write(id, records) => self.held.push_back((id, records)),
                    Action::Note(_) => {}
                    Action::Reload => return self.reload(),
                }
            }
            if self.hold {
                return;
            }
            let Some((id, records)) = self.held.pop_front() else { return };
            self.log.extend(records);
            self.core.committed(id, self.now());
        }
    }

    /// The oldest write under way fails, if there is one.
    pub(super) fn fail_write(&mut self) {
        if let Some((id, _)) = self.held.pop_front() {
            self.core.failed(id, ErrorCode::COORDINATOR_NOT_AVAILABLE, self.now());
            self.run();
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(due) = self.core.next_due().map(|due| due.0 / 1_000_000).filter(|due| *due <= end) {
            self.now_ms = due.max(self.now_ms);
            self.core.tick(&self.world, self.now());
            self.run();
        }
        self.now_ms = end;
    }

    /// A request, and its number.
    fn ask(&mut self, ask: impl FnOnce(&mut Coordinator, Token, &World, Now, Uuid)) -> u64 {
        self.next += 1;
        let (token, now) = (self.next as u64, self.now());
        ask(&mut self.core, Token(token), &self.world, now, Uuid(self.next.to_be_bytes()));
        self.run();
        token
    }

    pub(super) fn take(&mut self, token: u64) -> Option<Answer> {
        self.answers.remove(&token)
    }

    pub(super) fn join(&mut self, member: &Member, kind: &str, metadata: &Bytes) -> u64 {
        let name = if member.eager { "range" } else { "cooperative-sticky" };
        let request = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            protocol_type: kind.into(),
            protocols: vec![JoinGroupRequestProtocol { name: name.into(), metadata: metadata.clone() }],
            ..JoinGroupRequest::default()
        };
        let name = member.name.clone();
        self.ask(|core, token, world, now, fresh| {
            let client = Client { id: &name, host: "/host", version: 9, fresh };
            core.join(token, &client, &request, world, now);
        })
    }

    fn sync(&mut self, member: &Member) -> u64 {
        let assignments = member.assignments.iter().map(|(id, bytes)| SyncGroupRequestAssignment {
            member_id: id.clone(),
            assignment: bytes.clone(),
        });
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: member.epoch,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        self.ask(|core, token, world, now, _| core.sync(token, &request, world, now))
    }

    pub(super) fn heartbeat(&mut self, member: &Member) -> u64 {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: member.epoch,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
        };
        self.ask(|core, token, world, now, _| core.heartbeat(token, &request, world, now))
    }

    /// A heartbeat of the new protocol that says all.
    fn beat(&mut self, member: &Member, epoch: i32) -> u64 {
        let mut owned: BTreeMap<&Str, Vec<PartitionIndex>> = BTreeMap::new();
        for (topic, partition) in &member.owned {
            owned.entry(topic).or_default().push(*partition);
        }
        let id = |(topic, partitions): (&Str, Vec<PartitionIndex>)| {
            let (topic_id, _) = self.world.topic(topic).expect("topics stay");
            TopicPartitions { topic_id, partitions }
        };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: member.id.clone(),
            member_epoch: epoch,
            instance_id: member.instance.clone(),
            rebalance_timeout_ms: REBALANCE_MS,
            subscribed_topic_names: Some(member.topics.clone()),
            topic_partitions: Some(owned.into_iter().map(id).collect()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        self.ask(|core, token, world, now, fresh| {
            let client = Client { id: "client", host: "/host", version: 1, fresh };
            core.consumer_heartbeat(token, &client, &request, world, now);
        })
    }

    /// A member of the new protocol asks to join.
    pub(super) fn join_anew(&mut self, member: &Member) -> u64 {
        self.beat(member, JOINS)
    }

    pub(super) fn leave(&mut self, member: &mut Member) -> u64 {
        let token = if member.classic {
            let leaving = MemberIdentity {
                member_id: member.id.clone(),
                group_instance_id: member.instance.clone(),
                reason: None,
            };
            self.ask(|core, token, world, now, _| core.leave(token, &GROUP.into(), &[leaving], world, now))
        } else {
            let epoch = if member.instance.is_some() { LEAVES_FOR_A_WHILE } else { LEAVES };
            self.beat(member, epoch)
        };
        member.forget();
        token
    }

    pub(super) fn commit(&mut self, member: &Member, offset: i64) -> u64 {
        let new = NewOffset {
            topic: "t".into(),
            partition: PartitionIndex(0),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: Str::new(),
        };
        let commit = Commit {
            generation: member.epoch,
            member: member.id.clone(),
            instance: None,
            retention: None,
            offsets: vec![new],
        };
        self.ask(|core, token, _, now, _| core.commit(token, &GROUP.into(), commit, now))
    }

    /// Which kind of group it is, and where it is.
    pub(super) fn state(&self) -> String {
        state(&self.core)
    }

    /// Members of the new kind of group: who, whether of the new protocol, the epoch, and the partitions of "t".
    pub(super) fn described(&self) -> String {
        let group = self.core.describe_consumers(&GROUP.into(), &self.world);
        let line = |member: &highwater_wire::messages::consumer_group_describe::Member| {
            let parts = member.assignment.topic_partitions.iter().filter(|part| part.topic_name == "t");
            let numbers: Vec<i32> = parts.flat_map(|part| &part.partitions).map(|part| part.0).collect();
            let name = member.member_id.split('-').next().unwrap_or_default().to_owned();
            format!("{name} kind {} epoch {} {numbers:?}", member.member_type, member.member_epoch)
        };
        group.members.iter().map(line).collect::<Vec<_>>().join("; ")
    }
}

pub(super) fn state(core: &Coordinator) -> String {
    let listed = core.list(&[], &[]);
    listed.first().map_or_else(String::new, |group| format!("{} {}", group.group_type, group.group_state))
}

/// A client as it takes itself to be, of either protocol.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) classic: bool,
    /// Whether it gives up all to join.
    pub(super) eager: bool,
    pub(super) instance: Option<Str>,
    pub(super) topics: Vec<Str>,
    pub(super) id: Str,
    /// Its epoch or generation.
    pub(super) epoch: i32,
    pub(super) owned: BTreeSet<Key>,
    /// What it is to do next in the classic protocol.
    pub(super) next: Next,
    /// What it is to bring as the leader, and for which state of the topics.
    pub(super) assignments: Vec<(Str, Bytes)>,
    pub(super) leads_since: Option<u64>,
    /// The request that it waits for, and when it was sent.
    pub(super) waits: Option<(u64, u64)>,
    /// When it sent the last request that was answered well.
    pub(super) heard: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    #[default]
    Join,
    Sync,
    Heartbeat,
}

impl Member {
    pub(super) fn classic(name: &str, topics: &[&str]) -> Self {
        Self { classic: true, id: Str::new(), ..Self::consumer(name, topics) }
    }

    pub(super) fn consumer(name: &str, topics: &[&str]) -> Self {
        let topics = topics.iter().map(|topic| (*topic).into()).collect();
        let mut member = Self { name: name.to_owned(), topics, ..Self::default() };
        member.forget();
        member
    }

    /// It begins anew. Members of the new protocol make their own ids.
    pub(super) fn forget(&mut self) {
        (self.epoch, self.owned, self.next, self.waits) = (0, BTreeSet::new(), Next::Join, None);
        (self.assignments, self.leads_since) = (Vec::new(), None);
        self.id = if self.classic { Str::new() } else { self.name.as_str().into() };
    }

    pub(super) fn numbers(&self) -> Vec<i32> {
        self.owned.iter().filter(|(topic, _)| topic == "t").map(|(_, partition)| partition.0).collect()
    }

    /// What it says of itself in the classic protocol.
    pub(super) fn metadata(&self) -> Bytes {
        let subscription = Subscription {
            topics: self.topics.clone(),
            user_data: None,
            owned: protocol::listed(&self.owned),
            generation: self.epoch,
            rack: None,
        };
        versioned(2, &subscription)
    }

    /// It does what its protocol asks for next; false while it waits.
    pub(super) fn act(&mut self, bench: &mut Bench) -> bool {
        self.hear(bench);
        if self.waits.is_some() {
            return false;
        }
        let sent = bench.now_ms;
        let token = match self.next {
            _ if !self.classic => bench.beat(self, if self.epoch == 0 { JOINS } else { self.epoch }),
            Next::Join => {
                if self.eager {
                    self.owned.clear();
                }
                let metadata = self.metadata();
                bench.join(self, "consumer", &metadata)
            }
            Next::Sync => bench.sync(self),
            Next::Heartbeat => bench.heartbeat(self),
        };
        self.waits = Some((token, sent));
        self.hear(bench);
        self.waits.is_none()
    }

    /// It hears the answer that it waits for, if it is there.
    pub(super) fn hear(&mut self, bench: &mut Bench) {
        let Some((token, sent)) = self.waits else { return };
        let Some(answer) = bench.take(token) else { return };
        self.waits = None;
        let code = match answer {
            Answer::Join(response) if response.error_code == ErrorCode::NONE => {
                (self.id, self.epoch) = (response.member_id.clone(), response.generation_id);
                self.next = Next::Sync;
                let leads = response.leader == self.id && !response.skip_assignment;
                self.leads_since = leads.then(|| bench.world.version());
                let members = response.members.iter().map(|member| (&member.member_id, &member.metadata));
                self.assignments = if leads { shared_out(members, &bench.world) } else { Vec::new() };
                ErrorCode::NONE
            }
            Answer::Join(response) => {
                if response.error_code == ErrorCode::MEMBER_ID_REQUIRED {
                    self.id = response.member_id;
                }
                response.error_code
            }
            Answer::Sync(response) if response.error_code == ErrorCode::NONE => {
                let has = keys(&response.assignment);
                let gave_up = self.owned.difference(&has).next().is_some();
                self.owned = has;
                self.next = if gave_up { Next::Join } else { Next::Heartbeat };
                ErrorCode::NONE
            }
            Answer::Sync(response) => response.error_code,
            Answer::Heartbeat(code) => {
                let stale = self.leads_since.is_some_and(|seen| seen != bench.world.version());
                if code == ErrorCode::REBALANCE_IN_PROGRESS || stale {
                    self.next = Next::Join;
                }
                code
            }
            Answer::ConsumerHeartbeat(response) if response.error_code == ErrorCode::NONE => {
                self.epoch = response.member_epoch;
                if let Some(assignment) = response.assignment {
                    let named = assignment.topic_partitions.into_iter().filter_map(|topic| {
                        let (name, _) = bench.world.by_id(topic.topic_id)?;
                        Some(NamedPartitions { topic: name, partitions: topic.partitions })
                    });
                    self.owned = each(&named.collect::<Vec<_>>());
                }
                ErrorCode::NONE
            }
            Answer::ConsumerHeartbeat(response) => response.error_code,
            other => panic!("no answer to what it asked: {other:?}"),
        };
        match code {
            ErrorCode::NONE => self.heard = sent,
            ErrorCode::MEMBER_ID_REQUIRED => {}
            ErrorCode::REBALANCE_IN_PROGRESS => (self.heard, self.next) = (sent, Next::Join),
            ErrorCode::COORDINATOR_NOT_AVAILABLE => self.next = Next::Join,
            _ => self.forget(),
        }
    }
}

/// The cooperative way to share out: what somebody has goes to nobody else before it is given up.
fn shared_out<'a>(members: impl Iterator<Item = (&'a Str, &'a Bytes)>, world: &World) -> Vec<(Str, Bytes)> {
    let members: Vec<(&Str, &Bytes, Subscription)> = members
        .map(|(id, bytes)| (id, bytes, protocol::decode(bytes).expect("members say what they want")))
        .collect();
    let mut owners: BTreeMap<Key, &Str> = BTreeMap::new();
    for (id, _, subscription) in &members {
        owners.extend(each(&subscription.owned).into_iter().map(|key| (key, *id)));
    }
    let mut shares: BTreeMap<&Str, BTreeSet<Key>> = BTreeMap::new();
    for topic in world.names() {
        let wanting: Vec<_> =
            members.iter().filter(|(.., subscription)| subscription.topics.contains(&topic)).collect();
        let count = world.topic(&topic).map_or(0, |(_, count)| count);
        for (number, index) in (0..count).enumerate().filter(|_| !wanting.is_empty()) {
            let key = (topic.clone(), PartitionIndex(index));
            let (id, ..) = wanting[number % wanting.len()];
            if owners.get(&key).is_none_or(|owner| owner == id) {
                shares.entry(id).or_default().insert(key);
            }
        }
    }
    let share = |id: &Str| shares.get(id).cloned().unwrap_or_default();
    members
        .iter()
        .map(|(id, bytes, _)| ((*id).clone(), protocol::answer(protocol::listed(&share(id)), bytes)))
        .collect()
}

fn each(named: &[NamedPartitions]) -> BTreeSet<Key> {
    protocol::each(named).collect()
}

fn keys(assignment: &Bytes) -> BTreeSet<Key> {
    protocol::assigned(assignment).expect("assignments can be read")
}
