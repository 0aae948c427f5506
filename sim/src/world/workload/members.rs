//! Members of consumer groups: one group for each way of sharing partitions out, and one for two of them. They come
//! and go, crash, fall asleep and come back as if nothing had been; some under a name that they keep, and now and then
//! two of them under the same.

use crate::executor::SimEnv;
use crate::history::{FinalState, Op, Outcome, value_of};
use crate::world::clients::{Machine, Recorder, drawn_pause};
use highwater_client::{
    Admin, ClassicAssignor, Client, ClientError, ConsumedRecord, ConsumerConfig, GroupConfig, GroupConsumer,
    GroupProtocol, OffsetReset, Positions, Rebalance,
};
use highwater_env::{Env, Rng, sleep, timeout};
use highwater_types::{BrokerId, Offset, PartitionIndex};
use highwater_wire::messages::{OffsetFetchRequest, OffsetFetchRequestGroup};
use highwater_wire::{ErrorCode, Str};
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// The groups. The last one has members of both protocols, and moves from one to the other as they come and go.
const GROUPS: [&str; 4] = ["readers", "readers-cooperative", "readers-consumer", "readers-mixed"];
/// Where members say that they are, in turn. Where brokers stand in racks, these are among them.
const RACKS: [Option<&str>; 3] = [Some("a"), Some("b"), None];
/// How long a member lives, on average.
const LIFE: Duration = Duration::from_secs(12);
/// How long a member sleeps that falls asleep, at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
const SESSION: Duration = Duration::from_secs(3);
const HEARTBEAT: Duration = Duration::from_millis(400);
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(300);
/// How long a member waits after an error.
const PAUSE: Duration = Duration::from_millis(300);
/// The last version of OffsetFetch that names topics.
const NAMES_TOPICS: i16 = 9;
/// How often it is asked what is committed.
const WATCH: Duration = Duration::from_millis(1500);
/// How long a group may take to read all there is when faults are over.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// A member and what it has read that it did not commit.
struct Reading {
    group: Str,
    consumer: GroupConsumer<SimEnv>,
    recorder: Recorder,
    uncommitted: Positions,
    /// The number of the assignment, for each partition.
    sessions: BTreeMap<(Str, PartitionIndex), u32>,
    last_session: u32,
}

pub(super) async fn run(machine: Machine, index: usize) {
    let mut rng = machine.rng();
    while let Some(client) = machine.connect().await {
        let group = GROUPS[rng.random_range(0..GROUPS.len())];
        // Two machines share each name.
        let instance = rng.random_bool(0.3).then(|| format!("member-{}", index / 2));
        let config = GroupConfig {
            protocol: protocol(group, &mut rng),
            instance,
            rack: RACKS[index % RACKS.len()].map(str::to_owned),
            ..config(group)
        };
        let Some(mut reading) = Reading::new(&machine, client, group, config) else { return };
        let ends = machine.env.true_now().after(drawn_pause(&mut rng, LIFE));
        let eager = rng.random_bool(0.5);
        while !machine.is_over() && machine.env.true_now() < ends {
            match reading.poll(&machine).await {
                Ok(()) if eager || rng.random_bool(0.3) => reading.commit().await,
                Ok(()) => {}
                Err(error) => {
                    machine.env.note(&format!("a member cannot read: {error}"));
                    machine.pause(PAUSE).await;
                    if error.code().is_some_and(|code| !code.is_retriable()) {
                        // Somebody else has its name.
                        break;
                    }
                }
            }
            if rng.random_bool(0.01) {
                sleep_on(&machine, &mut rng, &mut reading).await;
            }
        }
        if rng.random_bool(0.4) {
            reading.commit().await;
            let _ = reading.consumer.close().await;
        }
        // Otherwise it is gone without a word.
        machine.pause(drawn_pause(&mut rng, SESSION)).await;
    }
}

/// What the members of a group have in common.
fn config(group: &str) -> GroupConfig {
    GroupConfig {
        session_timeout: SESSION,
        heartbeat_interval: HEARTBEAT,
        max_poll_interval: MAX_POLL_INTERVAL,
        auto_commit: None,
        from_beginning: true,
        consumer: ConsumerConfig { offset_reset: OffsetReset::Earliest, ..ConsumerConfig::default() },
        ..GroupConfig::new(group)
    }
}

/// How the members of a group share its partitions out.
fn protocol(group: &str, rng: &mut Rng) -> GroupProtocol {
    match group {
        "readers" => GroupProtocol::Classic { assignor: ClassicAssignor::Range },
        "readers-cooperative" => GroupProtocol::Classic { assignor: ClassicAssignor::CooperativeSticky },
        "readers-mixed" if rng.random_bool(0.5) => {
            GroupProtocol::Classic { assignor: ClassicAssignor::CooperativeSticky }
        }
        _ => {
            let assignors = [None, Some("uniform"), Some("range")];
            let assignor = assignors[rng.random_range(0..assignors.len())].map(str::to_owned);
            GroupProtocol::Consumer { assignor }
        }
    }
}

/// A member sleeps, and goes on as if nothing had been.
async fn sleep_on(machine: &Machine, rng: &mut Rng, reading: &mut Reading) {
    machine.pause(Duration::from_millis(rng.random_range(0..LONGEST_SLEEP.as_millis() as u64))).await;
    reading.commit().await;
}

impl Reading {
    fn new(machine: &Machine, client: Client<SimEnv>, group: &str, config: GroupConfig) -> Option<Self> {
        let topics = machine.shared.topics.iter().map(|topic| topic.name.as_str());
        match GroupConsumer::new(client, topics, config) {
            Ok(consumer) => Some(Self {
                group: Str::from(group),
                consumer,
                recorder: machine.recorder(),
                uncommitted: Positions::new(),
                sessions: BTreeMap::new(),
                last_session: 0,
            }),
            Err(error) => {
                machine.env.note(&format!("a member was not made: {error}"));
                None
            }
        }
    }

    async fn poll(&mut self, machine: &Machine) -> Result<(), ClientError> {
        machine.count_operation();
        let polled = self.consumer.poll(POLL).await;
        for rebalance in self.consumer.take_rebalances() {
            match rebalance {
                Rebalance::Assigned(partitions) => self.assigned(partitions),
                Rebalance::Revoked(partitions) => {
                    self.commit().await;
                    self.end(&partitions);
                }
                Rebalance::Lost(partitions) => self.end(&partitions),
            }
        }
        for record in polled? {
            self.read(record);
        }
        Ok(())
    }

    fn assigned(&mut self, partitions: Vec<(Str, PartitionIndex)>) {
        for key in &partitions {
            self.last_session += 1;
            self.sessions.insert(key.clone(), self.last_session);
        }
        let (member, generation) = self.member();
        self.recorder.saw(Op::Assigned { group: self.group.clone(), member, generation, partitions });
    }

    fn end(&mut self, partitions: &[(Str, PartitionIndex)]) {
        for key in partitions {
            self.sessions.remove(key);
            self.uncommitted.remove(key);
        }
    }

    fn member(&self) -> (Str, i32) {
        self.consumer.member().unwrap_or_else(|| (Str::new(), -1))
    }

    fn read(&mut self, record: ConsumedRecord) {
        let key = (record.topic.clone(), record.partition);
        let Some(&session) = self.sessions.get(&key) else { return };
        self.uncommitted.insert(key, record.offset.next());
        self.recorder.saw(Op::Read {
            topic: record.topic,
            partition: record.partition,
            session,
            offset: record.offset,
            key: record.key,
            value: value_of(record.value, &record.headers),
            timestamp: record.timestamp,
        });
    }

    async fn commit(&mut self) {
        let offsets = std::mem::take(&mut self.uncommitted);
        if offsets.is_empty() {
            return;
        }
        let (member, generation) = self.member();
        let id = self.recorder.begin(Op::Commit {
            group: self.group.clone(),
            member,
            generation,
            offsets: listed(&offsets),
            answer: Outcome::Open,
        });
        let outcome = match self.consumer.commit_offsets(offsets.clone()).await {
            Ok(()) => Outcome::Ok(()),
            Err(error) => {
                // What stays through a rebalance is committed after it.
                self.uncommitted = offsets;
                // It is repeated by itself, and an earlier attempt may have been carried out.
                Outcome::Unknown(error.to_string())
            }
        };
        self.recorder.end(id, |op| {
            if let Op::Commit { answer, .. } = op {
                *answer = outcome;
            }
        });
    }
}

fn listed(positions: &Positions) -> Vec<(Str, PartitionIndex, Offset)> {
    positions.iter().map(|((topic, partition), offset)| (topic.clone(), *partition, *offset)).collect()
}

/// Asks again and again how far a group has read: its coordinator, or any broker, which must know whether it is one.
pub(super) async fn watch(machine: Machine) {
    let mut rng = machine.rng();
    let recorder = machine.recorder();
    while let Some(client) = machine.connect().await {
        machine.pause(drawn_pause(&mut rng, WATCH)).await;
        if machine.is_over() {
            return;
        }
        let group = GROUPS[rng.random_range(0..GROUPS.len())];
        let brokers: Vec<BrokerId> = client.metadata().brokers.keys().copied().collect();
        if rng.random_bool(0.5) && !brokers.is_empty() {
            let broker = brokers[rng.random_range(0..brokers.len())];
            let _ = look(&recorder, group, offsets_at(&client, group, broker)).await;
        } else {
            let admin = Admin::new(client);
            let _ = look(&recorder, group, admin.group_offsets(group)).await;
        }
    }
}

/// How far the group has read, by the word of one broker.
async fn offsets_at(
    client: &Client<SimEnv>,
    group: &str,
    broker: BrokerId,
) -> Result<Positions, ClientError> {
    let asked = OffsetFetchRequestGroup { group_id: Str::from(group), ..OffsetFetchRequestGroup::default() };
    let request =
        OffsetFetchRequest { groups: vec![asked], require_stable: true, ..OffsetFetchRequest::default() };
    let answer = client.call(broker, &request, NAMES_TOPICS).await?;
    let mut positions = Positions::new();
    for found in answer.groups {
        if found.error_code != ErrorCode::NONE {
            let what = group.to_owned();
            return Err(ClientError::Refused { what, code: found.error_code, message: None });
        }
        for topic in found.topics {
            let places = topic.partitions.iter().filter(|part| part.committed_offset >= Offset::ZERO);
            let name = &topic.name;
            positions
                .extend(places.map(|part| ((name.clone(), part.partition_index), part.committed_offset)));
        }
    }
    Ok(positions)
}

async fn look(
    recorder: &Recorder,
    group: &str,
    asked: impl Future<Output = Result<Positions, ClientError>>,
) -> Result<Positions, ClientError> {
    let id = recorder.begin(Op::Committed { group: Str::from(group), answer: Outcome::Open });
    let result = asked.await;
    let outcome = match &result {
        Ok(positions) => Outcome::Ok(listed(positions)),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    recorder.end(id, |op| {
        if let Op::Committed { answer, .. } = op {
            *answer = outcome;
        }
    });
    result
}

/// A fresh member of each group reads what is left for it; an error says what it did not get to.
pub(crate) async fn drain(machine: &Machine, state: &FinalState) -> Result<(), String> {
    if machine.shared.workload.members == 0 {
        return Ok(());
    }
    let mut rng = machine.rng();
    for group in GROUPS {
        drain_group(machine, state, group, protocol(group, &mut rng)).await?;
    }
    Ok(())
}

async fn drain_group(
    machine: &Machine,
    state: &FinalState,
    group: &str,
    protocol: GroupProtocol,
) -> Result<(), String> {
    let client = machine.try_connect().await.map_err(|error| error.to_string())?;
    let admin = Admin::new(client.clone());
    let mut reading = Reading::new(machine, client, group, GroupConfig { protocol, ..config(group) })
        .ok_or("no member can be made")?;
    let drained = timeout(machine.env.clock(), DRAINED_WITHIN, async {
        loop {
            if let Err(error) = reading.poll(machine).await {
                machine.env.note(&format!("the last member of {group} cannot read: {error}"));
                sleep(machine.env.clock(), PAUSE).await;
            }
            reading.commit().await;
            if let Ok(positions) = look(&reading.recorder, group, admin.group_offsets(group)).await
                && behind(machine, state, &positions).is_none()
            {
                return;
            }
        }
    });
    if drained.await.is_ok() {
        let _ = reading.consumer.close().await;
        return Ok(());
    }
    let positions = admin.group_offsets(group).await.map_err(|error| error.to_string())?;
    let place = behind(machine, state, &positions).unwrap_or_else(|| "everything, though late".to_owned());
    Err(format!("group {group} has not committed {place} {DRAINED_WITHIN:?} after a fresh member joined"))
}

/// A partition that a group has not read to its end.
fn behind(machine: &Machine, state: &FinalState, positions: &Positions) -> Option<String> {
    let topics = &machine.shared.topics;
    let ours =
        state.partitions.iter().filter(|((name, _), _)| topics.iter().any(|topic| topic.name == **name));
    let mut late = ours.filter(|(key, partition)| {
        let at = positions.get(*key).copied().unwrap_or(Offset(-1));
        partition.end > partition.start && at < partition.end
    });
    late.next().map(|((topic, partition), state)| {
        let at = positions.get(&(topic.clone(), *partition));
        let at = at.map_or_else(|| "nothing".to_owned(), |at| format!("{at}"));
        format!("{topic}-{partition} up to {} ({at} is)", state.end)
    })
}
