//! Members of a consumer group that come and go, crash, fall asleep and come back as if nothing had been; some under a
//! name that they keep, and now and then two of them under the same.

use crate::executor::SimEnv;
use crate::history::{FinalState, Op, Outcome};
use crate::world::clients::{Machine, Recorder, drawn_pause};
use highwater_client::{
    Admin, Client, ClientError, ConsumedRecord, ConsumerConfig, GroupConfig, GroupConsumer, OffsetReset,
    Positions, Rebalance,
};
use highwater_env::{Env, Rng, sleep, timeout};
use highwater_types::{Offset, PartitionIndex};
use highwater_wire::Str;
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// The group.
const GROUP: &str = "readers";
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
/// How often it is asked what is committed.
const WATCH: Duration = Duration::from_millis(1500);
/// How long the group may take to read all there is when faults are over.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// A member and what it has read that it did not commit.
struct Reading {
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
        // Two machines share each name.
        let instance = rng.random_bool(0.3).then(|| format!("member-{}", index / 2));
        let Some(mut reading) = Reading::new(&machine, client, instance) else { return };
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

/// A member sleeps, and goes on as if nothing had been.
async fn sleep_on(machine: &Machine, rng: &mut Rng, reading: &mut Reading) {
    machine.pause(Duration::from_millis(rng.random_range(0..LONGEST_SLEEP.as_millis() as u64))).await;
    reading.commit().await;
}

impl Reading {
    fn new(machine: &Machine, client: Client<SimEnv>, instance: Option<String>) -> Option<Self> {
        let config = GroupConfig {
            instance,
            session_timeout: SESSION,
            heartbeat_interval: HEARTBEAT,
            max_poll_interval: MAX_POLL_INTERVAL,
            auto_commit: None,
            from_beginning: true,
            consumer: ConsumerConfig { offset_reset: OffsetReset::Earliest, ..ConsumerConfig::default() },
            ..GroupConfig::new(GROUP)
        };
        let topics = machine.shared.topics.iter().map(|topic| topic.name.as_str());
        match GroupConsumer::new(client, topics, config) {
            Ok(consumer) => Some(Self {
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
        let records = self.consumer.poll(POLL).await?;
        for rebalance in self.consumer.take_rebalances() {
            match rebalance {
                Rebalance::Assigned(partitions) => self.assigned(partitions),
                Rebalance::Revoked(_) | Rebalance::Lost(_) => self.uncommitted.clear(),
            }
        }
        for record in records {
            self.read(record);
        }
        Ok(())
    }

    fn assigned(&mut self, partitions: Vec<(Str, PartitionIndex)>) {
        self.sessions.clear();
        for key in &partitions {
            self.last_session += 1;
            self.sessions.insert(key.clone(), self.last_session);
        }
        let (member, generation) = self.member();
        self.recorder.saw(Op::Assigned { group: Str::from_static(GROUP), member, generation, partitions });
    }

    fn member(&self) -> (Str, i32) {
        self.consumer
            .member()
            .map_or_else(|| (Str::new(), -1), |(id, generation)| (Str::from(id), generation))
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
            value: record.value,
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
            group: Str::from_static(GROUP),
            member,
            generation,
            offsets: listed(&offsets),
            answer: Outcome::Open,
        });
        let outcome = match self.consumer.commit_offsets(offsets).await {
            Ok(()) => Outcome::Ok(()),
            // It is repeated by itself, and an earlier attempt may have been carried out.
            Err(error) => Outcome::Unknown(error.to_string()),
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

/// Asks again and again how far the group has read.
pub(super) async fn watch(machine: Machine) {
    let mut rng = machine.rng();
    let recorder = machine.recorder();
    while let Some(client) = machine.connect().await {
        let admin = Admin::new(client);
        machine.pause(drawn_pause(&mut rng, WATCH)).await;
        if machine.is_over() {
            return;
        }
        let _ = look(&recorder, &admin).await;
    }
}

async fn look(recorder: &Recorder, admin: &Admin<SimEnv>) -> Result<Positions, ClientError> {
    let id = recorder.begin(Op::Committed { group: Str::from_static(GROUP), answer: Outcome::Open });
    let result = admin.group_offsets(GROUP).await;
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

/// A fresh member reads what is left for the group; an error says what it did not get to.
pub(crate) async fn drain(machine: &Machine, state: &FinalState) -> Result<(), String> {
    if machine.shared.workload.members == 0 {
        return Ok(());
    }
    let client = machine.try_connect().await.map_err(|error| error.to_string())?;
    let admin = Admin::new(client.clone());
    let mut reading = Reading::new(machine, client, None).ok_or("no member can be made")?;
    let drained = timeout(machine.env.clock(), DRAINED_WITHIN, async {
        loop {
            if let Err(error) = reading.poll(machine).await {
                machine.env.note(&format!("the last member cannot read: {error}"));
                sleep(machine.env.clock(), PAUSE).await;
            }
            reading.commit().await;
            if let Ok(positions) = look(&reading.recorder, &admin).await
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
    let positions = admin.group_offsets(GROUP).await.map_err(|error| error.to_string())?;
    let place = behind(machine, state, &positions).unwrap_or_else(|| "everything, though late".to_owned());
    Err(format!("the group has not committed {place} {DRAINED_WITHIN:?} after a fresh member joined"))
}

/// A partition that the group has not read to its end.
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
