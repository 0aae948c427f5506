//! A cluster under faults: real brokers and real clients on simulated machines.
//!
//! A run goes through these phases:
//!
//! 1. The brokers start, and the topics of the scenario are made.
//! 2. Clients work ([`workload`]) and faults happen, side by side, for as long as the scenario says.
//! 3. Everything heals: disks are faultless, links and clocks right, brokers up.
//! 4. What clients have under way must end, and new records must be taken, within a bounded time (L3).
//! 5. A fresh consumer reads all there is ([`final_read`]), and the checkers hold it against what clients saw.

mod clients;
mod director;
mod final_read;
mod nodes;
mod operator;
mod outcome;
mod phases;
mod workload;

pub use director::Director;
pub use nodes::{Nodes, Tally};
pub use outcome::{Options, Outcome};

pub(crate) use clients::{Machine, Shared};
pub(crate) use nodes::{PORT, config, host, ids, terms};
pub(crate) use operator::look_after;
pub(crate) use phases::beside;
pub(crate) use workload::create_all;

use crate::checkers::{Checkers, Regime, Stop};
use crate::executor::{Failure, Simulation};
use crate::history;
use crate::history::{FinalState, Op};
use highwater_faults::Scenario;
use highwater_types::Instant;
use outcome::Summary;
use std::sync::{Arc, Mutex};

/// The stream of the run's generator that plans are drawn from.
const PLAN: u32 = 0x91a7;

/// A cluster and its clients.
pub(crate) struct World<'a> {
    pub scenario: &'a Scenario,
    pub simulation: &'a Simulation,
    pub nodes: Nodes,
    pub shared: Arc<Shared>,
    /// The clients' machines, in the order of their numbers.
    pub machines: Vec<Machine>,
    /// The machine of whoever looks after everything is over.
    pub verifier: Machine,
    pub checkers: Arc<Mutex<Checkers>>,
    pub director: Director,
}

fn regime(scenario: &Scenario) -> Regime {
    match scenario.regime {
        highwater_faults::Regime::WithinBudget => Regime::WithinBudget,
        highwater_faults::Regime::Unlimited => Regime::Unlimited,
    }
}

impl<'a> World<'a> {
    fn new(simulation: &'a Simulation, scenario: &'a Scenario) -> Result<Self, String> {
        nodes::ids(&scenario.cluster).try_for_each(|id| nodes::config(id, &scenario.cluster).map(drop))?;
        let cluster = scenario.cluster.clone();
        let nodes = Nodes::new(simulation, &scenario.cluster, move |id| {
            nodes::config(id, &cluster).expect("the configuration was taken before")
        });
        let shared = Shared::new(
            scenario.workload.clone(),
            scenario.topics.clone(),
            nodes.bootstrap(),
            regime(scenario) == Regime::Unlimited,
            scenario.cluster.nodes() == 1,
        );
        let machine =
            |name: &str| Machine { env: nodes.add_client(simulation, name), shared: Arc::clone(&shared) };
        let machines = (1..=scenario.workload.clients()).map(|number| machine(&format!("client-{number}")));
        let machines = machines.collect();
        // Not among the clients: no fault hits it.
        let verifier = Machine { env: simulation.node("verifier"), shared: Arc::clone(&shared) };
        let checkers = Arc::new(Mutex::new(Checkers::all(regime(scenario), nodes::terms(scenario))));
        listen(simulation, &nodes, &checkers);
        // After the nodes, who know then who leads at the event that a fault waits for.
        let plan = highwater_faults::draw(scenario, &mut simulation.rng(PLAN));
        nodes.set_repair_after(plan.repair_after);
        let director = Director::new(simulation, &nodes, scenario, plan);
        Ok(Self { scenario, simulation, nodes, shared, machines, verifier, checkers, director })
    }

    /// Holds the final state against everything before.
    fn finish(&self, state: &FinalState) -> Result<(), Failure> {
        let history = self.shared.history();
        lock(&self.checkers).finish(&history, state).map_err(Failure::Violation)
    }

    fn summary(&self) -> Summary {
        let history = self.shared.history();
        let acknowledged = history.entries().iter().filter(|entry| match &entry.op {
            Op::Send { acks, outcome: history::Outcome::Ok(_), .. } => *acks != 0,
            _ => false,
        });
        Summary {
            acknowledged: acknowledged.count() as u64,
            operations: self.shared.operations(),
            history: outcome::hash_of(&history),
            tally: self.nodes.tally(),
            faults: self.director.faults(self.simulation),
            hit_unsynced: self.director.hit_unsynced(self.simulation),
        }
    }
}

/// Lets nodes and checkers hear of everything.
pub(crate) fn listen(simulation: &Simulation, nodes: &Nodes, checkers: &Arc<Mutex<Checkers>>) {
    for node in nodes.all() {
        if let Some(id) = nodes.id(node) {
            lock(checkers).add_broker(node, id, simulation.disk(node));
        }
    }
    let (all, hearing) = (nodes.clone(), Arc::clone(checkers));
    simulation.observe(Box::new(move |node, now: Instant, event| {
        all.hear(node, now, event);
        lock(&hearing).hear(node, now, event)
    }));
    let told = Arc::clone(checkers);
    nodes.on_start(move |node, ahead_ms| lock(&told).node_started(node, ahead_ms));
    let checkers = Arc::clone(checkers);
    nodes.on_end(move |node, how: Stop| lock(&checkers).node_stopped(node, how));
}

fn lock(checkers: &Mutex<Checkers>) -> std::sync::MutexGuard<'_, Checkers> {
    checkers.lock().expect("no checker panics")
}

/// The faults that a seed draws for a scenario.
pub fn plan(scenario: &Scenario, seed: u64) -> highwater_faults::Plan {
    highwater_faults::draw(scenario, &mut Simulation::new(seed).rng(PLAN))
}

/// Runs a scenario with a seed, which decides everything.
pub fn run(scenario: &Scenario, seed: u64, options: &Options) -> Outcome {
    let simulation = Simulation::on(options.engine, seed);
    if let Some(events) = options.trace {
        simulation.trace(events);
    }
    let world = match World::new(&simulation, scenario) {
        Ok(world) => world,
        Err(why) => return Outcome::impossible(seed, why),
    };
    let result = simulation.run(phases::run(&world));
    let failure = match result {
        Ok(state) => world.finish(&state).err(),
        Err(failure) => Some(failure),
    };
    Outcome::new(seed, failure, &simulation, world.summary(), options)
}
