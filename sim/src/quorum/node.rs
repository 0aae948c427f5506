//! A member: a store, its log, the quorum over it, and its clients.

use super::machine::{Applied, List};
use super::plan::Plan;
use super::record::Record;
use super::transport::{Caller, serve};
use super::{Checks, admin, client, lock};
use crate::checkers::members::broker_of;
use crate::disk::{FaultRates, SimDisk};
use crate::executor::{NodeId, SimEnv, Simulation, Violation};
use highwater_env::{Env, Network, sleep};
use highwater_log::{CleanupPolicy, LogConfig, Store, StoreOptions};
use highwater_quorum::{Peer, Quorum, QuorumError, QuorumOptions};
use highwater_types::{BrokerId, DiskId, LogId, PartitionIndex, TopicId, Uuid};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where a member listens.
const PORT: u16 = 9093;

/// The directory of a member's store.
pub const DIR: &str = "/data";

/// The directory of a member beside its log.
pub const QUORUM_DIR: &str = "/data/quorum";

/// The log of the quorum.
pub const LOG: LogId = LogId { topic: TopicId(Uuid([1; 16])), partition: PartitionIndex(0) };

/// Openings that fail in a row before the disk is spared further errors.
const PATIENCE: u32 = 5;

/// Openings that fail in a row at the most.
const OPEN_ATTEMPTS: u32 = 30;

/// A node's name.
pub fn host(number: usize) -> String {
    format!("q{}", number + 1)
}

/// Why a member's process ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something failed; another try may succeed.
    Failed,
    /// It lost what it promised to keep.
    Damaged,
}

/// A disk that is lost, and how far its replacement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Whose disk.
    pub node: NodeId,
    /// What was done about it.
    pub stage: Stage,
}

/// See [`Lost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A bit of it flipped, which may not have been noticed.
    Rotten,
    /// Another disk is in its place, and the voters count the old one.
    Replaced,
    /// The voters do without it.
    Excluded,
    /// The new one is a learner.
    Learner,
}

/// What a node runs.
#[derive(Default)]
pub struct Running {
    /// Its member, when it is open.
    pub quorum: Option<Quorum<SimEnv>>,
    /// What its member has applied.
    pub applied: Arc<Mutex<Applied>>,
}

/// What all of a run share. Between nodes nothing is passed through it but what people would tell them.
#[derive(Clone)]
pub struct Shared {
    pub plan: Arc<Plan>,
    pub record: Arc<Mutex<Record>>,
    pub checks: Arc<Mutex<Checks>>,
    pub faults: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    pub disk_ids: Arc<Mutex<BTreeMap<NodeId, DiskId>>>,
    pub exits: Arc<Mutex<Vec<(NodeId, Exit)>>>,
    pub running: Arc<Mutex<BTreeMap<NodeId, Running>>>,
    pub lost: Arc<Mutex<Option<Lost>>>,
    /// Faults are over.
    pub healed: Arc<Mutex<bool>>,
    disks: Arc<BTreeMap<NodeId, SimDisk>>,
}

impl Shared {
    pub fn new(plan: Plan, simulation: &Simulation, nodes: &[NodeId], checks: Arc<Mutex<Checks>>) -> Self {
        Self {
            plan: Arc::new(plan),
            record: Arc::default(),
            checks,
            faults: Arc::default(),
            disk_ids: Arc::default(),
            exits: Arc::default(),
            running: Arc::default(),
            lost: Arc::default(),
            healed: Arc::default(),
            disks: Arc::new(nodes.iter().map(|&node| (node, simulation.disk(node))).collect()),
        }
    }

    /// How the disks fail at the moment.
    pub fn rates(&self) -> FaultRates {
        if *lock(&self.healed) { FaultRates::default() } else { self.plan.rates.clone() }
    }

    /// Counts a fault.
    pub fn count(&self, what: &'static str) {
        *lock(&self.faults).entry(what).or_default() += 1;
    }

    /// What the membership is told of a node. None before its first start.
    pub fn peer(&self, node: NodeId) -> Option<Peer> {
        let disk = *lock(&self.disk_ids).get(&node)?;
        Some(Peer { host: host(node.0), port: PORT, disk })
    }

    /// The first voters, when all of them have started once.
    fn first_voters(&self) -> Option<BTreeMap<BrokerId, Peer>> {
        (0..self.plan.voters).map(NodeId).map(|node| Some((broker_of(node), self.peer(node)?))).collect()
    }
}

/// Runs a member until its machine dies, or it ends by itself.
pub async fn run(env: SimEnv, shared: Shared) {
    let node = env.node();
    let mut attempts = 0;
    loop {
        shared.disks[&node].set_rates(if attempts < PATIENCE {
            shared.rates()
        } else {
            FaultRates::default()
        });
        match open(env.clone(), shared.clone()).await {
            Ok((store, quorum)) => {
                shared.disks[&node].set_rates(shared.rates());
                live(env.clone(), shared.clone(), store, quorum).await;
                lock(&shared.exits).push((node, Exit::Failed));
                return;
            }
            Err(Exit::Damaged) => {
                lock(&shared.exits).push((node, Exit::Damaged));
                return;
            }
            Err(Exit::Failed) => {
                // It begins anew, as another process would.
                lock(&shared.checks).stopped(node);
                attempts += 1;
                if attempts > OPEN_ATTEMPTS {
                    env.violate(Violation::new("L1", format!("node {} cannot be opened", node.0)));
                }
                sleep(env.clock(), Duration::from_millis(200)).await;
            }
        }
    }
}

async fn open(env: SimEnv, shared: Shared) -> Result<(Store<SimEnv>, Quorum<SimEnv>), Exit> {
    let node = env.node();
    let mut options = StoreOptions::new(DIR, broker_of(node));
    options.checkpoint_interval = Duration::from_millis(300);
    let (store, reports) =
        Store::open(env.clone(), options).await.map_err(|error| failed(&env, "store", error))?;
    let report = reports.into_iter().find(|report| report.log == LOG);
    let log = match store.log(LOG) {
        Some(log) => log,
        None if report.is_none() => {
            store.create_log(LOG, log_config(&shared)).await.map_err(|error| failed(&env, "log", error))?
        }
        None => return Err(failed(&env, "log", format!("{report:?}"))),
    };
    log.set_config(log_config(&shared)).await;
    lock(&shared.disk_ids).insert(node, store.disk_id());
    let options = QuorumOptions {
        election_timeout: shared.plan.election_timeout,
        heartbeat_interval: shared.plan.heartbeat,
        snapshot_every: shared.plan.snapshot_every,
        keep_entries: shared.plan.keep_entries,
        request_timeout: shared.plan.election_timeout * 5,
        snapshot_timeout: shared.plan.election_timeout * 4,
        recovered: report,
        ..QuorumOptions::new(broker_of(node), store.disk_id(), QUORUM_DIR)
    };
    let applied = Arc::new(Mutex::new(Applied::default()));
    let transport = Arc::new(Caller::new(&env, shared.plan.repeat_one_in, shared.plan.repeat_after));
    let machine = Box::new(List(Arc::clone(&applied)));
    match Quorum::open(env.clone(), log, options, transport, machine).await {
        Ok(quorum) => {
            let running = Running { quorum: Some(quorum.clone()), applied };
            lock(&shared.running).insert(node, running);
            Ok((store, quorum))
        }
        Err(error @ QuorumError::Damaged { .. }) => {
            let rotten = *lock(&shared.lost);
            if rotten.is_none_or(|lost| lost.node != node) {
                env.violate(Violation::new(
                    "S10",
                    format!("node {} was not harmed, and says: {error}", node.0),
                ));
            }
            env.note(&format!("node {}: {error}", node.0));
            Err(Exit::Damaged)
        }
        Err(error) => Err(failed(&env, "quorum", error)),
    }
}

fn failed(env: &SimEnv, what: &str, error: impl std::fmt::Display) -> Exit {
    env.note(&format!("node {}: cannot open {what}: {error}", env.node().0));
    Exit::Failed
}

fn log_config(shared: &Shared) -> LogConfig {
    LogConfig {
        segment_bytes: shared.plan.segment_bytes,
        retention_ms: None,
        cleanup: CleanupPolicy { delete: false, compact: false },
        file_delete_delay_ms: 100,
        ..LogConfig::default()
    }
}

/// Works until the member stops by itself.
async fn live(env: SimEnv, shared: Shared, store: Store<SimEnv>, quorum: Quorum<SimEnv>) {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
    let listener = loop {
        match env.network().listen(address).await {
            Ok(listener) => break listener,
            Err(_) => sleep(env.clock(), Duration::from_millis(50)).await,
        }
    };
    env.spawn("calls", serve(env.clone(), listener, quorum.clone())).detach();
    for number in 0..2 {
        env.spawn("client", client::run(env.clone(), shared.clone(), quorum.clone(), number)).detach();
    }
    env.spawn("admin", admin::run(env.clone(), shared.clone(), quorum.clone())).detach();
    if env.node() == NodeId(0) {
        env.spawn("bootstrap", bootstrap(env.clone(), shared.clone(), quorum.clone())).detach();
    }
    let why = quorum.failed().await;
    env.note(&format!("node {} stopped: {why}", env.node().0));
    drop(store);
}

/// Makes the quorum, once, when all its voters have disks.
async fn bootstrap(env: SimEnv, shared: Shared, quorum: Quorum<SimEnv>) {
    loop {
        // A node that lost its disk knows of none either, and must not make another one.
        if quorum.is_bootstrapped() || !lock(&shared.checks).members.committed.is_empty() {
            return;
        }
        match shared.first_voters() {
            Some(voters) => {
                let _ = quorum.bootstrap(voters).await;
                return;
            }
            None => sleep(env.clock(), Duration::from_millis(100)).await,
        }
    }
}
