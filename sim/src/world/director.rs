//! Carries a plan out: what was drawn at its time, and what is scripted when its event happens.
//!
//! Each fault is a future of its own that does something, waits and undoes it. All of them run within the future of
//! [`Director::run`]; when that ends they end where they stand, and [`Director::heal`] makes everything right.

mod budget;
mod clocks;
mod disks;
mod links;
mod process;
mod rot;
mod watch;

use super::nodes::Nodes;
use crate::executor::{DiskPace, NodeId, Simulation};
use highwater_env::Rng;
use highwater_faults::{
    Action, ClusterSpec, Layer, Machine, Others, Plan, Regime, Role, Scenario, ScriptedFault, Trigger,
};
use links::{Ends, Links};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;
use watch::{Fired, Watch};

/// The stream of the run's generator that the director draws from.
const STREAM: u32 = 0xd12e;

/// Carries a plan out.
pub struct Director {
    nodes: Nodes,
    plan: Plan,
    script: Vec<ScriptedFault>,
    duration: Duration,
    regime: Regime,
    cluster: ClusterSpec,
    watch: Arc<Watch>,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    links: Links,
    /// Brokers that a fault keeps down; nobody may start them meanwhile.
    held: BTreeSet<NodeId>,
    /// How many faults keep each disk full.
    full: BTreeMap<NodeId, u32>,
    counts: BTreeMap<&'static str, u64>,
    /// What rotted, and was not seen to be put back.
    rotten: Vec<rot::Rotten>,
    hit_unsynced: bool,
}

/// A fault under way.
type Acting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

impl Director {
    /// Prepares the faults of a scenario and of the plan that a seed drew from it. Scripted faults that wait for an
    /// event listen from now on.
    pub fn new(simulation: &Simulation, nodes: &Nodes, scenario: &Scenario, plan: Plan) -> Self {
        let watch = Watch::new(&scenario.script, nodes.clone(), simulation.fuses());
        Watch::listen(&watch, simulation);
        let state = State {
            rng: simulation.rng(STREAM),
            links: Links::new(plan.link),
            held: BTreeSet::new(),
            full: BTreeMap::new(),
            counts: BTreeMap::new(),
            rotten: Vec::new(),
            hit_unsynced: false,
        };
        Self {
            nodes: nodes.clone(),
            plan,
            script: scenario.script.clone(),
            duration: scenario.duration,
            regime: scenario.regime,
            cluster: scenario.cluster.clone(),
            watch,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the director")
    }

    /// Carries the plan out, from now on for as long as the scenario lasts.
    pub async fn run(&self, simulation: &Simulation) {
        let disk = self.plan.disk;
        simulation.set_disk_pace(DiskPace {
            yield_one_in: disk.yield_one_in,
            delay_one_in: disk.delay_one_in,
            delay_max: disk.delay_max,
        });
        self.lock().links.apply_all(simulation, &self.machines());
        let start = simulation.now();
        let end = start + self.duration;
        let mut due = self.due();
        let mut acting: Vec<Acting<'_>> = Vec::new();
        loop {
            while due.front().is_some_and(|(at, ..)| start + *at <= simulation.now()) {
                let Some((_, what, target)) = due.pop_front() else { break };
                acting.push(Box::pin(self.act(simulation, what, target, None)));
            }
            let next = due.front().map_or(end, |(at, ..)| (start + *at).min(end));
            let mut timer = Box::pin(simulation.sleep(next.saturating_sub(simulation.now())));
            let fired = poll_fn(|cx| {
                acting.retain_mut(|fault| fault.as_mut().poll(cx).is_pending());
                if let Some(fired) = self.watch.poll_fired(cx) {
                    return Poll::Ready(Some(fired));
                }
                timer.as_mut().poll(cx).map(|()| None)
            })
            .await;
            match fired {
                Some(Fired { fault, node }) => {
                    let ScriptedFault { what, target, .. } = self.script[fault].clone();
                    acting.push(Box::pin(self.act(simulation, what, target, Some(node))));
                }
                None if simulation.now() >= end => return,
                None => {}
            }
        }
    }

    /// Everything that has a time, by time.
    fn due(&self) -> VecDeque<(Duration, Action, Role)> {
        let drawn =
            self.plan.actions.iter().map(|timed| (timed.at, timed.what.clone(), timed.target.clone()));
        let scripted = self.script.iter().filter_map(|fault| match fault.when {
            Trigger::At(at) => Some((at, fault.what.clone(), fault.target.clone())),
            Trigger::Event { .. } => None,
        });
        let mut due: Vec<_> = drawn.chain(scripted).collect();
        due.sort_by_key(|&(at, ..)| at);
        due.into()
    }

    /// All machines that faults hit: brokers first, then controllers, then clients.
    fn machines(&self) -> Vec<NodeId> {
        self.nodes.all().into_iter().chain(self.nodes.clients()).collect()
    }

    /// The machine of that number.
    fn machine(&self, machine: Machine) -> Option<NodeId> {
        let (machines, number) = match machine {
            Machine::Broker(number) => (self.nodes.brokers(), number),
            Machine::Controller(number) => (self.nodes.controllers(), number),
            Machine::Client(number) => (self.nodes.clients(), number),
        };
        machines.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }

    /// What a report calls a machine.
    fn name(&self, node: NodeId) -> String {
        if let Some(name) = self.nodes.client_name(node) {
            return name;
        }
        if let Some(name) = self.nodes.name(node) {
            return name;
        }
        match self.nodes.clients().iter().position(|&other| other == node) {
            Some(place) => format!("client {}", place + 1),
            None => format!("node {}", node.0),
        }
    }

    /// The machines behind a role at this moment; `at` is where the event happened that the fault waited for.
    fn resolve(&self, role: &Role, at: Option<NodeId>) -> Vec<NodeId> {
        let brokers = self.nodes.brokers();
        let one = match role {
            Role::EveryBroker => return brokers,
            Role::EveryNode => return self.nodes.all(),
            Role::Nodes(set) => {
                let nodes = self.nodes.all().into_iter().enumerate();
                return nodes.filter(|(place, _)| set >> place & 1 == 1).map(|(_, node)| node).collect();
            }
            Role::Link(one, other) => {
                return [*one, *other].into_iter().filter_map(|machine| self.machine(machine)).collect();
            }
            Role::Leader(partition) => {
                self.nodes.leader(&partition.topic, partition.partition).or(at).or(brokers.first().copied())
            }
            Role::Follower(partition) => {
                let followers = self.nodes.followers(&partition.topic, partition.partition);
                match at.filter(|at| followers.contains(at)) {
                    Some(at) => Some(at),
                    None => {
                        let place = self.lock().below(followers.len() as u64);
                        followers.get(place as usize).copied()
                    }
                }
            }
            Role::ActiveController => self.nodes.controller().or(at),
            Role::Broker(number) => self.machine(Machine::Broker(*number)),
            Role::Controller(number) => self.machine(Machine::Controller(*number)),
            Role::Client(number) => self.machine(Machine::Client(*number)),
            Role::AnyBroker => at.or_else(|| {
                let place = self.lock().below(brokers.len() as u64);
                brokers.get(place as usize).copied()
            }),
        };
        one.into_iter().collect()
    }

    /// Lets one fault happen, and undoes it.
    async fn act(&self, simulation: &Simulation, what: Action, role: Role, at: Option<NodeId>) {
        let targets = self.resolve(&role, at);
        match what.layer() {
            Layer::Process => self.act_on_process(simulation, what, targets).await,
            Layer::Disk => self.act_on_disk(simulation, what, targets).await,
            Layer::Link => {
                let whole = !matches!(role, Role::Link(..));
                self.act_on_links(simulation, what, &Ends { nodes: targets, whole, from: Others::All }).await;
            }
            Layer::Clock => self.act_on_clock(simulation, what, targets).await,
        }
    }

    /// Makes everything right: disks without faults, links as good as they get, clocks right, every broker started.
    /// Scripted faults no longer happen.
    pub fn heal(&self, simulation: &Simulation) {
        simulation.note("everything heals");
        let machines = self.machines();
        for node in self.watch.close() {
            // Its disk stands still for a fault that comes no more.
            self.nodes.crash(simulation, node);
        }
        simulation.set_disk_pace(DiskPace::default());
        self.lock().links.heal(simulation, &machines);
        machines.iter().for_each(|&node| clocks::heal(simulation, &self.nodes, node));
        for node in self.nodes.all() {
            disks::heal(&simulation.disk(node));
            self.nodes.start(simulation, node);
        }
        for node in self.nodes.clients() {
            disks::heal(&simulation.disk(node));
            self.nodes.start(simulation, node);
        }
        let mut state = self.lock();
        state.held.clear();
        state.full.clear();
    }

    /// How often each fault happened, those of the disks among them.
    pub fn faults(&self, simulation: &Simulation) -> BTreeMap<&'static str, u64> {
        let mut faults = self.lock().counts.clone();
        for node in self.nodes.all() {
            for (name, count) in simulation.disk(node).counts() {
                *faults.entry(name).or_default() += count;
            }
        }
        faults
    }

    /// Whether a fault hit bytes that no sync had covered: a crash or power loss while something was pending, or a
    /// write or sync that failed.
    pub fn hit_unsynced(&self, simulation: &Simulation) -> bool {
        let sick =
            |node: &NodeId| simulation.disk(*node).counts().keys().any(|name| disks::harms_unsynced(name));
        self.lock().hit_unsynced || self.nodes.all().iter().any(sick)
    }

    fn count(&self, fault: &'static str) {
        *self.lock().counts.entry(fault).or_default() += 1;
    }
}

impl State {
    /// A number from 0 to below `bound`; 0 if there is none.
    fn below(&mut self, bound: u64) -> u64 {
        use rand::RngExt;
        if bound == 0 { 0 } else { self.rng.random_range(0..bound) }
    }
}
