//! Everything that a test runs on, and the order in which things happen.

use super::applications::{Applications, Program, Running};
use super::failure::CHECK;
use super::{ClusterBuilder, Faults, Healed, Report};
use crate::checkers::{self, Checkers};
use crate::executor::{Simulation, Violation};
use crate::world::{self, Director, Machine, Nodes, Shared};
use highwater_env::Env;
use highwater_faults::{Expect, Plan, Regime, Scenario, WorkloadSpec};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The streams of the run's generator that the plans of the cluster and of the applications are drawn from.
const CLUSTER_PLAN: u32 = 0x91a7;
const APPLICATION_PLAN: u32 = 0xa991;
/// How long brokers may take to come up, and topics to be made, when nothing is wrong.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked whether something is so.
const GLANCE: Duration = Duration::from_millis(20);

/// What must hold at the end.
pub(super) type Check = Box<dyn FnOnce(Healed) -> Running + Send>;

/// Everything that a test runs on.
pub(super) struct Rig<'a> {
    simulation: &'a Simulation,
    nodes: Nodes,
    applications: Applications,
    /// The machine that topics are made from and the check runs on.
    tester: Machine,
    director: Director,
    regime: Regime,
    check_within: Duration,
}

impl<'a> Rig<'a> {
    pub(super) fn new(
        simulation: &'a Simulation,
        settings: ClusterBuilder,
        programs: Vec<(String, Program)>,
        duration: Duration,
    ) -> Result<Self, String> {
        world::ids(&settings.spec).try_for_each(|id| world::config(id, &settings.spec).map(drop))?;
        for (place, (name, _)) in programs.iter().enumerate() {
            if programs[..place].iter().any(|(other, _)| other == name) {
                return Err(format!("there are two applications called {name}"));
            }
        }
        let regime = settings.faults.regime();
        let scenario = scenario(&settings, programs.len(), duration);
        let spec = settings.spec;
        let nodes = Nodes::new(simulation, &scenario.cluster, move |id| {
            world::config(id, &spec).expect("the configuration was taken before")
        });
        let applications = Applications::new(simulation, &nodes, programs);
        let shared = Shared::new(
            scenario.workload.clone(),
            settings.topics,
            nodes.bootstrap(),
            regime == Regime::Unlimited,
            scenario.cluster.nodes() == 1,
        );
        // Not among the clients: no fault hits it.
        let tester = Machine { env: simulation.node("check"), shared };
        let terms = world::terms(&scenario);
        let regime_of = match regime {
            Regime::WithinBudget => checkers::Regime::WithinBudget,
            Regime::Unlimited => checkers::Regime::Unlimited,
        };
        let checkers = Arc::new(Mutex::new(Checkers::all(regime_of, terms)));
        world::listen(simulation, &nodes, &checkers);
        let plan = plan(simulation, &settings.faults, &scenario, applications.machines().len());
        nodes.set_repair_after(plan.repair_after);
        let director = Director::new(simulation, &nodes, &scenario, plan);
        let check_within = settings.check_within;
        Ok(Self { simulation, nodes, applications, tester, director, regime, check_within })
    }

    /// Goes through all phases. Beside them, somebody looks after brokers and applications.
    pub(super) async fn run(&self, check: Option<Check>) {
        let looked_after = world::beside(self.phases(check), self.nodes.supervise(self.simulation));
        world::beside(looked_after, self.applications.supervise(self.simulation)).await;
    }

    async fn phases(&self, check: Option<Check>) {
        let simulation = self.simulation;
        for node in self.nodes.all() {
            self.nodes.start(simulation, node);
        }
        if self.nodes.all().len() > 1 && !self.wait(UP_WITHIN, || self.nodes.all_well()).await {
            return self.violate("L3", format!("a node does not serve {UP_WITHIN:?} after the first start"));
        }
        self.tester.work("create-topics", world::create_all(self.tester.clone()));
        if !self.wait(UP_WITHIN, || self.tester.shared.busy() == 0).await {
            return self.violate("L3", format!("the topics are not there after {UP_WITHIN:?}"));
        }
        if self.nodes.all().len() > 1 {
            let operator = world::look_after(self.tester.clone(), self.nodes.clone());
            self.tester.env.spawn("operator", operator).detach();
        }
        if let Some(why) = self.tester.shared.refused_topic() {
            return self.violate("set-up", why);
        }
        self.applications.start_all(simulation);
        self.director.run(simulation).await;
        self.director.heal(simulation);
        let up = self.wait(UP_WITHIN, || self.nodes.all_well()).await;
        if !up && self.regime == Regime::WithinBudget {
            return self.violate("L3", format!("a broker does not serve {UP_WITHIN:?} after faults ended"));
        }
        if let Some(check) = check {
            self.check(check).await;
        }
    }

    /// Runs the check in a task of its own, so that a panic in it is told as one of an application is.
    async fn check(&self, check: Check) {
        let disk = |(name, node)| (name, self.simulation.disk(node));
        let healed = Healed {
            env: self.tester.env.clone(),
            bootstrap: self.nodes.bootstrap(),
            applications: self.applications.clone(),
            disks: self.applications.machines().into_iter().map(disk).collect(),
        };
        let (busy, env) = (self.tester.busy(), self.tester.env.clone());
        let checking = async move {
            if let Err(why) = check(healed).await {
                env.violate(Violation::new(CHECK, why));
            }
            drop(busy);
        };
        self.tester.env.spawn("check", checking).detach();
        if !self.wait(self.check_within, || self.tester.shared.busy() == 0).await {
            let text = format!("the check has not ended {:?} after everything healed", self.check_within);
            self.violate(CHECK, text);
        }
    }

    /// Waits until something is so; false if it is not in time.
    async fn wait(&self, within: Duration, is_so: impl Fn() -> bool) -> bool {
        let until = self.simulation.now() + within;
        while !is_so() {
            if self.simulation.now() >= until {
                return false;
            }
            self.simulation.sleep(GLANCE).await;
        }
        true
    }

    fn violate(&self, property: &'static str, message: String) {
        self.simulation.violate(Violation::new(property, message));
    }

    /// What came of it, without events.
    pub(super) fn report(&self, seed: u64) -> Report {
        let mut faults = self.director.faults(self.simulation);
        for (_, node) in self.applications.machines() {
            for (name, count) in self.simulation.disk(node).counts() {
                *faults.entry(name).or_default() += count;
            }
        }
        Report {
            seed,
            hash: self.simulation.hash(),
            simulated: self.simulation.now(),
            faults,
            starts: self.applications.starts(),
            story: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// The cluster, and applications as its clients, as a scenario: what faults are drawn from.
fn scenario(settings: &ClusterBuilder, applications: usize, duration: Duration) -> Scenario {
    // Faults of clients are drawn even where there is none, and then hit nobody.
    let producers = u32::try_from(applications.max(1)).unwrap_or(u32::MAX);
    Scenario {
        name: "application".to_owned(),
        description: String::new(),
        duration,
        regime: settings.faults.regime(),
        cluster: settings.spec.clone(),
        topics: settings.topics.clone(),
        workload: WorkloadSpec { producers, consumers: 0, admins: 0, ..WorkloadSpec::default() },
        script: Vec::new(),
        random: settings.faults.random(&settings.spec),
        expect: Expect::default(),
    }
}

fn plan(simulation: &Simulation, faults: &Faults, scenario: &Scenario, applications: usize) -> Plan {
    let mut plan = highwater_faults::draw(scenario, &mut simulation.rng(CLUSTER_PLAN));
    let applications = u32::try_from(applications).unwrap_or(u32::MAX);
    faults.draw_applications(&mut plan, scenario, applications, &mut simulation.rng(APPLICATION_PLAN));
    plan
}
