//! The environment of one simulated node.

use super::clock::{EPOCH_MS, SimClock};
use super::machine::Machine;
use super::network::SimNetwork;
use super::task::Yield;
use super::{NodeId, Violation, machine::BoxFuture};
use crate::disk::{Op, Pacer, Pause, SimDisk, Stage};
use highwater_env::{Clock, Env, Event, Purpose, Rng, Task};
use highwater_types::{Instant, Timestamp};
use rand::RngExt;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The machine of one incarnation of a node. After a crash its tasks are gone, its files are dead and what it
/// spawns does not run.
#[derive(Clone)]
pub struct SimEnv {
    machine: Arc<Machine>,
    node: NodeId,
    life: u64,
    clock: SimClock,
    network: SimNetwork,
    disk: SimDisk,
}

impl SimEnv {
    pub(super) fn new(machine: &Arc<Machine>, node: NodeId) -> Self {
        let (life, disk) = {
            let inner = machine.lock();
            let state = &inner.nodes[node.0];
            (state.life, state.disk.handle())
        };
        Self {
            machine: machine.clone(),
            node,
            life,
            clock: SimClock { machine: machine.clone(), node },
            network: SimNetwork::new(machine, node, life),
            disk,
        }
    }

    /// Which node it is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Moves the node's wall clock.
    pub fn jump_clock(&self, by_ms: i64) {
        self.machine.lock().nodes[self.node.0].clock.wall_offset_ms += by_ms;
    }

    /// Sets the node's wall clock right.
    pub fn reset_clock(&self) {
        self.machine.lock().nodes[self.node.0].clock.wall_offset_ms = 0;
    }

    /// The time that a right wall clock would show.
    pub fn true_time(&self) -> Timestamp {
        Timestamp(EPOCH_MS + (self.machine.lock().now_ns / 1_000_000) as i64)
    }

    /// True time since the start, whatever the node's own clocks show.
    pub fn true_now(&self) -> Instant {
        Instant(self.machine.lock().now_ns)
    }

    /// Fails the run, as an observer does that finds a violation.
    pub fn violate(&self, violation: Violation) {
        self.machine.violate(violation);
    }

    /// Puts a line among the events that a failure shows.
    pub fn note(&self, text: &str) {
        self.machine.note(text);
    }
}

impl Env for SimEnv {
    type Network = SimNetwork;
    type Disk = SimDisk;

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn network(&self) -> &SimNetwork {
        &self.network
    }

    fn disk(&self) -> &SimDisk {
        &self.disk
    }

    fn entropy(&self, purpose: Purpose) -> Rng {
        self.machine.entropy(self.node, purpose)
    }

    /// The executor runs a random one of the ready tasks; the first turn of a new task comes after a yield of its
    /// own, so that its start mixes with what its parent does next.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        let future: BoxFuture = Box::pin(async move {
            Yield::default().await;
            task.await;
        });
        self.machine.spawn(self.node, self.life, name, future)
    }

    /// Mostly done at once, and now and then much later, as where other work has the processors.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        Yield::default().await;
        let result = work();
        let done = self.machine.lock().computed_at();
        if let Some(until) = done {
            self.machine.sleep(until).await;
        }
        Yield::default().await;
        result
    }

    fn observe(&self, event: &Event) {
        self.machine.observe(self.node, self.life, event);
    }
}

/// Lets a node's disk operations yield or take virtual time.
pub(super) struct DiskPacer {
    pub(super) machine: Weak<Machine>,
    pub(super) node: NodeId,
}

impl Pacer for DiskPacer {
    fn pause(&self, op: Op, path: &Path, stage: Stage, stall: Duration) -> Option<Pause> {
        let machine = self.machine.upgrade()?;
        if !machine.burn(self.node, op, stage == Stage::Before) {
            return Some(Box::pin(std::future::pending()));
        }
        let mut inner = machine.lock();
        inner.hash.word(op as u64);
        inner.hash.feed(path.as_os_str().as_encoded_bytes());
        if stage == Stage::Before {
            inner.trace_disk(op, path);
        }
        let pace = inner.pace;
        let mut delay = stall;
        if inner.chance_one_in(pace.delay_one_in) {
            let most = pace.delay_max.as_nanos().max(1) as u64;
            delay += Duration::from_nanos(inner.pauses.random_range(0..most));
        }
        if delay > Duration::ZERO {
            let until = inner.now_ns.saturating_add(delay.as_nanos() as u64);
            drop(inner);
            return Some(Box::pin(machine.sleep(until)));
        }
        let yields = inner.chance_one_in(pace.yield_one_in);
        drop(inner);
        yields.then(|| Box::pin(Yield::default()) as Pause)
    }
}
