//! Histories of one compacted log: records with keys, passes of compaction, truncations, crashes at any operation,
//! and, where the disk lies, rot that is mended from a replica that has compacted nothing.
//!
//! What the log shows after each of them is held against the [`model`]: of each key the last record stays, a tombstone
//! for its time, and what it deleted never comes back.

use super::history::{Outcome, finished, machine, rest, store_options};
use super::plan::{Ending, Incarnation, Plan, Regime, pick};
use super::repair::scrub;
use crate::checkers::rules::check;
use crate::disk::{FaultRates, PowerRates, SimDisk};
use crate::executor::{NodeId, SimEnv, Simulation, Violation};
use bytes::BytesMut;
use highwater_env::{Env, Event, File, Purpose, Rng, sleep};
use highwater_log::{CleanupPolicy, Log, LogConfig, LogError, ReadError, ReadSlice, Store};
use highwater_records::{Batch, BatchBuilder, Batches, Codec};
use highwater_types::{LeaderEpoch, LogId, Offset, PartitionIndex, TopicId, Uuid};
use model::{Model, Pair, Shown};
use rand::RngExt;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

mod model;

/// What histories of compacted logs should reach.
pub const MARKS: [&str; 4] = [
    "keyed: cut back below what was compacted",
    "keyed: put back in a compacted log",
    "keyed: records gone",
    "keyed: tombstone gone",
];

const LOG: LogId = LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(0) };

/// Openings and reads that fail in a row, on a disk that has been faultless for the last of them.
const ATTEMPTS: u32 = 200;

/// What is drawn beside a [`Plan`].
#[derive(Clone, Copy, Debug)]
struct Keyed {
    regime: Regime,
    keys: u8,
    map_bytes: usize,
    retention: Duration,
}

/// Everything that outlives the node.
#[derive(Clone)]
struct Shared {
    model: Arc<Mutex<Model>>,
    config: LogConfig,
    keyed: Keyed,
    plan: Arc<Plan>,
    epochs: Arc<AtomicI32>,
}

impl Shared {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().expect("no code panics while it holds the model")
    }
}

/// Runs the history of a seed. With `trace` a failure shows so many events, and disk operations among them.
pub fn run(seed: u64, regime: Regime, trace: Option<usize>) -> Outcome {
    let mut rng = Rng::from_stream(seed, 0x4e7);
    // What rots does so by an action: the other faults are those of an honest disk.
    let plan = Plan::draw(&mut rng, Regime::Honest);
    let retention = Duration::from_millis(*pick(&mut rng, &[0, 300, 5_000]));
    let keys = *pick(&mut rng, &[1, 3, 8, 100]);
    let map_bytes = *pick(&mut rng, &[1, 1 << 16]);
    let config = LogConfig {
        cleanup: CleanupPolicy { delete: false, compact: true },
        delete_retention_ms: retention.as_millis() as u64,
        min_cleanable_dirty_ratio: 0.0,
        retention_ms: None,
        retention_bytes: None,
        ..plan.config.clone()
    };
    let shared = Shared {
        model: Arc::default(),
        config,
        keyed: Keyed { regime, keys, map_bytes, retention },
        plan: Arc::new(plan),
        epochs: Arc::default(),
    };
    let (simulation, node) = machine(seed, &shared.plan, trace);
    let mut crashes = 0;
    let failure = simulation.run(drive(&simulation, node, &shared, &mut crashes)).err();
    let model = shared.model();
    let (acknowledged, compared) = (model.acknowledged, model.compared);
    Outcome { seed, acknowledged, compared, crashes, ..Outcome::of(&simulation, node, failure) }
}

async fn drive(simulation: &Simulation, node: NodeId, shared: &Shared, crashes: &mut u64) {
    let mut rng = simulation.rng(1);
    let last = Incarnation { actions: 20, ending: Ending::Close, rates: FaultRates::default() };
    for incarnation in shared.plan.incarnations.iter().chain([&last, &last]) {
        let ending = incarnation.ending;
        simulation.note(&format!("an incarnation of {} actions, then {ending:?}", incarnation.actions));
        live(simulation, node, shared, incarnation).await;
        *crashes += u64::from(ending != Ending::Close);
        match ending {
            Ending::PowerLoss | Ending::PowerLossAt(_) => {
                simulation.power_loss(node, PowerRates::random(&mut rng));
            }
            Ending::Close | Ending::Crash | Ending::CrashAt(_) => simulation.crash(node),
        }
    }
}

async fn live(simulation: &Simulation, node: NodeId, shared: &Shared, incarnation: &Incarnation) {
    let env = simulation.restart(node);
    let disk = simulation.disk(node);
    disk.set_rates(incarnation.rates.clone());
    let fuse = match incarnation.ending {
        // Compaction takes more operations than an append.
        Ending::CrashAt(operations) | Ending::PowerLossAt(operations) => {
            Some(simulation.fuse(node, 2 * operations))
        }
        Ending::Close | Ending::Crash | Ending::PowerLoss => None,
    };
    let work = {
        let (shared, env, incarnation) = (shared.clone(), env.clone(), incarnation.clone());
        async move {
            if let Err(violation) = work(&shared, &env, &disk, &incarnation).await {
                env.violate(violation);
            }
        }
    };
    finished(env.spawn("keyed", work), fuse).await;
}

async fn work(
    shared: &Shared,
    env: &SimEnv,
    disk: &SimDisk,
    incarnation: &Incarnation,
) -> Result<(), Violation> {
    let mut worker = Worker::open(shared, env, disk).await?;
    worker.mend().await?;
    for _ in 0..4 * incarnation.actions {
        if worker.log.is_poisoned() {
            let _ = worker.store.close().await;
            worker = Worker::open(shared, env, disk).await?;
        }
        worker.act().await?;
    }
    if incarnation.ending == Ending::Close {
        let _ = worker.store.close().await;
    }
    Ok(())
}

/// Who uses the log, for an incarnation or until it fails.
struct Worker<'a> {
    shared: &'a Shared,
    env: &'a SimEnv,
    disk: &'a SimDisk,
    rng: Rng,
    store: Store<SimEnv>,
    log: Log<SimEnv>,
    epoch: LeaderEpoch,
    /// All before this had been proven to be on disk when the log was opened: rot there cannot pass for a torn tail.
    proven: Offset,
    /// Up to here passes went in this incarnation.
    compacted: Offset,
}

impl<'a> Worker<'a> {
    /// Opens the store, as often as the disk makes it necessary.
    async fn open(shared: &'a Shared, env: &'a SimEnv, disk: &'a SimDisk) -> Result<Self, Violation> {
        for attempt in 0..ATTEMPTS {
            if attempt == ATTEMPTS / 2 {
                disk.set_rates(FaultRates::default());
            }
            let (store, reports) = match Store::open(env.clone(), store_options(&shared.plan)).await {
                Ok(opened) => opened,
                Err(error) => {
                    env.note(&format!("opening failed: {error}"));
                    continue;
                }
            };
            let epoch = LeaderEpoch(shared.epochs.fetch_add(1, Ordering::Relaxed));
            let log = match store.log(LOG) {
                Some(log) => log,
                None => match store.create_log(LOG, shared.config.clone()).await {
                    Ok(log) => log,
                    Err(_) => continue,
                },
            };
            let report = reports.iter().find(|report| report.log == LOG);
            let failure = report.and_then(|report| report.failure.clone());
            let started = match failure {
                Some(failure) => Err(failure),
                None => log.start_epoch(epoch).await.map_err(|error| error.to_string()),
            };
            if let Err(failure) = started {
                env.note(&format!("opening the log failed: {failure}"));
                let _ = store.close().await;
                continue;
            }
            shared.model().opened(log.end_offset())?;
            log.set_config(shared.config.clone()).await;
            let proven = report.map_or(Offset::ZERO, |report| report.proven);
            let rng = env.entropy(Purpose::User(7));
            let compacted = Offset::ZERO;
            let mut worker = Self { shared, env, disk, rng, store, log, epoch, proven, compacted };
            worker.check().await?;
            return Ok(worker);
        }
        Err(Violation::new("L3", format!("the log cannot be opened in {ATTEMPTS} attempts")))
    }

    async fn act(&mut self) -> Result<(), Violation> {
        match self.rng.random_range(0..100u32) {
            0..55 => self.append().await,
            55..70 => self.compact().await?,
            70..82 => {
                let most = *pick(&mut self.rng, &[1, 50, 2_000]);
                rest(self.env, Duration::from_millis(most), &mut self.rng).await;
            }
            82..85 => {
                let _ = self.log.roll_if_due(self.env.clock().wall()).await;
            }
            85..89 => self.truncate().await?,
            89..91 => {
                let start = self.log.start_offset();
                let up_to = Offset(self.rng.random_range(start.0..=self.log.synced_end().0.max(start.0)));
                let _ = self.log.delete_records(up_to).await;
            }
            91..94 => self.disk.evict(None),
            94..96 => self.check().await?,
            _ if self.shared.keyed.regime == Regime::Lying => self.rot().await?,
            _ => {}
        }
        Ok(())
    }

    async fn append(&mut self) {
        let base = self.log.end_offset();
        let now = self.env.clock().wall();
        let mut builder = BatchBuilder::new(*pick(&mut self.rng, &[Codec::None, Codec::Lz4]), 1 << 20);
        let mut pairs: Vec<Pair> = Vec::new();
        for _ in 0..*pick(&mut self.rng, &[1, 1, 4]) {
            let key = self.rng.random_range(0..self.shared.keyed.keys);
            let value = self.rng.random_bool(0.7).then(|| self.shared.model().value());
            let bytes = value.map(u64::to_be_bytes);
            let taken = builder.try_push(now, Some(&[key]), bytes.as_ref().map(|bytes| &bytes[..]), &[]);
            assert!(taken, "a few small records fit into a batch");
            pairs.push((key, value));
        }
        let batch = Batch::check(builder.build()).expect("the builder makes valid batches");
        // Noted before: the node may end within the append, and the batch be there all the same.
        self.shared.model().append(base, &pairs, batch.assigned(base, self.epoch, None).to_bytes());
        let Ok(appended) = self.log.append(&batch, self.epoch, now).await else {
            // A log that has failed may show after the next opening what it did not promise.
            if !self.log.is_poisoned() {
                self.shared.model().cut(base);
            }
            return;
        };
        if self.rng.random_bool(0.5) && self.log.wait_synced(appended.end_offset).await.is_ok() {
            self.shared.model().synced(appended.end_offset);
        }
    }

    async fn compact(&mut self) -> Result<(), Violation> {
        let synced = self.log.synced_end();
        let bound = match self.rng.random_bool(0.3) {
            true => Offset(self.rng.random_range(0..=synced.0)),
            false => synced,
        };
        self.shared.model().pass(bound, self.env.clock().wall());
        let patience =
            AtomicU32::new(if self.rng.random_bool(0.2) { self.rng.random_range(0..6) } else { 1_000 });
        let stops = || {
            patience.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
        };
        if let Ok(Some(done)) = self.log.compact(Some(bound), self.shared.keyed.map_bytes, &stops).await {
            self.compacted = self.compacted.max(done.up_to);
        }
        self.check().await
    }

    /// Cuts the log back to where a batch begins, as replication would, below what was compacted, too.
    async fn truncate(&mut self) -> Result<(), Violation> {
        if !self.log.damaged().is_empty() {
            // Where cutting fails half-way, damage before the cut passes for the torn tail.
            return Ok(());
        }
        let Some(shown) = self.show().await? else { return Ok(()) };
        let bases: Vec<Offset> =
            shown.bases.into_iter().filter(|&base| base >= self.log.start_offset()).collect();
        // Not all of it, most of the time.
        let lowest = if self.rng.random_bool(0.8) { bases.len() / 2 } else { 0 };
        let Some(to) =
            bases.get(lowest..).filter(|bases| !bases.is_empty()).map(|bases| *pick(&mut self.rng, bases))
        else {
            return Ok(());
        };
        if to < self.compacted {
            self.env.observe(&Event::Reached("keyed: cut back below what was compacted"));
        }
        self.shared.model().loosen(to);
        // The mark is taken back to before the cut.
        self.proven = Offset::ZERO;
        let truncated = self.log.truncate(to).await;
        let end = self.log.end_offset();
        if self.log.is_poisoned() {
            return Ok(());
        }
        check(truncated.is_err() || end == to, "S8", || {
            format!("it was cut back to {to}, and ends at {end}")
        })?;
        self.shared.model().cut(end);
        self.compacted = self.compacted.min(end);
        self.epoch = LeaderEpoch(self.shared.epochs.fetch_add(1, Ordering::Relaxed));
        self.check().await
    }

    /// Lets a bit of a closed segment rot, finds that, and puts back what a replica has.
    async fn rot(&mut self) -> Result<(), Violation> {
        let mut files: Vec<(Offset, PathBuf, usize)> = Vec::new();
        for (path, content) in self.disk.durable_files() {
            let name =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log"));
            if let Some(base) = name.and_then(|name| name.parse().ok()) {
                files.push((Offset(base), path.clone(), content.len()));
            }
        }
        files.sort();
        let ends: BTreeSet<Offset> = files.iter().map(|(base, ..)| *base).collect();
        files.retain(|(base, _, length)| {
            let end = ends.range(base.next()..).next();
            *length > 0 && end.is_some_and(|&end| end <= self.proven && end > self.log.start_offset())
        });
        if files.is_empty() {
            return Ok(());
        }
        let (_, path, length) = pick(&mut self.rng, &files).clone();
        let position = self.rng.random_range(0..length as u64);
        self.disk.flip_bit(&path, position, self.rng.random_range(0..8));
        self.disk.evict(None);
        scrub(&self.log, &mut self.rng).await;
        self.mend().await
    }

    /// Puts back what is damaged from the log's start on.
    async fn mend(&mut self) -> Result<(), Violation> {
        for _ in 0..3 * self.log.damaged().len() {
            let start = self.log.start_offset();
            let Some(range) = self.log.damaged().into_iter().find(|range| range.end > start) else { break };
            let Some((range, batches)) = self.shared.model().replica(range.start.max(start)..range.end)
            else {
                break;
            };
            // Noted before: the node may end within the repair, and what is put back be there all the same.
            let Some(shown) = self.show().await? else { return Ok(()) };
            self.shared.model().restore(&range, &shown);
            let mut bytes = BytesMut::new();
            batches.iter().for_each(|batch| bytes.extend_from_slice(batch));
            match self.log.repair(bytes.freeze()).await {
                Ok(_) => self.env.observe(&Event::Reached("keyed: put back in a compacted log")),
                Err(LogError::DoesNotFit(reason)) => {
                    return Err(Violation::new("L2", format!("{range:?} cannot be put back: {reason}")));
                }
                Err(_) => return Ok(()),
            }
        }
        self.check().await
    }

    /// Reads all of the log and holds it against the model.
    async fn check(&mut self) -> Result<(), Violation> {
        let Some(shown) = self.show().await? else { return Ok(()) };
        let honest = self.shared.keyed.regime == Regime::Honest;
        check(shown.damaged.is_empty() || !honest, "S10", || {
            format!("{:?} is damaged on an honest disk", shown.damaged)
        })?;
        let (retention, now) = (self.shared.keyed.retention, self.env.clock().wall());
        let mut model = self.shared.model();
        model.check(&shown, retention, now)?;
        let (gone, tombstone) = model.gone(&shown);
        drop(model);
        if gone {
            self.env.observe(&Event::Reached("keyed: records gone"));
        }
        if tombstone {
            self.env.observe(&Event::Reached("keyed: tombstone gone"));
        }
        Ok(())
    }

    /// All that the log shows of what is synced; None if it has failed, or cannot be read just now.
    async fn show(&self) -> Result<Option<Shown>, Violation> {
        let end = self.log.synced_end();
        let mut at = self.log.start_offset();
        let mut shown = Shown { offsets: at..end, ..Shown::default() };
        let mut failures = 0;
        while at < end {
            let bytes = match self.log.read(at, end, 4_096, true).await {
                Ok(ReadSlice::Checked(bytes)) => Some(bytes),
                Ok(ReadSlice::Verified { file, position, length }) => {
                    file.read_at(position, length).await.ok()
                }
                Err(ReadError::Damaged { from, to }) if to > at => {
                    shown.damaged.push(from.max(at)..to);
                    at = to;
                    continue;
                }
                Err(ReadError::Io(_)) => None,
                Err(error) if self.log.is_poisoned() => {
                    self.env.note(&format!("the log has failed: {error}"));
                    return Ok(None);
                }
                Err(error) => return Err(Violation::new("H1", format!("a read at {at} of {end}: {error}"))),
            };
            let Some(bytes) = bytes else {
                failures += 1;
                if failures > ATTEMPTS {
                    return Ok(None);
                }
                sleep(self.env.clock(), Duration::from_millis(1)).await;
                continue;
            };
            at = take(&mut shown, bytes, at)?;
        }
        Ok(Some(shown))
    }
}

/// Takes in what was read at an offset; where to go on.
fn take(shown: &mut Shown, bytes: bytes::Bytes, from: Offset) -> Result<Offset, Violation> {
    let bad = |error: highwater_records::BatchError| Violation::new("H2", format!("at {from}: {error}"));
    let mut at = from;
    for batch in Batches::new(bytes) {
        let batch = batch.map_err(bad)?;
        let (base, next) = (batch.header().base_offset, batch.header().next_offset());
        let follows = base == at || (at == from && base < at && next > at);
        check(follows, "H2", || format!("a read at {from} goes on at {at} with {base}..{next}"))?;
        shown.bases.insert(base);
        at = next;
        for record in batch.records().map_err(bad)? {
            let record = record.map_err(bad)?;
            let key = record.key.as_deref().and_then(|key| key.first().copied());
            let value = record.value.as_deref().map(|value| value.try_into().map(u64::from_be_bytes));
            let (Some(key), Ok(value)) = (key, value.transpose()) else {
                return Err(Violation::new("H2", format!("at {} stands what was never sent", record.offset)));
            };
            shown.records.insert(record.offset, (key, value));
        }
    }
    check(at > from, "H1", || format!("a read at {from} returned nothing"))?;
    Ok(at)
}
