//! Applications that read partitions they were assigned: from the start, the end, a time or an offset, with seeks.

use crate::executor::{SimEnv, Violation};
use crate::history::{Op, value_of};
use crate::world::clients::{Machine, Recorder, drawn_pause};
use highwater_client::{ClientError, Consumer, ConsumerConfig, OffsetReset, StartAt};
use highwater_env::{Env, Rng};
use highwater_types::{Offset, PartitionIndex, Timestamp};
use highwater_wire::Str;
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an application lives, on average.
const LIFE: Duration = Duration::from_secs(20);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(500);
/// How long an application waits after an error.
const PAUSE: Duration = Duration::from_millis(200);
/// How far back applications begin that begin at a time, at most.
const BACK_MS: i64 = 20_000;

/// Tells an assignment or seek of a client apart from its others.
#[derive(Default)]
struct Sessions {
    last: u32,
    of: BTreeMap<(Str, PartitionIndex), u32>,
}

impl Sessions {
    fn begin(&mut self, topic: &Str, partition: PartitionIndex) {
        self.last += 1;
        self.of.insert((topic.clone(), partition), self.last);
    }
}

pub(super) async fn run(machine: Machine) {
    let mut rng = machine.rng();
    // How far each partition was read, for seeks that go back.
    let mut seen: BTreeMap<(Str, PartitionIndex), Offset> = BTreeMap::new();
    while let Some(client) = machine.connect().await {
        let mut consumer = match Consumer::new(client, config(&mut rng)) {
            Ok(consumer) => consumer,
            Err(error) => return machine.env.note(&format!("a consumer was not made: {error}")),
        };
        let recorder = machine.recorder();
        let mut sessions = Sessions::default();
        consumer.assign(assignment(&machine, &mut rng, &mut sessions, &seen));
        let ends = machine.env.true_now().after(drawn_pause(&mut rng, LIFE));
        let seeks = machine.shared.workload.seeks;
        let mut next_seek = seeks.map(|mean| machine.env.true_now().after(drawn_pause(&mut rng, mean)));
        while !machine.is_over() && machine.env.true_now() < ends {
            machine.count_operation();
            match consumer.poll(POLL).await {
                Ok(records) => {
                    for record in records {
                        let key = (record.topic.clone(), record.partition);
                        let Some(&session) = sessions.of.get(&key) else { continue };
                        seen.insert(key, record.offset);
                        recorder.saw(Op::Read {
                            topic: record.topic,
                            partition: record.partition,
                            session,
                            offset: record.offset,
                            key: record.key,
                            value: value_of(record.value, &record.headers),
                            timestamp: record.timestamp,
                        });
                    }
                }
                Err(error) => {
                    note(&machine, &recorder, &error);
                    machine.pause(PAUSE).await;
                }
            }
            if let (Some(at), Some(mean)) = (next_seek, seeks)
                && at <= machine.env.true_now()
            {
                seek(&machine, &mut rng, &mut consumer, &mut sessions, &seen);
                next_seek = Some(machine.env.true_now().after(drawn_pause(&mut rng, mean)));
            }
        }
    }
}

fn config(rng: &mut Rng) -> ConsumerConfig {
    ConsumerConfig {
        offset_reset: OffsetReset::Earliest,
        max_wait: Duration::from_millis([20, 100, 400][rng.random_range(0..3usize)]),
        max_bytes: [4 << 10, 64 << 10, 50 << 20][rng.random_range(0..3usize)],
        partition_max_bytes: [512, 16 << 10, 1 << 20][rng.random_range(0..3usize)],
        max_poll_records: [7, 100, 500][rng.random_range(0..3usize)],
        ..ConsumerConfig::default()
    }
}

/// Most partitions, each from a place of its own.
fn assignment(
    machine: &Machine,
    rng: &mut Rng,
    sessions: &mut Sessions,
    seen: &BTreeMap<(Str, PartitionIndex), Offset>,
) -> Vec<(Str, PartitionIndex, StartAt)> {
    let mut assigned = Vec::new();
    let share = if rng.random_bool(0.5) { 1.0 } else { 0.6 };
    for topic in &machine.shared.topics {
        for partition in 0..topic.partitions {
            let partition = PartitionIndex(i32::try_from(partition).unwrap_or(i32::MAX));
            if assigned.is_empty() || rng.random_bool(share) {
                let topic = Str::from(topic.name.as_str());
                let start = place(machine, rng, seen.get(&(topic.clone(), partition)).copied());
                sessions.begin(&topic, partition);
                assigned.push((topic, partition, start));
            }
        }
    }
    assigned
}

fn place(machine: &Machine, rng: &mut Rng, seen: Option<Offset>) -> StartAt {
    match (rng.random_range(0..5u32), seen) {
        (0, _) => StartAt::Earliest,
        (1, _) => StartAt::Latest,
        (2, _) => {
            let now = machine.env.clock().wall();
            StartAt::Time(Timestamp((now.0 - rng.random_range(0..BACK_MS)).max(0)))
        }
        // Where it left off is the most usual place.
        (3, Some(seen)) => StartAt::Offset(Offset(rng.random_range(0..=seen.0))),
        (_, Some(seen)) => StartAt::Offset(seen.next()),
        (_, None) => StartAt::Earliest,
    }
}

fn seek(
    machine: &Machine,
    rng: &mut Rng,
    consumer: &mut Consumer<SimEnv>,
    sessions: &mut Sessions,
    seen: &BTreeMap<(Str, PartitionIndex), Offset>,
) {
    let assigned: Vec<_> = sessions.of.keys().cloned().collect();
    if assigned.is_empty() {
        return;
    }
    let key = assigned[rng.random_range(0..assigned.len())].clone();
    let to = place(machine, rng, seen.get(&key).copied());
    if consumer.seek(&key.0, key.1, to).is_ok() {
        sessions.begin(&key.0, key.1);
    }
}

/// A client that is given bytes which do not check out was served damage.
fn note(machine: &Machine, recorder: &Recorder, error: &ClientError) {
    machine.env.note(&format!("client {} cannot read: {error}", recorder.client()));
    let served = matches!(error, ClientError::Corrupt { .. } | ClientError::Protocol { .. });
    if served && !machine.shared.tolerant {
        let message = format!("client {} was served what nobody sent: {error}", recorder.client());
        machine.env.violate(Violation::new("H3", message));
    }
}
