//! Three replicas of one partition, their controller, and a network that loses, repeats and reorders.
//!
//! Everything here is about what the replicas decide; logs are vectors, and the controller does what it is asked if the
//! proposal fits its state. After every step the properties S5 to S7 are checked against a record of all that was ever
//! committed.

mod controller;
mod log;

use controller::Metadata;
pub use log::{Log, Record};

use highwater_replication::{
    Agreement, Assignment, FetchAnswer, FetchPosition, Follower, FollowerFetch, History, Leader, Moved,
    Outcome, Proposal, ProposalAnswer, Rules, Step, compare,
};
use highwater_types::{BrokerEpoch, BrokerId, Instant, LeaderEpoch, Offset};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

pub const MAX_LAG: Duration = Duration::from_millis(100);
const FETCH_RECORDS: usize = 2;

#[derive(Clone, Debug)]
enum Role {
    None,
    Leader(Leader),
    Follower(Follower),
}

#[derive(Clone, Debug)]
struct Replica {
    up: bool,
    broker_epoch: BrokerEpoch,
    log: Log,
    high_watermark: Offset,
    role: Role,
    seen: Metadata,
    /// States that it has not seen yet.
    coming: VecDeque<Metadata>,
}

#[derive(Clone, Debug)]
enum Message {
    Fetch { from: BrokerId, to: BrokerId, broker_epoch: BrokerEpoch, position: FetchPosition, synced: Offset },
    Answer { to: BrokerId, broker_epoch: BrokerEpoch, answer: FetchAnswer, records: Vec<Record> },
    Propose { from: BrokerId, broker_epoch: BrokerEpoch, proposal: Proposal },
    Decided { to: BrokerId, broker_epoch: BrokerEpoch, proposal: Proposal, answer: ProposalAnswer },
}

#[derive(Clone, Debug)]
pub struct Model {
    pub rules: Rules,
    replicas: BTreeMap<BrokerId, Replica>,
    controller: Metadata,
    next_broker_epoch: i64,
    network: Vec<Message>,
    now: Instant,
    next_value: u32,
    /// All that was ever committed.
    committed: Vec<Record>,
    pub transcript: String,
}

pub fn id(number: i32) -> BrokerId {
    BrokerId(number)
}

impl Model {
    /// Three replicas; 1 leads, and all are in sync.
    pub fn new(sync: bool, min_insync_replicas: usize) -> Self {
        let ids = [1, 2, 3].map(BrokerId);
        let partition = Assignment {
            leader: Some(ids[0]),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: ids.to_vec(),
            isr: ids.to_vec(),
        };
        let brokers = ids.map(|broker| (broker, (BrokerEpoch(i64::from(broker.0)), false))).into();
        let controller = Metadata { partition, brokers };
        let replicas = ids.map(|broker| {
            let replica = Replica {
                up: true,
                broker_epoch: BrokerEpoch(i64::from(broker.0)),
                log: Log::default(),
                high_watermark: Offset::ZERO,
                role: Role::None,
                seen: Metadata {
                    partition: Assignment {
                        leader: None,
                        partition_epoch: -1,
                        leader_epoch: LeaderEpoch(-1),
                        ..controller.partition.clone()
                    },
                    ..controller.clone()
                },
                coming: [controller.clone()].into(),
            };
            (broker, replica)
        });
        Self {
            rules: Rules { sync, min_insync_replicas, max_lag: MAX_LAG },
            replicas: replicas.into(),
            controller,
            next_broker_epoch: 10,
            network: Vec::new(),
            now: Instant(1),
            next_value: 0,
            committed: Vec::new(),
            transcript: String::new(),
        }
    }

    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.transcript, "{line}").expect("a string takes all");
    }

    pub fn in_flight(&self) -> usize {
        self.network.len()
    }

    pub fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
    }

    /// A client writes to a replica that believes that it leads.
    pub fn produce(&mut self, to: BrokerId) {
        let value = self.next_value;
        let replica = self.replicas.get_mut(&to).expect("a replica");
        let Role::Leader(leader) = &mut replica.role else { return };
        self.next_value += 1;
        replica.log.append(Record { epoch: leader.epoch(), value });
        let moved = leader.advanced(replica.log.ends(), self.now);
        self.note(format_args!("{to}: appends r{value}"));
        self.moved(to, moved);
    }

    pub fn sync(&mut self, at: BrokerId) {
        let replica = self.replicas.get_mut(&at).expect("a replica");
        if !replica.up || replica.log.ends().synced == replica.log.end() {
            return;
        }
        replica.log.sync();
        let end = replica.log.end();
        let moved = match &mut replica.role {
            Role::Leader(leader) => leader.advanced(replica.log.ends(), self.now),
            _ => Moved::default(),
        };
        self.note(format_args!("{at}: synced to {end}"));
        self.moved(at, moved);
    }

    /// Records before the high watermark are removed at a leader.
    pub fn trim(&mut self, at: BrokerId, by: i64) {
        let replica = self.replicas.get_mut(&at).expect("a replica");
        if !matches!(replica.role, Role::Leader(_)) {
            return;
        }
        let start = Offset((replica.log.start().0 + by).min(replica.high_watermark.0));
        replica.log.advance_start(start);
        self.note(format_args!("{at}: log starts at {start}"));
    }

    pub fn fetch(&mut self, from: BrokerId) {
        let replica = &self.replicas[&from];
        let Role::Follower(follower) = &replica.role else { return };
        let position = follower.position(&replica.log);
        let (to, synced, broker_epoch) = (follower.leader(), replica.log.ends().synced, replica.broker_epoch);
        self.note(format_args!(
            "{from} -> {to}: fetch {} after epoch {} in epoch {}, synced {synced}",
            position.offset, position.last_epoch, position.leader_epoch
        ));
        self.network.push(Message::Fetch { from, to, broker_epoch, position, synced });
    }

    /// The leader looks at the time, and asks the controller for what it wants.
    pub fn poll(&mut self, at: BrokerId) {
        let replica = self.replicas.get_mut(&at).expect("a replica");
        let Role::Leader(leader) = &mut replica.role else { return };
        let brokers = &replica.seen.brokers;
        let live = |broker| brokers.get(&broker).filter(|(_, fenced)| !fenced).map(|&(epoch, _)| epoch);
        let high_watermark = leader.look_at_brokers(self.now, live);
        let proposal = leader.poll_proposal(self.now, live);
        let broker_epoch = replica.broker_epoch;
        self.moved(at, Moved { high_watermark, proposal: false });
        let Some(proposal) = proposal else { return self.check() };
        self.note(format_args!("{at} -> controller: in sync {}", members(&proposal)));
        self.network.push(Message::Propose { from: at, broker_epoch, proposal });
        self.check();
    }

    pub fn drop_message(&mut self, which: usize) {
        if which >= self.network.len() {
            return;
        }
        let (Message::Propose { from, broker_epoch, proposal }
        | Message::Decided { to: from, broker_epoch, proposal, .. }) = self.network.remove(which)
        else {
            return;
        };
        // Who asked gives the call up some time.
        let answer = ProposalAnswer::Open;
        self.network.push(Message::Decided { to: from, broker_epoch, proposal, answer });
    }

    pub fn duplicate(&mut self, which: usize) {
        if let Some(message) = self.network.get(which).cloned() {
            self.network.push(message);
        }
    }

    pub fn deliver_all(&mut self) {
        while !self.network.is_empty() {
            self.deliver(0);
        }
    }

    pub fn deliver(&mut self, which: usize) {
        if which >= self.network.len() {
            return;
        }
        match self.network.remove(which) {
            Message::Fetch { from, to, broker_epoch, position, synced } => {
                self.on_fetch(from, to, broker_epoch, position, synced);
            }
            Message::Answer { to, broker_epoch, answer, records } => {
                self.on_answer(to, broker_epoch, answer, &records);
            }
            Message::Propose { from, broker_epoch, proposal } => {
                self.on_proposal(from, broker_epoch, &proposal)
            }
            Message::Decided { to, broker_epoch, proposal, answer } => {
                let (now, replica) = (self.now, self.replicas.get_mut(&to).expect("a replica"));
                if !replica.up || replica.broker_epoch != broker_epoch {
                    return;
                }
                let Role::Leader(leader) = &mut replica.role else { return };
                let moved = leader.answered(&proposal, &answer, now);
                self.moved(to, moved);
            }
        }
        self.check();
    }

    fn on_fetch(
        &mut self,
        from: BrokerId,
        to: BrokerId,
        broker_epoch: BrokerEpoch,
        position: FetchPosition,
        synced: Offset,
    ) {
        let replica = self.replicas.get_mut(&to).expect("a replica");
        let Role::Leader(leader) = &mut replica.role else { return };
        if leader.epoch() != position.leader_epoch && !highwater_types::mutant!("fetch-unfenced") {
            return;
        }
        let (registered, fenced) = replica.seen.brokers[&from];
        let agreement = compare(&replica.log, position.offset, position.last_epoch);
        let mut moved = Moved::default();
        let (outcome, records) = match agreement {
            Agreement::Agrees => {
                let fetch = FollowerFetch {
                    replica: from,
                    broker_epoch,
                    registered,
                    live: !fenced,
                    leader_epoch: position.leader_epoch,
                    end: position.offset,
                    synced: Some(synced),
                };
                match leader.fetched(&fetch, self.now) {
                    Ok(it) => moved = it,
                    Err(_) => return,
                }
                let high_watermark = leader.high_watermark();
                let outcome = Outcome::Records { high_watermark, log_start: replica.log.start() };
                (outcome, replica.log.read(position.offset, FETCH_RECORDS))
            }
            Agreement::Diverges { epoch, end } => {
                (Outcome::Diverging { epoch, end, high_watermark: leader.high_watermark() }, Vec::new())
            }
            Agreement::OutOfRange => (Outcome::OutOfRange { log_start: replica.log.start() }, Vec::new()),
        };
        self.note(format_args!("{to} -> {from}: {}", tell(&outcome, &records)));
        self.moved(to, moved);
        let answer = FetchAnswer { position, outcome };
        self.network.push(Message::Answer { to: from, broker_epoch, answer, records });
    }

    fn on_answer(
        &mut self,
        to: BrokerId,
        broker_epoch: BrokerEpoch,
        answer: FetchAnswer,
        records: &[Record],
    ) {
        let replica = self.replicas.get_mut(&to).expect("a replica");
        if !replica.up || replica.broker_epoch != broker_epoch {
            return;
        }
        let Role::Follower(follower) = &mut replica.role else { return };
        let step = follower.handle(&answer, &replica.log);
        match step {
            Step::Append => {
                records.iter().for_each(|&record| replica.log.append(record));
                let (_, start) = follower.appended(replica.log.start(), replica.log.end());
                if let Some(start) = start {
                    replica.log.advance_start(start);
                }
            }
            Step::Truncate(end) => {
                assert!(end < replica.log.end(), "a cut must get on");
                replica.log.truncate(end);
            }
            Step::Restart(start) => replica.log.restart_at(start),
            Step::Ignore => {}
        }
        replica.high_watermark = follower.high_watermark();
        let (end, high_watermark) = (replica.log.end(), replica.high_watermark);
        match step {
            Step::Append => {
                self.note(format_args!("{to}: ends at {end}, high watermark {high_watermark}"));
            }
            Step::Truncate(end) => self.note(format_args!("{to}: cuts to {end}")),
            Step::Restart(start) => self.note(format_args!("{to}: begins anew at {start}")),
            Step::Ignore => {}
        }
    }

    /// A process ends; in `sync` mode, with what was not on disk.
    pub fn crash(&mut self, at: BrokerId) {
        let sync = self.rules.sync;
        let replica = self.replicas.get_mut(&at).expect("a replica");
        if !replica.up {
            return;
        }
        replica.up = false;
        replica.role = Role::None;
        replica.coming.clear();
        if sync {
            replica.log.lose_unsynced();
        }
        replica.high_watermark = replica.log.start();
        let end = replica.log.end();
        self.note(format_args!("{at}: crashes, its log ends at {end}"));
    }

    /// A process starts and registers; `wiped`: on an empty disk, if another in-sync replica has all.
    pub fn start(&mut self, at: BrokerId, wiped: bool) {
        if self.replicas[&at].up {
            return;
        }
        let mut next = self.controller.clone();
        let replica = self.controller.partition.replicas.contains(&at);
        let wiped = wiped && replica && next.partition.isr.iter().any(|&member| member != at);
        self.next_broker_epoch += 1;
        let broker_epoch = BrokerEpoch(self.next_broker_epoch);
        if wiped {
            self.leave(&mut next, at);
        } else if next.partition.leader == Some(at) {
            next.partition.leader = None;
            next.partition.leader_epoch.0 += 1;
        }
        next.brokers.insert(at, (broker_epoch, false));
        Self::elect(&mut next);
        let replica = self.replicas.get_mut(&at).expect("a replica");
        if wiped {
            replica.log = Log::default();
        }
        (replica.up, replica.broker_epoch) = (true, broker_epoch);
        replica.seen.partition.partition_epoch = -1;
        replica.seen.partition.leader_epoch = LeaderEpoch(-1);
        replica.high_watermark = replica.log.start();
        replica.coming.clear();
        self.note(format_args!("{at}: starts{}", if wiped { " on an empty disk" } else { "" }));
        self.commit(next);
        self.check();
    }

    /// A replica sees some of the states that the controller has committed, and takes the last one's role.
    pub fn see(&mut self, at: BrokerId, most: usize) {
        let (now, rules) = (self.now, self.rules);
        let replica = self.replicas.get_mut(&at).expect("a replica");
        let most = most.min(replica.coming.len());
        let Some(metadata) = replica.coming.drain(..most).next_back() else { return };
        let new_epoch = metadata.partition.leader_epoch != replica.seen.partition.leader_epoch;
        replica.seen = metadata;
        let partition = &replica.seen.partition;
        if !partition.replicas.contains(&at) {
            // Its log goes with it.
            (replica.log, replica.role, replica.high_watermark) = (Log::default(), Role::None, Offset::ZERO);
            replica.seen.partition.leader_epoch = LeaderEpoch(-1);
            self.note(format_args!("{at}: is no replica any more"));
            return;
        }
        let mut moved = Moved::default();
        let (epoch, log) = (partition.leader_epoch, &mut replica.log);
        match &mut replica.role {
            Role::Leader(leader) if !new_epoch => moved = leader.update(partition, now),
            _ if !new_epoch => {}
            role => {
                *role = match partition.leader {
                    Some(leader) if leader == at => {
                        log.begin_epoch(epoch);
                        let (own, high_watermark) = (log.ends(), replica.high_watermark);
                        Role::Leader(match role {
                            Role::Leader(before) => before.next(partition, rules, own, now),
                            _ => Leader::new(at, partition, rules, own, high_watermark, now),
                        })
                    }
                    Some(leader) => Role::Follower(match role {
                        Role::Follower(before) => before.next(leader, epoch),
                        _ => Follower::new(leader, epoch, replica.high_watermark),
                    }),
                    None => Role::None,
                };
                if let Role::Leader(leader) = role {
                    moved.high_watermark = Some(leader.high_watermark());
                }
                let what = match role {
                    Role::Leader(leader) => format!("leads epoch {epoch} from {}", leader.epoch_start()),
                    Role::Follower(follower) => format!("follows {} in epoch {epoch}", follower.leader()),
                    Role::None => format!("has no leader in epoch {epoch}"),
                };
                self.note(format_args!("{at}: {what}"));
            }
        }
        self.moved(at, moved);
        self.check();
    }

    fn moved(&mut self, at: BrokerId, moved: Moved) {
        if let Some(high_watermark) = moved.high_watermark {
            let replica = self.replicas.get_mut(&at).expect("a replica");
            assert!(high_watermark >= replica.high_watermark, "the high watermark falls at {at}");
            if high_watermark > replica.high_watermark {
                replica.high_watermark = high_watermark;
                let Role::Leader(leader) = &replica.role else { panic!("{at} leads") };
                assert!(leader.has_enough_in_sync(), "S7: too few in sync at {at}");
                self.note(format_args!("{at}: high watermark {high_watermark}"));
            }
        }
        self.check();
    }

    /// Whether all replicas are alike and in sync.
    pub fn is_whole(&self) -> bool {
        let logs: Vec<&Log> = self.replicas.values().map(|replica| &replica.log).collect();
        self.controller.partition.isr.len() == self.replicas.len()
            && logs
                .windows(2)
                .all(|pair| pair[0].end() == pair[1].end() && pair[0].agrees_with(pair[1], pair[0].end().0))
            && self.replicas.values().all(|replica| replica.high_watermark == replica.log.end())
    }

    /// All faults end, and everybody does his part until all is well.
    pub fn heal(&mut self) {
        let ids: Vec<BrokerId> = self.replicas.keys().copied().collect();
        for &broker in &ids {
            self.start(broker, false);
            self.set_fenced(broker, false);
            if !self.controller.partition.replicas.contains(&broker) {
                self.reassign(broker);
            }
        }
        for _ in 0..200 {
            for &broker in &ids {
                self.see(broker, usize::MAX);
                self.sync(broker);
                self.fetch(broker);
                self.poll(broker);
            }
            self.deliver_all();
            self.pass(MAX_LAG);
            if self.is_whole() {
                return;
            }
        }
        panic!("the replicas do not come together: {:?}", self.controller);
    }

    fn check(&mut self) {
        for (at, replica) in &self.replicas {
            for offset in replica.log.start().0..replica.high_watermark.0 {
                let record = replica.log.get(offset).expect("the high watermark is within the log");
                let place = usize::try_from(offset).expect("not negative");
                match self.committed.get(place) {
                    Some(committed) => {
                        assert_eq!(*committed, record, "S6: {at} has another record at {offset}")
                    }
                    None => {
                        assert_eq!(place, self.committed.len(), "committed without what is before");
                        self.committed.push(record);
                    }
                }
            }
        }
        for member in &self.controller.partition.isr {
            let log = &self.replicas[member].log;
            let has = if self.rules.sync { log.ends().synced } else { log.end() };
            let committed = i64::try_from(self.committed.len()).expect("few");
            assert!(has.0 >= committed, "S5: {member} is in sync, has {has}, and {committed} are committed");
            for offset in log.start().0..committed {
                let expected = self.committed[usize::try_from(offset).expect("not negative")];
                assert_eq!(log.get(offset), Some(expected), "S5: {member} has another record at {offset}");
            }
        }
    }
}

fn list(members: &[BrokerId]) -> String {
    members.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(" ")
}

fn members(proposal: &Proposal) -> String {
    list(&proposal.isr.iter().map(|&(member, _)| member).collect::<Vec<_>>())
}

fn tell(outcome: &Outcome, records: &[Record]) -> String {
    match outcome {
        Outcome::Records { high_watermark, .. } => {
            let records: Vec<String> = records.iter().map(|record| format!("r{}", record.value)).collect();
            format!("[{}], high watermark {high_watermark}", records.join(" "))
        }
        Outcome::Diverging { epoch, end, .. } => format!("diverging, epoch {epoch} ends at {end}"),
        Outcome::OutOfRange { log_start } => format!("out of range, the log starts at {log_start}"),
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stdout, reason = "what led to a failure is to be seen beside it")]
            {
                println!("{}", self.transcript);
            }
        }
    }
}
