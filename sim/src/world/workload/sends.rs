//! Records that are sent, and what comes of each.

use crate::executor::SimEnv;
use crate::history::{Op, Outcome, tombstone, value_of};
use crate::world::clients::{Machine, Recorder};
use bytes::Bytes;
use highwater_client::{Acks, ClientError, Delivered, Delivery, Producer, ProducerRecord};
use highwater_env::{Env, Rng};
use highwater_faults::{TopicSpec, WorkloadSpec};
use highwater_records::Header;
use highwater_types::{Offset, PartitionIndex, Timestamp};
use highwater_wire::ErrorCode;
use rand::RngExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many of the records for a compacted topic delete their keys.
const TOMBSTONE_SHARE: f64 = 0.15;

/// Where records come from. No value comes twice in a run.
pub(super) struct Spring {
    env: SimEnv,
    workload: WorkloadSpec,
    topics: Vec<TopicSpec>,
    next: u64,
}

impl Spring {
    pub(super) fn new(machine: &Machine) -> Self {
        let shared = &machine.shared;
        Self {
            env: machine.env.clone(),
            workload: shared.workload.clone(),
            topics: shared.topics.clone(),
            next: 0,
        }
    }

    /// A spring for one topic alone.
    pub(super) fn of(machine: &Machine, topic: TopicSpec) -> Self {
        Self { topics: vec![topic], ..Self::new(machine) }
    }

    /// A value that no other record has: who sent it, which it is, and filling.
    pub(super) fn value(&mut self, rng: &mut Rng, client: u32) -> Bytes {
        self.next += 1;
        let mut value = format!("{client}/{}/", self.next).into_bytes();
        let length = rng.random_range(self.workload.value_bytes.clone()) as usize;
        // The filling compresses, but not to nothing.
        while value.len() < length {
            value.push(b'a' + rng.random_range(0..8u8));
        }
        value.into()
    }

    /// One of the keys; low ones come much more often.
    pub(super) fn key(&self, rng: &mut Rng) -> Option<Bytes> {
        if self.workload.keys == 0 || rng.random_bool(self.workload.keyless_share.clamp(0.0, 1.0)) {
            return None;
        }
        let skewed = rng.random_range(0.0..1.0f64).powi(3);
        Some(format!("key-{}", (f64::from(self.workload.keys) * skewed) as u32).into())
    }

    /// The time that an application writes into a record: now, as its machine has it, or a little earlier.
    pub(super) fn timestamp(&self, rng: &mut Rng) -> Timestamp {
        let now = self.env.clock().wall();
        if rng.random_bool(0.1) { Timestamp(now.0 - rng.random_range(0..3_000)) } else { now }
    }

    pub(super) fn record(&mut self, rng: &mut Rng, client: u32) -> ProducerRecord {
        let topic = self.topics[rng.random_range(0..self.topics.len())].clone();
        let partitions = i32::try_from(topic.partitions.max(1)).unwrap_or(i32::MAX);
        let mut record = ProducerRecord::new(topic.name.as_str(), Bytes::new());
        let is_compacted =
            topic.configs.get("cleanup.policy").is_some_and(|policy| policy.contains("compact"));
        record.key = self.key(rng);
        let value = self.value(rng, client);
        if is_compacted && rng.random_bool(TOMBSTONE_SHARE) {
            let value = Some(tombstone(&value));
            (record.value, record.headers) =
                (None, vec![Header { key: Bytes::from_static(b"value"), value }]);
        } else {
            record.value = Some(value);
        }
        record.timestamp = Some(self.timestamp(rng));
        if record.key.is_none() && rng.random_bool(0.5) {
            record.partition = Some(PartitionIndex(rng.random_range(0..partitions)));
        }
        record
    }
}

/// The sends of one producer.
#[derive(Clone)]
pub(super) struct Sends(Arc<Inner>);

struct Inner {
    machine: Machine,
    recorder: Recorder,
    acks: Acks,
    idempotent: bool,
    next: AtomicU64,
    open: AtomicUsize,
    broken: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Sends {
    pub(super) fn new(machine: &Machine, acks: Acks, idempotent: bool) -> Self {
        Self(Arc::new(Inner {
            machine: machine.clone(),
            recorder: machine.recorder(),
            acks,
            idempotent,
            next: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            failures: Mutex::default(),
        }))
    }

    /// The number of the client.
    pub(super) fn client(&self) -> u32 {
        self.0.recorder.client()
    }

    /// How many wait for their outcome.
    pub(super) fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Whether the producer met an error after which an application makes a new one.
    pub(super) fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// Sends a record, and writes down its outcome when it comes.
    pub(super) async fn send(&self, producer: &Producer<SimEnv>, record: ProducerRecord) {
        let inner = &self.0;
        let acks = match inner.acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        };
        let id = inner.recorder.begin(Op::Send {
            topic: record.topic.clone(),
            partition: record.partition,
            key: record.key.clone(),
            value: value_of(record.value.clone(), &record.headers).unwrap_or_default(),
            timestamp: record.timestamp.unwrap_or_default(),
            acks,
            idempotent: inner.idempotent,
            number: inner.next.fetch_add(1, Ordering::Relaxed),
            outcome: Outcome::Open,
        });
        match producer.send(record).await {
            Ok(delivery) => {
                inner.open.fetch_add(1, Ordering::Relaxed);
                inner.machine.work("delivery", self.clone().outcome(id, delivery));
            }
            // It was never queued.
            Err(error) => self.settle(id, Outcome::Failed(error.to_string())),
        }
    }

    async fn outcome(self, id: usize, delivery: Delivery) {
        let outcome = match delivery.await {
            Ok(Delivered { partition, offset, timestamp }) => {
                Outcome::Ok((partition, offset.unwrap_or(Offset(-1)), timestamp))
            }
            Err(error) => {
                let fatal = [
                    ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
                    ErrorCode::UNKNOWN_PRODUCER_ID,
                    ErrorCode::INVALID_PRODUCER_EPOCH,
                    ErrorCode::PRODUCER_FENCED,
                ];
                if error.code().is_some_and(|code| fatal.contains(&code)) {
                    self.0.broken.store(true, Ordering::Relaxed);
                }
                failed(&error)
            }
        };
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.settle(id, outcome);
    }

    /// What was not written, for certain or not, and why.
    pub(super) fn failures(&self) -> Vec<String> {
        self.0.failures.lock().expect("nobody panics who holds them").clone()
    }

    fn settle(&self, id: usize, settled: Outcome<(PartitionIndex, Offset, Timestamp)>) {
        if let Outcome::Failed(why) | Outcome::Unknown(why) = &settled {
            let mut failures = self.0.failures.lock().expect("nobody panics who holds them");
            failures.push(format!("a record was not taken: {why}"));
        }
        self.0.recorder.end(id, |op| {
            if let Op::Send { outcome, partition, .. } = op {
                if let Outcome::Ok((told, _, _)) = &settled {
                    *partition = Some(*told);
                }
                *outcome = settled;
            }
        });
    }
}

/// What is known of a record that got an error. An attempt before the one that was refused may have been written; only
/// what is refused the same way each time was not.
fn failed<T>(error: &ClientError) -> Outcome<T> {
    match error {
        ClientError::Refused { code: ErrorCode::MESSAGE_TOO_LARGE, .. } => Outcome::Failed(error.to_string()),
        _ => Outcome::Unknown(error.to_string()),
    }
}
