//! One history: a store that is used, crashes, recovers and is held against the record, again and again.

use super::checks::LogGhost;
use super::ghost::Ghost;
use super::plan::{Ending, Incarnation, Plan, Regime};
use super::producer::{Context, Producer, SharedProducer, lock as lock_producer};
use super::workload;
use crate::disk::{FaultCounts, FaultRates, PowerRates, SimDisk};
use crate::executor::{Failure, NodeId, SimEnv, Simulation, Violation};
use highwater_env::{Disk, Env, Rng, Task, TaskEnd};
use highwater_log::{AppendError, Log, LogConfig, RecoveryReport, Store, StoreError, StoreOptions};
use highwater_types::{BrokerId, LeaderEpoch, LogId, PartitionIndex, ProducerId, Timestamp, TopicId, Uuid};
use rand::RngExt;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

/// The directory of the store.
pub const DIR: &str = "/data";

/// Openings that fail in a row, on a disk that has been faultless for the last of them.
const OPEN_ATTEMPTS: u32 = 30;

/// Far more polls than any history takes.
const MOST_STEPS: u64 = 3_000_000;

/// What came of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How it failed, if it did.
    pub failure: Option<Failure>,
    /// The newest events before the failure.
    pub events: Vec<String>,
    /// The hash of all its events.
    pub hash: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Batches read and compared after recoveries.
    pub compared: u64,
    /// Power losses and process crashes.
    pub crashes: u64,
    /// Disk operations.
    pub operations: u64,
    /// Faults that were injected.
    pub faults: FaultCounts,
    /// Reach marks that were passed.
    pub reached: BTreeMap<&'static str, u64>,
}

/// What the tasks of a history share.
#[derive(Clone)]
pub struct Shared {
    /// The record of what happened.
    pub ghost: Arc<Mutex<Ghost>>,
    /// The clients, who outlive the node.
    pub producers: Arc<Mutex<Vec<SharedProducer>>>,
    /// The configurations of the logs.
    pub configs: Arc<Mutex<BTreeMap<LogId, LogConfig>>>,
    /// The plan.
    pub plan: Arc<Plan>,
    epochs: Arc<AtomicI32>,
}

impl Shared {
    /// What a plan starts with.
    pub fn new(plan: Plan) -> Self {
        Self {
            ghost: Arc::new(Mutex::new(Ghost::new())),
            producers: Arc::default(),
            configs: Arc::default(),
            plan: Arc::new(plan),
            epochs: Arc::default(),
        }
    }

    /// A copy that shares nothing: another future of the same past.
    pub fn fork(&self) -> Self {
        let copy = |producer: &SharedProducer| Arc::new(Mutex::new(lock_producer(producer).clone()));
        Self {
            ghost: Arc::new(Mutex::new(self.ghost().clone())),
            producers: Arc::new(Mutex::new(self.producers().iter().map(copy).collect())),
            configs: Arc::new(Mutex::new(self.configs().clone())),
            plan: self.plan.clone(),
            epochs: Arc::new(AtomicI32::new(self.epochs.load(Ordering::Relaxed))),
        }
    }

    /// The leader epoch that comes next. Others in between are left to leaders whose history this node had no part in.
    pub fn next_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.epochs.fetch_add(3, Ordering::Relaxed))
    }

    /// The record of what happened.
    pub fn ghost(&self) -> MutexGuard<'_, Ghost> {
        self.ghost.lock().expect("no code panics while it holds the ghost")
    }

    /// The clients.
    pub fn producers(&self) -> MutexGuard<'_, Vec<SharedProducer>> {
        self.producers.lock().expect("no code panics while it holds the producers")
    }

    /// The configurations.
    pub fn configs(&self) -> MutexGuard<'_, BTreeMap<LogId, LogConfig>> {
        self.configs.lock().expect("no code panics while it holds the configurations")
    }

    /// Makes later epochs higher than this one.
    fn raise_epoch(&self, above: LeaderEpoch) {
        self.epochs.fetch_max(above.0.saturating_add(1), Ordering::Relaxed);
    }

    /// The clients of a log.
    pub fn producers_of(&self, log: LogId) -> Vec<SharedProducer> {
        let of = |producer: &&SharedProducer| lock_producer(producer).log() == log;
        self.producers().iter().filter(of).cloned().collect()
    }

    /// The node is gone, and with it what worked for the clients.
    pub fn restart_producers(&self) {
        self.producers().iter().for_each(|producer| lock_producer(producer).restart());
    }

    /// Changes what is known of a log.
    pub fn with_log(&self, log: LogId, change: impl FnOnce(&mut LogGhost)) {
        if let Some(log) = self.ghost().logs.get_mut(&log) {
            change(log);
        }
    }

    /// A log that is about to be made, with its clients.
    pub fn expect_log(&self, config: LogConfig) -> LogId {
        let number = self.configs().len() as u64 + 1;
        let log = LogId {
            topic: TopicId(Uuid::from_random(u128::from(number) << 64)),
            partition: PartitionIndex(0),
        };
        let mut ghost = LogGhost::default();
        note_policy(&mut ghost, &config);
        self.ghost().logs.insert(log, ghost);
        self.configs().insert(log, config);
        let mut producers = self.producers();
        for _ in 0..self.plan.producers {
            let number = producers.len();
            let identity = (number % 3 != 2).then_some(ProducerId(number as i64 + 1_000));
            producers.push(Producer::new(log, number, identity));
        }
        log
    }
}

/// Notes what retention a configuration allows.
pub fn note_policy(ghost: &mut LogGhost, config: &LogConfig) {
    if config.retention_ms.is_some() || config.retention_bytes.is_some() {
        ghost.policies.push((config.retention_ms, config.retention_bytes));
    }
}

/// An opened store with its logs.
#[derive(Clone)]
pub struct Opened {
    /// The store.
    pub store: Store<SimEnv>,
    /// What tasks need.
    pub context: Context,
}

/// Runs the history of a seed. With `trace` a failure shows so many events, and disk operations among them.
pub fn run(seed: u64, regime: Regime, trace: Option<usize>) -> Outcome {
    let mut rng = Rng::from_stream(seed, 0x415);
    run_plan(seed, Plan::draw(&mut rng, regime), trace)
}

/// Runs a history with a plan of its own.
pub fn run_plan(seed: u64, plan: Plan, trace: Option<usize>) -> Outcome {
    let (simulation, node) = machine(seed, &plan, trace);
    let shared = Shared::new(plan);
    listen(&simulation, node, &shared);
    let mut crashes = 0;
    let result = simulation.run(drive(&simulation, node, &shared, &mut crashes));
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(Failure::Violation(violation)),
        Err(failure) => Some(failure),
    };
    let ghost = shared.ghost();
    let (acknowledged, compared) = (ghost.acknowledged, ghost.compared);
    Outcome { seed, acknowledged, compared, crashes, ..Outcome::of(&simulation, node, failure) }
}

/// The one machine of a history.
pub fn machine(seed: u64, plan: &Plan, trace: Option<usize>) -> (Simulation, NodeId) {
    let simulation = Simulation::new(seed);
    simulation.set_max_steps(MOST_STEPS);
    if let Some(events) = trace {
        simulation.trace(events);
    }
    simulation.set_disk_pace(plan.pace);
    let node = simulation.node("a").node();
    (simulation, node)
}

impl Outcome {
    /// What the simulation tells; the rest is the history's to add.
    pub fn of(simulation: &Simulation, node: NodeId, failure: Option<Failure>) -> Self {
        Self {
            seed: 0,
            events: if failure.is_some() { simulation.recent_events() } else { Vec::new() },
            failure,
            hash: simulation.hash(),
            acknowledged: 0,
            compared: 0,
            crashes: 0,
            operations: simulation.disk_operations(),
            faults: simulation.disk(node).counts(),
            reached: simulation.reached(),
        }
    }
}

/// Lets the record hear every event.
pub fn listen(simulation: &Simulation, node: NodeId, shared: &Shared) {
    let ghost = shared.ghost.clone();
    let disk = simulation.disk(node);
    simulation.observe(Box::new(move |_, now, event| {
        let mut ghost = ghost.lock().expect("no code panics while it holds the ghost");
        ghost.look_at(&disk);
        ghost.hear(event, Timestamp(crate::executor::EPOCH_MS + (now.0 / 1_000_000) as i64))
    }));
}

async fn drive(
    simulation: &Simulation,
    node: NodeId,
    shared: &Shared,
    crashes: &mut u64,
) -> Result<(), Violation> {
    let mut rng = simulation.rng(1);
    let incarnations = shared.plan.incarnations.clone();
    for (number, incarnation) in incarnations.iter().enumerate() {
        simulation.note(&format!(
            "incarnation {number}: {:?} after {} actions",
            incarnation.ending, incarnation.actions
        ));
        live(simulation, node, shared, incarnation).await;
        let dies = incarnation.ending != Ending::Close;
        *crashes += u64::from(dies);
        end_incarnation(simulation, node, shared, incarnation.ending, &mut rng);
    }
    // At the end the disk works, and everything must be there, and go on.
    let last = Incarnation { actions: 3, ending: Ending::Close, rates: FaultRates::default() };
    simulation.disk(node).set_capacity(None);
    for _ in 0..2 {
        live(simulation, node, shared, &last).await;
        end_incarnation(simulation, node, shared, Ending::Close, &mut rng);
    }
    Ok(())
}

/// Lets an incarnation do its work, or as much as it gets to.
async fn live(simulation: &Simulation, node: NodeId, shared: &Shared, incarnation: &Incarnation) {
    let env = simulation.restart(node);
    let disk = simulation.disk(node);
    disk.set_rates(FaultRates::default());
    let look = {
        let (shared, env) = (shared.clone(), env.clone());
        async move {
            if let Err(violation) = super::verify::verify_offline(&shared, &env).await {
                env.violate(violation);
            }
        }
    };
    env.spawn("verify", look).await;
    disk.set_rates(incarnation.rates.clone());
    let fuse = match incarnation.ending {
        Ending::CrashAt(operations) | Ending::PowerLossAt(operations) => {
            Some(simulation.fuse(node, operations))
        }
        Ending::Close | Ending::Crash | Ending::PowerLoss => None,
    };
    let work = {
        let (shared, env, incarnation) = (shared.clone(), env.clone(), incarnation.clone());
        async move {
            let worked = match open(&shared, &env, &disk).await {
                Ok(opened) => workload::run(&shared, opened, &incarnation).await,
                Err(violation) => Err(violation),
            };
            if let Err(violation) = worked {
                env.violate(violation);
            }
        }
    };
    finished(env.spawn("workload", work), fuse).await;
}

/// Waits for a task's end, or until its node's disk has stopped, whichever comes first; whether it ended.
pub async fn finished(mut task: Task, fuse: Option<impl Future<Output = ()> + Send>) -> bool {
    let Some(fuse) = fuse else {
        return task.await == TaskEnd::Done;
    };
    let mut fuse = pin!(fuse);
    poll_fn(|cx| {
        if let Poll::Ready(end) = Pin::new(&mut task).poll(cx) {
            return Poll::Ready(end == TaskEnd::Done);
        }
        fuse.as_mut().poll(cx).map(|()| false)
    })
    .await
}

/// Ends an incarnation.
pub fn end_incarnation(
    simulation: &Simulation,
    node: NodeId,
    shared: &Shared,
    ending: Ending,
    rng: &mut Rng,
) {
    match ending {
        Ending::PowerLoss | Ending::PowerLossAt(_) => simulation.power_loss(node, PowerRates::random(rng)),
        // A store that was closed leaves nothing behind that a crash could change.
        Ending::Close | Ending::Crash | Ending::CrashAt(_) => simulation.crash(node),
    }
    simulation.reset_clock(node);
    let disk = simulation.disk(node);
    if shared.plan.regime == Regime::Lying {
        harm(&disk, rng);
    }
    let mut ghost = shared.ghost();
    ghost.look_at(&disk);
    ghost.restart();
    drop(ghost);
    shared.restart_producers();
}

/// Lets bits rot and sectors die.
fn harm(disk: &SimDisk, rng: &mut Rng) {
    for _ in 0..rng.random_range(0..3u32) {
        let files: Vec<_> =
            disk.durable_files().into_iter().filter(|(_, content)| !content.is_empty()).collect();
        if files.is_empty() {
            return;
        }
        let (path, content) = &files[rng.random_range(0..files.len())];
        let position = rng.random_range(0..content.len() as u64);
        match rng.random_range(0..5u32) {
            0 => disk.break_sector(path, position),
            _ => disk.flip_bit(path, position, rng.random_range(0..8)),
        };
    }
}

/// The options of the history's store.
pub fn store_options(plan: &Plan) -> StoreOptions {
    StoreOptions {
        checkpoint_interval: plan.checkpoint_interval,
        max_open_files: 3,
        index_cache_bytes: 4_096,
        max_concurrent_syncs: 2,
        max_concurrent_opens: 2,
        verified_window_bytes: 4_096,
        verified_window_bytes_per_log: 2_048,
        ..StoreOptions::new(DIR, BrokerId(1))
    }
}

/// Opens the store, as often as the disk makes it necessary, and holds what it finds against the record.
pub async fn open(shared: &Shared, env: &SimEnv, disk: &SimDisk) -> Result<Opened, Violation> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        if attempts > OPEN_ATTEMPTS / 2 {
            // Whoever runs the node has replaced what made the disk fail.
            disk.set_rates(FaultRates::default());
            disk.set_capacity(None);
        }
        let strict = {
            let mut ghost = shared.ghost();
            ghost.look_at(disk);
            ghost.restart();
            ghost.strict()
        };
        let opened = Store::open(env.clone(), store_options(&shared.plan)).await;
        let (store, reports) = match opened {
            Ok(opened) => opened,
            Err(error) if attempts < OPEN_ATTEMPTS => {
                env.note(&format!("opening failed: {error}"));
                if !strict && is_final(&error) {
                    replace_disk(shared, env, &error).await;
                }
                continue;
            }
            Err(error) if !strict && attempts < 2 * OPEN_ATTEMPTS => {
                replace_disk(shared, env, &error).await;
                continue;
            }
            Err(error) => {
                return Err(Violation::new("L3", format!("the store cannot be opened any more: {error}")));
            }
        };
        let context = Context {
            env: env.clone(),
            disk: disk.clone(),
            ghost: shared.ghost.clone(),
            epoch: shared.next_epoch(),
        };
        let opened = Opened { store, context };
        let rates = disk.rates();
        let keeps = [rates.lost_write, rates.late_sync, rates.misdirected].iter().all(|rate| *rate == 0.0);
        if check_reports(shared, &reports, keeps)? && begin(shared, &opened).await? {
            tell_losses(shared, &opened).await;
            return Ok(opened);
        }
        env.note("a log could not be opened, or failed at once: once more");
        if attempts >= OPEN_ATTEMPTS {
            give_up_logs(shared, &reports, attempts)?;
        }
        let _ = opened.store.close().await;
    }
}

/// Whether another attempt cannot help: the files that say what the directory is are gone.
fn is_final(error: &StoreError) -> bool {
    matches!(error, StoreError::NoIdentity { .. } | StoreError::NewerFormat { .. })
}

/// The operator gives a lost disk up: its loss was reported. Everything begins anew.
async fn replace_disk(shared: &Shared, env: &SimEnv, error: &StoreError) {
    env.note(&format!("the disk is given up: {error}"));
    shared.ghost().logs.values_mut().for_each(|log| log.deleted = true);
    let aside = format!("{DIR}-lost-{}", shared.next_epoch());
    let _ = env.disk().rename(Path::new(DIR), Path::new(&aside)).await;
}

/// Logs that can never be opened again, because of sectors that cannot be read, are given up: that was reported.
fn give_up_logs(shared: &Shared, reports: &[RecoveryReport], attempts: u32) -> Result<(), Violation> {
    let mut ghost = shared.ghost();
    let strict = ghost.strict();
    let mut failed = 0;
    for report in reports.iter().filter(|report| report.failure.is_some() && !strict) {
        let log = ghost.logs.entry(report.log).or_default();
        failed += usize::from(!std::mem::replace(&mut log.deleted, true));
    }
    if failed == 0 && (strict || attempts >= 2 * OPEN_ATTEMPTS) {
        let text = format!("the logs cannot be used in {OPEN_ATTEMPTS} openings: {reports:?}");
        return Err(Violation::new("L3", text));
    }
    Ok(())
}

/// Tells whoever relies on the logs what openings found, if this process gets so far.
async fn tell_losses(shared: &Shared, opened: &Opened) {
    if opened.context.epoch.0 % 4 == 0 {
        return;
    }
    for log in opened.store.logs() {
        if let Some(known) = shared.ghost().logs.get_mut(&log.id()) {
            known.untold = false;
        }
        if log.losses_told().await.is_err() {
            opened.context.env.note("what was told may be reported once more");
        }
    }
}

/// Notes what recovery reports; false if a log is not usable. `keeps` tells whether the disk keeps what is synced now.
fn check_reports(shared: &Shared, reports: &[RecoveryReport], keeps: bool) -> Result<bool, Violation> {
    let mut ghost = shared.ghost();
    let strict = ghost.strict();
    let mut usable = true;
    for report in reports {
        let given_up = ghost.logs.get(&report.log).is_none_or(|log| log.deleted);
        usable &= report.failure.is_none() || given_up;
        if strict && !report.damaged.is_empty() {
            let text = format!("{}: damage is reported on a disk that is honest: {report:?}", report.log);
            return Err(Violation::new("S10", text));
        }
        if let Some(log) = ghost.logs.get_mut(&report.log) {
            let doubtful = report.may_be_incomplete();
            if log.untold && !doubtful && report.failure.is_none() && !log.deleted {
                let text =
                    format!("{}: an opening found losses, and the next one does not say so", report.log);
                return Err(Violation::new("S5", text));
            }
            log.untold |= doubtful && report.failure.is_none() && keeps;
            log.alarmed = report.is_alarming();
            log.damaged.extend(report.damaged.iter().cloned());
        }
    }
    Ok(usable)
}

/// Makes the logs that are missing, checks those that are there, and starts the epoch; false if the disk failed.
async fn begin(shared: &Shared, opened: &Opened) -> Result<bool, Violation> {
    let configs = shared.configs().clone();
    if configs.is_empty() {
        for _ in 0..shared.plan.logs {
            shared.expect_log(shared.plan.config.clone());
        }
    }
    let configs = shared.configs().clone();
    for (id, config) in configs {
        let (deleted, confirmed) = {
            let ghost = shared.ghost();
            ghost.logs.get(&id).map_or((true, false), |log| (log.deleted, log.deletion_confirmed))
        };
        if confirmed && shared.ghost().strict() && opened.store.log(id).is_some() {
            return Err(Violation::new("H9", format!("{id} was deleted, and is there again")));
        }
        if deleted {
            continue;
        }
        let log = match opened.store.log(id) {
            Some(log) => log,
            None => {
                check_missing(shared, id)?;
                match create_log(shared, opened, id, config.clone()).await {
                    Some(log) => log,
                    None => return Ok(false),
                }
            }
        };
        log.set_config(config).await;
        super::verify::verify_all(&opened.context, &log).await?;
        match log.start_epoch(opened.context.epoch).await {
            Ok(()) => {}
            Err(AppendError::StaleLeaderEpoch { current, .. }) if !shared.ghost().strict() => {
                // An epoch that rotted upwards; whoever elects leaders goes on from there.
                shared.raise_epoch(current);
                return Ok(false);
            }
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Makes a log; None if the disk fails.
pub async fn create_log(
    shared: &Shared,
    opened: &Opened,
    id: LogId,
    config: LogConfig,
) -> Option<Log<SimEnv>> {
    let log = opened.store.create_log(id, config).await.ok()?;
    if let Some(ghost) = shared.ghost().logs.get_mut(&id) {
        ghost.created = true;
    }
    Some(log)
}

/// A log that is not there must never have held anything that was promised.
fn check_missing(shared: &Shared, id: LogId) -> Result<(), Violation> {
    let mut ghost = shared.ghost();
    let strict = ghost.strict();
    let Some(log) = ghost.logs.get_mut(&id) else { return Ok(()) };
    if strict && log.created {
        return Err(Violation::new(
            "H1",
            format!("{id}: the log is gone; it was synced up to {}", log.synced),
        ));
    }
    log.vanish();
    Ok(())
}

/// All logs of a store that are in use.
pub fn usable_logs(shared: &Shared, opened: &Opened) -> Vec<Log<SimEnv>> {
    let ghost = shared.ghost();
    opened
        .store
        .logs()
        .into_iter()
        .filter(|log| ghost.logs.get(&log.id()).is_some_and(|known| !known.deleted))
        .collect()
}

/// A task's share of time while others work.
pub async fn rest(env: &SimEnv, most: Duration, rng: &mut Rng) {
    let nanos = rng.random_range(0..most.as_nanos().max(1) as u64);
    highwater_env::sleep(env.clock(), Duration::from_nanos(nanos)).await;
}
