//! The nodes of a run: brokers and controllers with disks, which crash and come back, and the machines of their
//! clients.
//!
//! A node runs in a task of its machine, as a process would: it starts, serves until it is told to stop or its
//! machine dies, and leaves word of how that ended. [`Nodes::supervise`] is what stands around such a process in
//! production: an init system that starts it again when its start failed, and an operator who restarts it a while
//! after one of its logs failed, since such a log comes back in no other way.

mod settings;
mod told;

pub(crate) use settings::{PORT, config, host, ids, terms};

use crate::checkers::Stop;
use crate::disk::PowerRates;
use crate::executor::{NodeId, SimEnv, Simulation};
use highwater_broker::{BrokerConfig, Node, StartError};
use highwater_env::{Env, Event};
use highwater_faults::ClusterSpec;
use highwater_types::{BrokerId, Instant, TopicId};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;
use told::Told;

/// Where every broker keeps its data.
pub(crate) const DATA_DIR: &str = "/data";
/// How often the supervisor looks.
const ROUND: Duration = Duration::from_millis(50);
/// How long an init system waits before it starts a process again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// How often one who waits for a node to stop looks.
const GLANCE: Duration = Duration::from_millis(10);

/// Where a broker's process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Process {
    /// There is none.
    Gone,
    Starting,
    Up,
    Stopping,
    /// It ended by itself: it did not start.
    Failed {
        /// It was closed in good order all the same.
        clean: bool,
    },
    /// It ended because it was asked to, in order or not.
    Ended {
        /// Whether in order.
        clean: bool,
    },
}

type OnEnd = Box<dyn FnMut(NodeId, Stop) + Send>;
type OnStart = Box<dyn FnMut(NodeId, i64) + Send>;
type OnClientStart = Arc<dyn Fn(&Simulation, NodeId) + Send + Sync>;

/// A broker, or a controller alone.
struct Broker {
    id: BrokerId,
    /// Its name for reports, such as "broker 1".
    name: String,
    /// Where clients find it, if it is a broker.
    address: Option<String>,
    process: Process,
    /// Which process it is: word of an older one counts for nothing.
    run: u64,
    /// Somebody wants it to run.
    wanted: bool,
    stop: Option<oneshot::Sender<()>>,
    /// When the supervisor starts it, if it is down by then.
    start_at: Option<Duration>,
    /// It votes in the quorum, or did so before its disk was replaced.
    votes: bool,
    /// Its disk was replaced, and nobody has let it into the quorum again.
    replaced: bool,
    /// How often its disk was replaced.
    disks: u32,
    /// When a log failed.
    poisoned_at: Option<Duration>,
    /// By how many milliseconds the machine's wall clock was ahead when the process opened its disk, at most.
    wall_ahead_ms: i64,
    /// By how many milliseconds the machine's clock without jumps was ahead when the process started.
    steady_ahead_ms: i64,
}

/// What is counted of the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Processes that came up.
    pub starts: u64,
    /// Starts that failed.
    pub failed_starts: u64,
    /// Restarts by the operator because a log had failed.
    pub operator_restarts: u64,
    /// Crashes and power losses at a moment at which the disk held bytes that no sync had covered.
    pub hit_unsynced: u64,
}

struct Inner {
    brokers: BTreeMap<NodeId, Broker>,
    clients: Vec<NodeId>,
    /// What reports call clients that have a name of their own.
    client_names: BTreeMap<NodeId, String>,
    config: Box<dyn Fn(BrokerId) -> BrokerConfig + Send>,
    told: Told,
    tally: Tally,
    /// How long it takes an operator to restart a node one of whose logs has failed.
    repair_after: Duration,
    on_end: OnEnd,
    on_start: OnStart,
    on_client_start: OnClientStart,
}

/// The nodes of a run. A cheap handle.
#[derive(Clone)]
pub struct Nodes(Arc<Mutex<Inner>>);

impl Nodes {
    /// Makes the machines of a cluster. No node runs yet.
    pub fn new(
        simulation: &Simulation,
        cluster: &ClusterSpec,
        config: impl Fn(BrokerId) -> BrokerConfig + Send + 'static,
    ) -> Self {
        let brokers = ids(cluster).map(|id| {
            let host = host(id, cluster);
            let is_broker = settings::is_broker(id, cluster);
            let broker = Broker {
                id,
                name: host.replace('-', " "),
                address: is_broker.then(|| format!("{host}:{PORT}")),
                votes: cluster.nodes() > 1 && (cluster.controllers == 0 || !is_broker),
                replaced: false,
                disks: 0,
                process: Process::Gone,
                run: 0,
                wanted: false,
                stop: None,
                start_at: None,
                poisoned_at: None,
                wall_ahead_ms: 0,
                steady_ahead_ms: 0,
            };
            (simulation.node(&host).node(), broker)
        });
        let inner = Inner {
            brokers: brokers.collect(),
            clients: Vec::new(),
            client_names: BTreeMap::new(),
            config: Box::new(config),
            told: Told::default(),
            tally: Tally::default(),
            repair_after: Duration::from_secs(2),
            on_end: Box::new(|_, _| {}),
            on_start: Box::new(|_, _| {}),
            on_client_start: Arc::new(|_, _| {}),
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no code panics while it holds the nodes")
    }

    /// Says who is told of the end of each process.
    pub fn on_end(&self, told: impl FnMut(NodeId, Stop) + Send + 'static) {
        self.lock().on_end = Box::new(told);
    }

    /// Says who is told of the start of each process, and by how many milliseconds its machine's wall clock is ahead:
    /// again if the process takes over more of that later.
    pub fn on_start(&self, told: impl FnMut(NodeId, i64) + Send + 'static) {
        self.lock().on_start = Box::new(told);
    }

    /// Says who starts what runs on a client's machine, once the fault that kept the machine down is over.
    pub fn on_client_start(&self, starter: impl Fn(&Simulation, NodeId) + Send + Sync + 'static) {
        self.lock().on_client_start = Arc::new(starter);
    }

    /// Says how long it takes until somebody restarts a node one of whose logs has failed.
    pub fn set_repair_after(&self, pause: Duration) {
        self.lock().repair_after = pause;
    }

    /// Makes a machine for clients.
    pub fn add_client(&self, simulation: &Simulation, name: &str) -> SimEnv {
        let env = simulation.node(name);
        self.lock().clients.push(env.node());
        env
    }

    /// Makes a machine for clients that reports call by its name.
    pub fn add_named_client(&self, simulation: &Simulation, name: &str) -> SimEnv {
        let env = self.add_client(simulation, name);
        self.lock().client_names.insert(env.node(), name.to_owned());
        env
    }

    /// What reports call a client, if it has a name of its own.
    pub fn client_name(&self, node: NodeId) -> Option<String> {
        self.lock().client_names.get(&node).cloned()
    }

    /// The machines of all nodes: brokers first, and then those that are controllers alone.
    pub fn all(&self) -> Vec<NodeId> {
        self.lock().brokers.keys().copied().collect()
    }

    /// The brokers' machines.
    pub fn brokers(&self) -> Vec<NodeId> {
        let inner = self.lock();
        let brokers = inner.brokers.iter().filter(|(_, broker)| broker.address.is_some());
        brokers.map(|(&node, _)| node).collect()
    }

    /// The machines of those that are controllers alone.
    pub fn controllers(&self) -> Vec<NodeId> {
        let inner = self.lock();
        let controllers = inner.brokers.iter().filter(|(_, broker)| broker.address.is_none());
        controllers.map(|(&node, _)| node).collect()
    }

    /// What reports call a node.
    pub fn name(&self, node: NodeId) -> Option<String> {
        self.lock().brokers.get(&node).map(|broker| broker.name.clone())
    }

    /// Which broker is on a machine.
    pub fn id(&self, node: NodeId) -> Option<BrokerId> {
        self.lock().brokers.get(&node).map(|broker| broker.id)
    }

    /// The clients' machines.
    pub fn clients(&self) -> Vec<NodeId> {
        self.lock().clients.clone()
    }

    /// Where clients find the brokers.
    pub fn bootstrap(&self) -> Vec<String> {
        self.lock().brokers.values().filter_map(|broker| broker.address.clone()).collect()
    }

    /// Whether the broker serves.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.lock().brokers.get(&node).is_some_and(|broker| broker.process == Process::Up)
    }

    /// Whether every broker serves, and none has a log that failed.
    pub fn all_well(&self) -> bool {
        let well = |broker: &Broker| broker.process == Process::Up && broker.poisoned_at.is_none();
        self.lock().brokers.values().all(well)
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        self.lock().tally
    }

    /// The voters whose disks were replaced, and that nobody has let in again, and how often they were.
    pub(crate) fn replaced_voters(&self) -> Vec<(BrokerId, u32)> {
        let inner = self.lock();
        let replaced = inner.brokers.values().filter(|broker| broker.replaced);
        replaced.map(|broker| (broker.id, broker.disks)).collect()
    }

    /// Whether the disks of all other nodes were replaced, and are not those of voters again.
    pub(crate) fn is_last_disk(&self, node: NodeId) -> bool {
        let inner = self.lock();
        let mut others =
            inner.brokers.iter().filter(|(other, broker)| **other != node && broker.votes).peekable();
        others.peek().is_some() && others.all(|(_, broker)| broker.replaced)
    }

    /// A voter whose disk was replaced so many times votes again.
    pub(crate) fn voter_is_back(&self, (id, disks): (BrokerId, u32)) {
        let mut inner = self.lock();
        inner
            .brokers
            .values_mut()
            .filter(|broker| broker.id == id && broker.disks == disks)
            .for_each(|broker| broker.replaced = false);
    }

    /// Whether every node serves, every partition is led and every replica is in sync.
    pub fn is_whole(&self) -> bool {
        self.all_well() && self.replaced_voters().is_empty() && self.lock().told.is_whole()
    }

    fn node_of(inner: &Inner, id: BrokerId) -> Option<NodeId> {
        inner.brokers.iter().find(|(_, broker)| broker.id == id).map(|(&node, _)| node)
    }

    /// Who leads a partition; with one broker it is that one.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        let inner = self.lock();
        inner.told.topic(topic)?;
        match inner.told.partition(topic, partition) {
            Some(known) => Self::node_of(&inner, known.leader?),
            None if inner.brokers.len() == 1 => inner.brokers.keys().next().copied(),
            None => None,
        }
    }

    /// The replicas of a partition that do not lead it.
    pub fn followers(&self, topic: &str, partition: i32) -> Vec<NodeId> {
        let inner = self.lock();
        let Some(known) = inner.told.partition(topic, partition) else { return Vec::new() };
        let others = known.replicas.iter().filter(|&&replica| Some(replica) != known.leader);
        others.filter_map(|&replica| Self::node_of(&inner, replica)).collect()
    }

    /// The active controller; with one node it is that one.
    pub fn controller(&self) -> Option<NodeId> {
        let inner = self.lock();
        let alone = inner.brokers.keys().next().copied().filter(|_| inner.brokers.len() == 1);
        inner.told.controller().or(alone)
    }

    /// The id of a topic that was created.
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.lock().told.topic(topic)
    }

    /// Takes in an event of a node.
    pub(crate) fn hear(&self, node: NodeId, now: Instant, event: &Event) {
        let mut inner = self.lock();
        inner.told.hear(node, event);
        if let (Event::Poisoned { .. }, Some(broker)) = (event, inner.brokers.get_mut(&node)) {
            broker.poisoned_at.get_or_insert(Duration::from_nanos(now.0));
        }
    }

    /// Starts the broker if it does not run, in a task of its own, and sees to it from now on that it runs.
    pub fn start(&self, simulation: &Simulation, node: NodeId) {
        let (config, run, stopped) = {
            let mut inner = self.lock();
            let Some(broker) = inner.brokers.get(&node) else {
                let starter = Arc::clone(&inner.on_client_start);
                drop(inner);
                return starter(simulation, node);
            };
            let config = (inner.config)(broker.id);
            let Some(broker) = inner.brokers.get_mut(&node) else { return };
            broker.wanted = true;
            if broker.process != Process::Gone {
                // One that stops or has ended is started again by the supervisor.
                return;
            }
            let (stop, stopped) = oneshot::channel();
            broker.run += 1;
            broker.process = Process::Starting;
            broker.stop = Some(stop);
            broker.start_at = None;
            broker.poisoned_at = None;
            (config, broker.run, stopped)
        };
        let env = simulation.restart(node);
        if let Some(broker) = self.lock().brokers.get_mut(&node) {
            broker.wall_ahead_ms = wall_ahead_ms(&env);
            broker.steady_ahead_ms = steady_ahead_ms(&env);
        }
        self.clock_moved(&env);
        let process = serve(self.clone(), env.clone(), node, run, config, stopped);
        env.spawn("broker", process).detach();
    }

    /// A machine's clock was changed, or has run wrong until now. A process that starts takes a jump for the right
    /// time; one that runs does not believe jumps, but knows no other clock than the one that drifts.
    pub(crate) fn clock_moved(&self, env: &SimEnv) {
        let node = env.node();
        let mut inner = self.lock();
        let Some(broker) = inner.brokers.get_mut(&node) else { return };
        if broker.process == Process::Starting {
            broker.wall_ahead_ms = broker.wall_ahead_ms.max(wall_ahead_ms(env));
        }
        let ahead_ms = broker.wall_ahead_ms + steady_ahead_ms(env) - broker.steady_ahead_ms;
        (inner.on_start)(node, ahead_ms);
    }

    /// The broker's process dies. Nobody starts it again but [`Nodes::start`].
    pub fn crash(&self, simulation: &Simulation, node: NodeId) {
        self.count_unsynced(simulation, node);
        self.end(node, Stop::Crash, false);
        simulation.crash(node);
    }

    /// The broker's machine loses power. Nobody starts it again but [`Nodes::start`].
    pub fn power_loss(&self, simulation: &Simulation, node: NodeId, rates: PowerRates) {
        self.count_unsynced(simulation, node);
        self.end(node, Stop::Power, false);
        simulation.power_loss(node, rates);
    }

    /// The broker's process dies, and its disk is replaced by an empty one.
    pub fn wipe(&self, simulation: &Simulation, node: NodeId) {
        self.count_unsynced(simulation, node);
        self.end(node, Stop::Wiped, false);
        simulation.crash(node);
        simulation.disk(node).wipe();
        if let Some(broker) = self.lock().brokers.get_mut(&node) {
            broker.replaced = broker.votes;
            broker.disks += 1;
        }
    }

    /// Stops the broker as an operator does, and waits until its process has ended in whatever way.
    pub async fn stop(&self, simulation: &Simulation, node: NodeId) {
        if !self.ask_to_stop(node, false) {
            return;
        }
        while self.lock().brokers.get(&node).is_some_and(|broker| broker.process == Process::Stopping) {
            simulation.sleep(GLANCE).await;
        }
        self.bury(simulation, node);
    }

    /// Tells the process to stop; false if there is none that can be told.
    fn ask_to_stop(&self, node: NodeId, wanted: bool) -> bool {
        let mut inner = self.lock();
        let Some(broker) = inner.brokers.get_mut(&node) else { return false };
        broker.wanted = wanted;
        match broker.stop.take() {
            Some(stop) if matches!(broker.process, Process::Starting | Process::Up) => {
                broker.process = Process::Stopping;
                // A process that died meanwhile hears nothing.
                let _ = stop.send(());
                true
            }
            _ => broker.process == Process::Stopping,
        }
    }

    fn count_unsynced(&self, simulation: &Simulation, node: NodeId) {
        let pending = simulation.disk(node).has_pending();
        self.lock().tally.hit_unsynced += u64::from(pending);
    }

    fn end(&self, node: NodeId, how: Stop, wanted: bool) {
        let mut inner = self.lock();
        let Some(broker) = inner.brokers.get_mut(&node) else { return };
        broker.wanted = wanted;
        broker.process = Process::Gone;
        broker.stop = None;
        broker.start_at = None;
        broker.poisoned_at = None;
        (inner.on_end)(node, how);
    }

    /// What is left of a process that has ended goes with it, as the operating system has it.
    fn bury(&self, simulation: &Simulation, node: NodeId) -> Option<Duration> {
        let (clean, wanted, pause) = match self.lock().brokers.get(&node)? {
            Broker { process: Process::Failed { clean }, wanted, .. } => (*clean, *wanted, RESTART_PAUSE),
            Broker { process: Process::Ended { clean }, wanted, .. } => (*clean, *wanted, Duration::ZERO),
            _ => return None,
        };
        let how = if clean { Stop::Clean } else { Stop::Crash };
        self.end(node, how, wanted);
        simulation.crash(node);
        Some(pause)
    }

    /// Notes how a process goes; word of an older one is dropped.
    fn tell(&self, node: NodeId, run: u64, process: Process) {
        let mut inner = self.lock();
        let Some(broker) = inner.brokers.get_mut(&node).filter(|broker| broker.run == run) else { return };
        if process != Process::Up || broker.process == Process::Starting {
            broker.process = process.clone();
        }
        match process {
            Process::Up => inner.tally.starts += 1,
            Process::Failed { .. } => inner.tally.failed_starts += 1,
            _ => {}
        }
    }

    /// Starts again what ended without being asked to, and restarts what has a failed log. Never ends.
    pub async fn supervise(&self, simulation: &Simulation) {
        loop {
            for node in self.all() {
                self.look_after(simulation, node);
            }
            simulation.sleep(ROUND).await;
        }
    }

    fn look_after(&self, simulation: &Simulation, node: NodeId) {
        let now = simulation.now();
        let mut inner = self.lock();
        let repair_after = inner.repair_after;
        let Some(broker) = inner.brokers.get_mut(&node) else { return };
        match broker.process {
            Process::Failed { .. } | Process::Ended { .. } => {
                drop(inner);
                if let Some(pause) = self.bury(simulation, node)
                    && let Some(broker) = self.lock().brokers.get_mut(&node)
                {
                    broker.start_at = Some(now + pause);
                }
            }
            Process::Gone if broker.wanted => {
                let at = *broker.start_at.get_or_insert(now);
                drop(inner);
                if at <= now {
                    self.start(simulation, node);
                }
            }
            Process::Up if broker.poisoned_at.is_some_and(|at| at + repair_after <= now) => {
                inner.tally.operator_restarts += 1;
                drop(inner);
                simulation
                    .note(&format!("the operator restarts node {}, one of whose logs has failed", node.0));
                self.ask_to_stop(node, true);
            }
            _ => {}
        }
    }
}

fn wall_ahead_ms(env: &SimEnv) -> i64 {
    env.clock().wall().0 - env.true_time().0
}

fn steady_ahead_ms(env: &SimEnv) -> i64 {
    let millis = |nanos: u64| i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
    millis(env.clock().now().0) - millis(env.true_now().0)
}

/// The broker's process.
async fn serve(
    nodes: Nodes,
    env: SimEnv,
    node: NodeId,
    run: u64,
    config: BrokerConfig,
    mut stopped: oneshot::Receiver<()>,
) {
    let failed = |error: StartError, clean| {
        env.note(&format!("node {} does not start: {error}", node.0));
        nodes.tell(node, run, Process::Failed { clean });
    };
    let stop = async |broker: Node<SimEnv>| {
        let stopped = broker.shutdown().await;
        if let Err(error) = &stopped {
            env.note(&format!("node {} does not stop cleanly: {error}", node.0));
        }
        stopped.is_ok()
    };
    let broker = match Node::launch(env.clone(), config).await {
        Ok(broker) => broker,
        // Its store, if it was opened at all, is as it was found.
        Err(error) => return failed(error, false),
    };
    // A node of a cluster that lacks a majority waits for it, and can be stopped meanwhile.
    let ready = {
        let mut ready = pin!(broker.ready());
        poll_fn(|cx| match Pin::new(&mut stopped).poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => ready.as_mut().poll(cx).map(Some),
        })
        .await
    };
    match ready {
        Some(Ok(())) => {
            nodes.tell(node, run, Process::Up);
            // The sender goes away only with the process.
            let why = {
                let mut failed = pin!(broker.failed());
                poll_fn(|cx| match Pin::new(&mut stopped).poll(cx) {
                    Poll::Ready(_) => Poll::Ready(None),
                    Poll::Pending => failed.as_mut().poll(cx).map(Some),
                })
                .await
            };
            if let Some(why) = why {
                env.note(&format!("node {} ends: {why}", node.0));
                let clean = stop(broker).await;
                return nodes.tell(node, run, Process::Failed { clean });
            }
        }
        Some(Err(error)) => return failed(error, stop(broker).await),
        None => {}
    }
    let clean = stop(broker).await;
    nodes.tell(node, run, Process::Ended { clean });
}
