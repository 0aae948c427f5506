//! A small deterministic executor: one thread, virtual time, a seeded random choice among ready tasks.
//!
//! One seed decides everything: which task runs, how long disk operations and messages take, which faults happen.
//! Time stands still while any task is ready and then skips to the next timer. Nodes crash and restart; each
//! incarnation has its own [`SimEnv`].

mod clock;
mod engine;
mod env;
mod failure;
mod hosted;
mod machine;
mod network;
mod pipes;
mod task;
mod trace;

pub use clock::EPOCH_MS;
pub use engine::EngineKind;
pub use env::SimEnv;
pub use failure::{Failure, Violation, catch_panics};
pub use machine::{ComputePace, DiskPace};
pub use network::{Link, SimListener, SimNetwork, SimStream};

use crate::disk::{PowerRates, SimDisk};
use engine::Engine;
use env::DiskPacer;
use highwater_env::{Event, Rng};
use highwater_types::Instant;
use machine::Machine;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use task::{MAIN, TaskWaker};

/// Numbers the nodes of a simulation, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// Hears every event of every node, at virtual time.
pub type Observer = Box<dyn FnMut(NodeId, Instant, &Event) -> Result<(), Violation> + Send>;

/// What a power loss does to the connections of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangup {
    /// The kernel lives and resets them.
    Reset,
    /// Peers hear nothing more.
    Silent,
}

/// Lays fuses: see [`Simulation::fuse`]. Does not keep the simulation alive.
#[derive(Clone)]
pub struct Fuses {
    machine: Weak<Machine>,
}

impl Fuses {
    /// Stops a node's disk before its operation number `operations` from now, counted from 0.
    pub fn lay(&self, node: NodeId, operations: u64) {
        if let Some(machine) = self.machine.upgrade() {
            machine.lock().fuses.insert(node, machine::FuseState::new(operations));
        }
    }
}

/// A simulation of some nodes.
pub struct Simulation {
    machine: Arc<Machine>,
    engine: Engine,
}

impl Simulation {
    /// A simulation without nodes on the executor of its own, decided by this seed.
    pub fn new(seed: u64) -> Self {
        Self::on(EngineKind::Executor, seed)
    }

    /// A simulation without nodes on an engine, decided by this seed.
    pub fn on(engine: EngineKind, seed: u64) -> Self {
        Self { machine: Machine::new(seed, engine), engine: Engine::new(engine, seed) }
    }

    /// Adds a node with an empty, faultless disk and right clocks.
    pub fn node(&self, name: &str) -> SimEnv {
        let number = self.machine.lock().nodes.len() as u64;
        let disk = SimDisk::new(self.machine.seed.wrapping_mul(31).wrapping_add(number));
        self.node_with_disk(name, disk)
    }

    /// Adds a node with a given disk.
    pub fn node_with_disk(&self, name: &str, disk: SimDisk) -> SimEnv {
        let node = self.machine.add_node(name, disk.clone());
        disk.set_pacer(Arc::new(DiskPacer { machine: Arc::downgrade(&self.machine), node }));
        self.engine.add(&self.machine, node);
        SimEnv::new(&self.machine, node)
    }

    /// The environment of a node's present incarnation.
    pub fn env(&self, node: NodeId) -> SimEnv {
        SimEnv::new(&self.machine, node)
    }

    /// A node's disk.
    pub fn disk(&self, node: NodeId) -> SimDisk {
        self.machine.lock().nodes[node.0].disk.handle()
    }

    /// Sets how long disk operations take, on all nodes.
    pub fn set_disk_pace(&self, pace: DiskPace) {
        self.machine.lock().pace = pace;
    }

    /// Sets how long work takes that is given away, on all nodes.
    pub fn set_compute_pace(&self, pace: ComputePace) {
        self.machine.lock().compute_pace = pace;
    }

    /// Bounds the number of polls of a run.
    pub fn set_max_steps(&self, steps: u64) {
        self.machine.lock().max_polls = steps;
    }

    /// Adds a checker that hears every event.
    pub fn observe(&self, observer: Observer) {
        self.machine.observers.lock().expect("no observer panics").push(observer);
    }

    /// Runs all nodes until `future`, which counts as one more task, is done.
    ///
    /// # Errors
    /// The first failure: a violation that an observer reported, a panic, or that nothing can go on.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Failure> {
        let mut future = pin!(future);
        let main = TaskWaker::new(&self.machine.queue, MAIN);
        let waker = Waker::from(main.clone());
        waker.wake_by_ref();
        let mut result = None;
        let mut poll = || {
            main.begin();
            self.machine.begin_main();
            let mut context = Context::from_waker(&waker);
            let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
            match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(value)) => result = Some(value),
                Err(panic) => {
                    self.machine.fail(Failure::panic("the run".to_owned(), "main", panic.as_ref()));
                }
            }
            Poll::Ready(())
        };
        self.engine.run(&self.machine, &mut poll)?;
        match (self.machine.lock().failure.clone(), result) {
            (Some(failure), _) => Err(failure),
            (None, Some(value)) => Ok(value),
            (None, None) => unreachable!("an engine stops when the main future is done or something failed"),
        }
    }

    /// [`Simulation::run`] for tests: a failure panics with its description.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match self.run(future) {
            Ok(value) => value,
            Err(failure) => panic!("seed {}: {failure}", self.machine.seed),
        }
    }

    fn name(&self, node: NodeId) -> String {
        self.machine.lock().nodes[node.0].name.clone()
    }

    fn stop(&self, node: NodeId, hangup: Hangup) {
        let mut inner = self.machine.lock();
        inner.nodes[node.0].life += 1;
        inner.nodes[node.0].dark = hangup == Hangup::Silent;
        inner.fuses.remove(&node);
        drop(inner);
        self.engine.stop(&self.machine, node, hangup);
    }

    /// A node's process dies: its tasks end where they stand, its page cache stays. [`Simulation::env`] gives the next
    /// incarnation.
    pub fn crash(&self, node: NodeId) {
        // The disk dies first, so that nothing which is dropped can still reach it.
        self.disk(node).crash();
        self.machine.note(&format!("process crash of node {} ({})", node.0, self.name(node)));
        self.stop(node, Hangup::Reset);
    }

    /// A node's machine loses power: what no sync covered meets its fate by these rates.
    pub fn power_loss(&self, node: NodeId, rates: PowerRates) {
        self.disk(node).power_loss(rates);
        self.machine.note(&format!("power loss of node {} ({})", node.0, self.name(node)));
        self.stop(node, Hangup::Silent);
    }

    /// Starts the next incarnation of a node: the same as [`Simulation::env`], by another name.
    pub fn restart(&self, node: NodeId) -> SimEnv {
        self.env(node)
    }

    /// Sets a node's wall clock right.
    pub fn reset_clock(&self, node: NodeId) {
        self.machine.lock().nodes[node.0].clock.wall_offset_ms = 0;
    }

    /// Moves a node's wall clock.
    pub fn jump_clock(&self, node: NodeId, by_ms: i64) {
        self.machine.lock().nodes[node.0].clock.wall_offset_ms += by_ms;
    }

    /// Lets both clocks of a node run faster (positive) or slower from now on, in parts per million.
    pub fn drift_clock(&self, node: NodeId, drift_ppm: i32) {
        let mut inner = self.machine.lock();
        let now = inner.now_ns;
        inner.nodes[node.0].clock.set_drift(now, drift_ppm);
    }

    /// Stops a node's wall clock, or lets it run again.
    pub fn freeze_clock(&self, node: NodeId, frozen: bool) {
        let mut inner = self.machine.lock();
        let now = inner.now_ns;
        inner.nodes[node.0].clock.freeze(now, frozen);
    }

    /// Stops a node's disk before its operation number `operations` from now, counted from 0: that one and all later
    /// ones hang until the node crashes. The returned future ends when that has happened. A crash removes the fuse.
    pub fn fuse(&self, node: NodeId, operations: u64) -> impl Future<Output = ()> + Send + use<> {
        self.lay(node, machine::FuseState::new(operations))
    }

    /// [`Simulation::fuse`] that only changes of directories burn, which are few among all operations: between the
    /// renaming of a file and the sync of its directory a node dies seldom by chance.
    pub fn fuse_of_directories(
        &self,
        node: NodeId,
        operations: u64,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.lay(node, machine::FuseState::of_directories(operations))
    }

    fn lay(&self, node: NodeId, fuse: machine::FuseState) -> machine::Blown {
        self.machine.lock().fuses.insert(node, fuse);
        machine::Blown { machine: self.machine.clone(), node }
    }

    /// Lays fuses from where no simulation is at hand, such as an observer.
    pub fn fuses(&self) -> Fuses {
        Fuses { machine: Arc::downgrade(&self.machine) }
    }

    /// How many disk operations all nodes have made.
    pub fn disk_operations(&self) -> u64 {
        self.machine.lock().disk_operations
    }

    /// Fails the run, as an observer does that finds a violation.
    pub fn violate(&self, violation: Violation) {
        self.machine.violate(violation);
    }

    /// Sets the link between two nodes, in both directions.
    pub fn set_link(&self, a: NodeId, b: NodeId, link: Link) {
        pipes::set_link(&self.machine, a, b, link);
        let dark = [a, b].iter().any(|node| self.machine.lock().nodes[node.0].dark);
        if !dark {
            self.engine.set_link(a, b, link);
        }
    }

    /// Lets nothing arrive that one node sends to another, or lets it arrive again; the other way stays as it is. No
    /// connection is made meanwhile.
    pub fn block_one_way(&self, from: NodeId, to: NodeId, blocked: bool) {
        pipes::block_one_way(&self.machine, from, to, blocked);
        self.engine.block_one_way(&self.machine, from, to, blocked);
    }

    /// Resets all connections between two nodes.
    pub fn reset_connections(&self, a: NodeId, b: NodeId) {
        pipes::reset_between(&self.machine, a, b);
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.machine.lock().now_ns)
    }

    /// Waits in virtual time.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        let until = self.machine.lock().now_ns.saturating_add(duration.as_nanos() as u64);
        self.machine.sleep(until)
    }

    /// The hash of everything that happened so far.
    pub fn hash(&self) -> u64 {
        self.machine.lock().hash.value()
    }

    /// Puts a line among the events that a failure shows.
    pub fn note(&self, text: &str) {
        self.machine.note(text);
    }

    /// Keeps so many events for a failure, and disk operations among them.
    pub fn trace(&self, events: usize) {
        let mut inner = self.machine.lock();
        inner.recent_limit = events;
        inner.traces_disks = true;
    }

    /// The newest events.
    pub fn recent_events(&self) -> Vec<String> {
        self.machine.recent()
    }

    /// The newest notes, which reach back further than events do: what befell machines.
    pub fn notes(&self) -> Vec<String> {
        self.machine.notes()
    }

    /// How often each reach mark was passed.
    pub fn reached(&self) -> BTreeMap<&'static str, u64> {
        self.machine.lock().reached.clone()
    }

    /// A generator for the run itself; each number is another stream.
    pub fn rng(&self, stream: u32) -> Rng {
        Rng::from_stream(self.machine.seed, 0x1000_0000_0000 | u64::from(stream))
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // Tasks hold their environment, which holds the machine, which holds the tasks.
        let nodes = self.machine.lock().nodes.len();
        for node in 0..nodes {
            self.machine.lock().nodes[node].life += 1;
            self.engine.stop(&self.machine, NodeId(node), Hangup::Reset);
        }
        pipes::clear(&self.machine);
        // Observers may hold nodes, and those their environment.
        let observers = self.machine.observers.lock().map(|mut observers| std::mem::take(&mut *observers));
        drop(observers);
    }
}

#[cfg(test)]
mod tests;
