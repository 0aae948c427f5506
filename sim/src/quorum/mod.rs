//! A bare quorum under faults: members that order numbered commands, crash, lose power, messages and disks, and whose
//! voters change, held against S1 to S4 and against what their clients saw.
//!
//! No broker runs here: a member is a store, its metadata log and a [`Quorum`](highwater_quorum::Quorum), and calls
//! travel as framed bytes over the simulated network. Clients sit on the members and work while theirs leads.

mod admin;
mod campaign;
mod client;
mod director;
mod links;
mod machine;
mod node;
mod plan;
mod record;
mod rot;
mod transport;

pub use campaign::{Campaign, Summary};
pub use plan::Plan;

use crate::checkers::members::Members;
use crate::checkers::rules::check;
use crate::checkers::{s1::OneLeader, s2::OneVote, s3::OneLog, s4::Majority};
use crate::executor::{Failure, NodeId, Simulation, Violation};
use director::Director;
use highwater_env::{Event, Rng};
use node::Shared;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Far more polls than any run takes.
const MOST_STEPS: u64 = 30_000_000;

/// What came of a run.
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
    /// How long it took for the members.
    pub simulated: Duration,
    /// Commands that were acknowledged.
    pub acknowledged: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Faults and changes, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Reach marks that were passed.
    pub reached: BTreeMap<&'static str, u64>,
}

/// The checkers of a quorum.
#[derive(Default)]
pub(crate) struct Checks {
    s1: OneLeader,
    s2: OneVote,
    s3: OneLog,
    s4: Majority,
    /// For those who want to know what is committed.
    pub(crate) members: Members,
}

impl Checks {
    fn hear(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        self.s1.hear_of(node, event)?;
        self.s2.hear_of(node, event)?;
        self.s3.hear_of(node, event)?;
        self.s4.hear_of(node, event)?;
        self.opened_whole(node, event)?;
        self.members.take(node, event);
        Ok(())
    }

    /// A member comes back with all that it had on its disk, or says that it lost some.
    fn opened_whole(&self, node: NodeId, event: &Event) -> Result<(), Violation> {
        let Some(member) = self.members.member(node) else { return Ok(()) };
        match *event {
            Event::QuorumTruncated { from } if member.opening => check(from >= member.synced, "S10", || {
                let synced = member.synced;
                format!(
                    "node {} opens its log with entries up to {from}, and had synced up to {synced}",
                    node.0
                )
            }),
            // Before it has applied anything it tells of the snapshot that it found.
            Event::QuorumSnapshot { index, installed: false, .. } if member.applied.is_none() => {
                check(Some(index) >= member.covered, "S10", || {
                    let had = member.covered;
                    format!("node {} opens with a snapshot up to {index}, and had one up to {had:?}", node.0)
                })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn stopped(&mut self, node: NodeId) {
        self.s3.stopped(node);
        self.s4.stopped(node);
        self.members.stopped(node);
    }

    pub(crate) fn wiped(&mut self, node: NodeId) {
        self.s2.wiped(node);
        self.s3.wiped(node);
        self.s4.wiped(node);
        self.members.wiped(node);
    }
}

/// Runs the quorum of a seed. With `trace` a failure shows so many events, and disk operations among them.
pub fn run(seed: u64, trace: Option<usize>) -> Outcome {
    let plan = Plan::draw(&mut Rng::from_stream(seed, 0x9004));
    let simulation = Simulation::new(seed);
    simulation.set_max_steps(MOST_STEPS);
    if let Some(events) = trace {
        simulation.trace(events);
    }
    simulation.set_disk_pace(plan.pace);
    simulation.set_compute_pace(plan.compute_pace);
    let nodes: Vec<NodeId> =
        (0..plan.nodes()).map(|number| simulation.node(&node::host(number)).node()).collect();
    let checks = Arc::new(Mutex::new(Checks::default()));
    let heard = Arc::clone(&checks);
    simulation.observe(Box::new(move |node, _, event| lock(&heard).hear(node, event)));
    let shared = Shared::new(plan, &simulation, &nodes, checks);
    let director = Director::new(&simulation, shared.clone(), nodes);
    let failure = match simulation.run(director.drive()) {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(Failure::Violation(violation)),
        Err(failure) => Some(failure),
    };
    let record = lock(&shared.record);
    Outcome {
        seed,
        events: if failure.is_some() { simulation.recent_events() } else { Vec::new() },
        failure,
        hash: simulation.hash(),
        simulated: simulation.now(),
        acknowledged: record.acknowledged(),
        reads: record.reads(),
        faults: lock(&shared.faults).clone(),
        reached: simulation.reached(),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
