//! A producer of one log: sends batches in order, waits for their sync, repeats what it has no answer for.

use super::checks::Detail;
use super::ghost::{Fate, Ghost, Sent};
use crate::checkers::durable;
use crate::disk::SimDisk;
use crate::executor::{SimEnv, Violation};
use bytes::Bytes;
use highwater_env::{Env, Rng};
use highwater_log::{AppendError, Appended, Log};
use highwater_records::{Batch, BatchBuilder, BatchHeader, Codec, Header};
use highwater_types::{LeaderEpoch, LogId, ProducerEpoch, ProducerId, Timestamp};
use rand::RngExt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// How many batches an idempotent producer may have without an answer, and a log remembers of it.
const IN_FLIGHT: usize = 5;

/// A batch that was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) batch: Batch,
    values: Vec<u64>,
}

/// What a producer remembers. It outlives the node, as a client does.
#[derive(Clone, Debug)]
pub struct Producer {
    log: LogId,
    number: usize,
    identity: Option<(ProducerId, ProducerEpoch)>,
    next_sequence: i32,
    /// Sent and not answered, oldest first.
    open: VecDeque<Made>,
    /// The last ones that were acknowledged.
    answered: VecDeque<Made>,
    busy: bool,
}

/// Shared by the history and the tasks of the present incarnation.
pub type SharedProducer = Arc<Mutex<Producer>>;

/// What a burst of a producer needs.
#[derive(Clone)]
pub struct Context {
    /// The node.
    pub env: SimEnv,
    /// Its disk.
    pub disk: SimDisk,
    /// The record of what happened.
    pub ghost: Arc<Mutex<Ghost>>,
    /// The leader epoch of the incarnation.
    pub epoch: LeaderEpoch,
}

impl Context {
    /// The record of what happened.
    pub fn ghost(&self) -> std::sync::MutexGuard<'_, Ghost> {
        let mut ghost = self.ghost.lock().expect("no code panics while it holds the ghost");
        ghost.look_at(&self.disk);
        ghost
    }
}

/// When a producer waits for the sync of what it appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// After each batch.
    Each,
    /// When all are appended.
    AtTheEnd,
    /// It does not.
    Never,
}

/// How a burst went on after a batch.
enum Step {
    Next,
    Stop,
}

impl Made {
    /// What a read will tell of the batch.
    fn detail(&self, appended: &Appended) -> Detail {
        let records = self.batch.records().expect("the batch was made here").map(|record| {
            let record = record.expect("the batch was made here");
            (appended.base_offset.plus(record.offset.0), appended.append_time.unwrap_or(record.timestamp))
        });
        let records =
            records.zip(&self.values).map(|((offset, timestamp), &value)| (offset, timestamp, value));
        Detail { bytes: self.batch.header().size_bytes(), records: records.collect() }
    }
}

impl Producer {
    /// A producer without history.
    pub fn new(log: LogId, number: usize, identity: Option<ProducerId>) -> SharedProducer {
        Arc::new(Mutex::new(Self {
            log,
            number,
            identity: identity.map(|id| (id, ProducerEpoch(0))),
            next_sequence: 0,
            open: VecDeque::new(),
            answered: VecDeque::new(),
            busy: false,
        }))
    }

    /// The node is gone, and whatever task worked for the producer.
    pub fn restart(&mut self) {
        self.busy = false;
    }

    /// Gives up what has no answer, and begins a new life: what the log holds of it may be gone.
    pub fn forget(&mut self) {
        self.abandon();
    }

    /// Whether a burst is under way.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Which log it writes to.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Takes the producer for a burst; false if it has one already.
    pub fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.busy, true)
    }

    /// Whether another batch may be sent before there are more answers.
    pub fn has_room(&self) -> bool {
        self.open.len() < IN_FLIGHT
    }

    /// Makes a batch, which has no answer yet.
    pub(super) fn open(&mut self, ghost: &mut Ghost, rng: &mut Rng, now: Timestamp) -> Made {
        let made = self.make(ghost, rng, now);
        self.open.push_back(made.clone());
        made
    }

    fn make(&mut self, ghost: &mut Ghost, rng: &mut Rng, now: Timestamp) -> Made {
        let codec = if rng.random_bool(0.2) { Codec::Lz4 } else { Codec::None };
        let mut builder = BatchBuilder::new(codec, 1 << 20);
        let count = if rng.random_bool(0.7) { 1 } else { rng.random_range(2..6) };
        let padding = if rng.random_bool(0.1) { rng.random_range(0..600) } else { rng.random_range(0..60) };
        let mut values = Vec::new();
        for _ in 0..count {
            let sent = Sent { log: self.log, producer: self.number, fate: Fate::Open };
            let value = ghost.value(sent);
            let timestamp = Timestamp(now.0 + rng.random_range(-50..50));
            let padding = vec![value as u8; padding];
            let headers = [Header { key: "padding".into(), value: Some(padding.into()) }];
            let taken = builder.try_push(timestamp, None, Some(&value.to_be_bytes()), &headers);
            assert!(taken, "a few small records fit into a batch");
            values.push(value);
        }
        if let Some((id, epoch)) = self.identity {
            builder.set_producer(id, epoch, self.next_sequence);
            self.next_sequence += count;
        }
        let batch = Batch::check(builder.build()).expect("the builder makes valid batches");
        Made { batch, values }
    }

    /// Gives up what is open: a client that restarts, or one that is not idempotent.
    fn abandon(&mut self) {
        self.open.clear();
        self.answered.clear();
        if let Some((_, epoch)) = &mut self.identity {
            epoch.0 += 1;
            self.next_sequence = 0;
        }
    }
}

/// Locks a producer; never across a suspension.
pub fn lock(producer: &SharedProducer) -> std::sync::MutexGuard<'_, Producer> {
    producer.lock().expect("no code panics while it holds a producer")
}

/// Appends some batches and waits for their sync, several at once.
pub async fn burst(context: Context, log: Log<SimEnv>, producer: SharedProducer, mut rng: Rng) {
    let result = run(&context, &log, &producer, &mut rng).await;
    lock(&producer).busy = false;
    if let Err(violation) = result {
        context.env.violate(violation);
    }
}

async fn run(
    context: &Context,
    log: &Log<SimEnv>,
    producer: &SharedProducer,
    rng: &mut Rng,
) -> Result<(), Violation> {
    let mut sends: Vec<Made> = Vec::new();
    {
        let mut producer = lock(producer);
        let idempotent = producer.identity.is_some();
        if (!idempotent && !producer.open.is_empty()) || rng.random_bool(0.03) {
            producer.abandon();
        }
        if idempotent
            && rng.random_bool(0.2)
            && producer.open.is_empty()
            && let Some(made) = producer.answered.get(rng.random_range(0..IN_FLIGHT))
        {
            // A repeat that the network held back comes after its first one was answered.
            sends.push(made.clone());
        }
        sends.extend(producer.open.iter().cloned());
        let now = context.env.true_time();
        let room = IN_FLIGHT - sends.len().min(IN_FLIGHT);
        for _ in 0..rng.random_range(0..=room) {
            sends.push(producer.open(&mut context.ghost(), rng, now));
        }
    }
    let patience = if rng.random_bool(0.7) { Patience::AtTheEnd } else { Patience::Each };
    deliver(context, log, producer, sends, patience).await
}

/// Appends so many new batches behind those that have no answer yet.
pub async fn send(
    context: &Context,
    log: &Log<SimEnv>,
    producer: &SharedProducer,
    rng: &mut Rng,
    count: usize,
    patience: Patience,
) -> Result<(), Violation> {
    let sends = {
        let mut producer = lock(producer);
        let now = context.env.true_time();
        for _ in 0..count {
            producer.open(&mut context.ghost(), rng, now);
        }
        producer.open.iter().cloned().collect()
    };
    deliver(context, log, producer, sends, patience).await
}

async fn deliver(
    context: &Context,
    log: &Log<SimEnv>,
    producer: &SharedProducer,
    sends: Vec<Made>,
    patience: Patience,
) -> Result<(), Violation> {
    let mut waiting = VecDeque::new();
    for made in sends {
        let now = context.env.clock().wall();
        let (step, appended) = match log.append(&made.batch, context.epoch, now).await {
            Ok(appended) => (Step::Next, Some(appended)),
            Err(error) => (refused(context, log.id(), &made, &error)?, None),
        };
        if let Some(appended) = appended {
            check_duplicate(context, log.id(), &made, &appended)?;
            if !appended.duplicate {
                let (base, time) = (appended.base_offset, appended.append_time);
                let bytes = made.batch.assigned(base, context.epoch, time).to_bytes();
                keep_for_repair(context, log.id(), bytes);
            }
            waiting.push_back((made, appended));
        }
        if matches!(step, Step::Stop) {
            break;
        }
        if patience == Patience::Each {
            acknowledge(context, log, producer, &mut waiting).await?;
        }
    }
    if patience == Patience::Never {
        return Ok(());
    }
    acknowledge(context, log, producer, &mut waiting).await
}

/// Another replica has the batch, too.
pub(super) fn keep_for_repair(context: &Context, log: LogId, batch: Bytes) {
    if let Some(known) = context.ghost().logs.get_mut(&log)
        && let Ok(header) = BatchHeader::parse(&batch)
    {
        known.replica.insert((header.leader_epoch, header.base_offset), batch);
    }
}

/// What an error says of a batch.
fn refused(context: &Context, log: LogId, made: &Made, error: &AppendError) -> Result<Step, Violation> {
    let mut ghost = context.ghost();
    match error {
        AppendError::OutOfOrderSequence { .. } | AppendError::StaleProducerEpoch { .. } if ghost.strict() => {
            let message = format!("{log}: batch {:?} of a producer that counts right: {error}", made.values);
            return Err(Violation::new("H5", message));
        }
        // An idempotent producer tries again, and the limit may have changed.
        AppendError::LargerThanSegment { .. } if !made.batch.header().has_producer() => {
            for value in &made.values {
                if let Some(sent) = ghost.sent.get_mut(value) {
                    sent.fate = Fate::Refused;
                }
            }
        }
        AppendError::OffsetsExhausted => {
            return Err(Violation::new("S9", format!("{log}: {error}")));
        }
        _ => {}
    }
    Ok(Step::Stop)
}

/// A repeat must be answered with the offset at which the first one stands.
fn check_duplicate(context: &Context, log: LogId, made: &Made, appended: &Appended) -> Result<(), Violation> {
    let ghost = context.ghost();
    let Some(logs) = ghost.logs.get(&log) else { return Ok(()) };
    let base = appended.base_offset;
    if !appended.duplicate || base < logs.start || !ghost.strict() {
        return Ok(());
    }
    let header = made.batch.header();
    let expected =
        header.has_producer().then_some((header.producer_id, header.producer_epoch, header.base_sequence));
    match logs.batches.get(&base) {
        Some(batch) if batch.producer == expected => Ok(()),
        other => Err(Violation::new(
            "H5",
            format!(
                "{log}: a repeat of {:?} is said to stand at {base}, where there is {other:?}",
                made.values
            ),
        )),
    }
}

/// Waits for what was appended, and notes what is acknowledged.
pub(super) async fn acknowledge(
    context: &Context,
    log: &Log<SimEnv>,
    producer: &SharedProducer,
    waiting: &mut VecDeque<(Made, Appended)>,
) -> Result<(), Violation> {
    while let Some((made, appended)) = waiting.pop_front() {
        if log.wait_synced(appended.end_offset).await.is_err() {
            waiting.clear();
            return Ok(());
        }
        note_acknowledged(context, log.id(), &made, &appended)?;
        let mut producer = lock(producer);
        let before = producer.open.len();
        producer.open.retain(|open| open.values != made.values);
        if producer.open.len() < before {
            if producer.answered.len() == IN_FLIGHT {
                producer.answered.pop_front();
            }
            producer.answered.push_back(made);
        }
    }
    Ok(())
}

fn note_acknowledged(
    context: &Context,
    log: LogId,
    made: &Made,
    appended: &Appended,
) -> Result<(), Violation> {
    let mut ghost = context.ghost();
    let strict = ghost.strict();
    let Ghost { logs, sent, acknowledged, .. } = &mut *ghost;
    let Some(known) = logs.get_mut(&log) else { return Ok(()) };
    let base = appended.base_offset;
    for value in &made.values {
        if let Some(sent) = sent.get_mut(value) {
            sent.fate = Fate::Acknowledged;
        }
        *acknowledged += 1;
    }
    if base < known.start || known.deleted || !strict {
        return Ok(());
    }
    if appended.end_offset > known.synced {
        let text = format!(
            "{log}: {base} is acknowledged up to {}, and {} is synced",
            appended.end_offset, known.synced
        );
        return Err(Violation::new("S14", text));
    }
    let Some(batch) = known.batches.get_mut(&base) else {
        let text = format!("{log}: {:?} is acknowledged at {base}, where nothing was appended", made.values);
        return Err(Violation::new("H2", text));
    };
    batch.firm = true;
    if batch.detail.is_none() {
        batch.detail = Some(made.detail(appended));
    }
    let (last, checksum) = (batch.last, batch.checksum);
    if !durable::holds(&context.disk, log, base, last, checksum) {
        let text = format!("{log}: {base}..={last} ({checksum:08x}) is acknowledged and not durable");
        return Err(Violation::new("S14", text));
    }
    Ok(())
}
