//! What goes wrong in a test, and how often.

use highwater_env::Rng;
use highwater_faults::{
    ClusterSpec, FaultKind, Plan, RandomFaults, Regime, Role, Scenario, Scope, Timed, draw,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What hits the machine of an application at the usual rates. Its links and clocks have the faults that those of any
/// client of the cluster have.
const USUAL_OF_APPLICATIONS: &[FaultKind] = &[
    FaultKind::Crash,
    FaultKind::PowerCut,
    FaultKind::PowerCutInRecovery,
    FaultKind::Pause,
    FaultKind::DiskStall,
];

/// What goes wrong in a test, and how often.
///
/// Each seed draws its own faults from this: it leaves some kinds out, has rates of its own for the others, and draws
/// the moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    cluster: BTreeMap<FaultKind, Duration>,
    applications: BTreeMap<FaultKind, Duration>,
    delays: bool,
}

impl Faults {
    /// Nothing goes wrong, and nothing is slow.
    pub fn none() -> Self {
        Self::default()
    }

    /// What happens to machines that are looked after, more often than it does: crashes, power losses, failing, full
    /// and hanging disks of brokers, bad links, wrong clocks; and of each application crashes, power losses, pauses
    /// and a slow disk. Nothing that was synced is lost, so that an application which does the right thing loses
    /// nothing either.
    pub fn usual() -> Self {
        let kinds = FaultKind::ALL.iter().filter(|kind| kind.regime() == Regime::WithinBudget);
        Self {
            cluster: kinds.map(|&kind| (kind, kind.usual())).collect(),
            applications: USUAL_OF_APPLICATIONS.iter().map(|&kind| (kind, kind.usual())).collect(),
            delays: true,
        }
    }

    /// This kind of fault hits the cluster, and the links and clocks of applications, with this mean time between
    /// two. Kinds of the unlimited regime damage what brokers have synced: then records may be lost, and reported.
    #[must_use]
    pub fn with(mut self, kind: FaultKind, mean: Duration) -> Self {
        self.cluster.insert(kind, mean);
        self
    }

    /// This kind of fault does not hit the cluster.
    #[must_use]
    pub fn without(mut self, kind: FaultKind) -> Self {
        self.cluster.remove(&kind);
        self
    }

    /// This kind of fault hits each application, with this mean time between two. It must be one of processes, disks
    /// or clocks but for orderly restarts, of which an application has none; others are left out, as links belong to
    /// the cluster.
    #[must_use]
    pub fn with_application(mut self, kind: FaultKind, mean: Duration) -> Self {
        self.applications.insert(kind, mean);
        self
    }

    /// This kind of fault does not hit applications.
    #[must_use]
    pub fn without_application(mut self, kind: FaultKind) -> Self {
        self.applications.remove(&kind);
        self
    }

    /// What the faults may do to the cluster.
    pub(super) fn regime(&self) -> Regime {
        self.cluster.keys().map(|kind| kind.regime()).max().unwrap_or(Regime::WithinBudget)
    }

    /// The faults of the cluster, as a scenario has them.
    pub(super) fn random(&self, cluster: &ClusterSpec) -> RandomFaults {
        let mut intervals = self.cluster.clone();
        // Some take several nodes: with one, a power cut of all would be another plain power cut.
        intervals.retain(|kind, _| cluster.nodes() >= kind.least_nodes());
        RandomFaults { swarm: true, intervals, link_delays: self.delays, disk_delays: self.delays }
    }

    /// Adds the faults of so many applications to a plan that was drawn for the cluster.
    pub(super) fn draw_applications(
        &self,
        plan: &mut Plan,
        scenario: &Scenario,
        applications: u32,
        rng: &mut Rng,
    ) {
        let mut intervals = self.applications.clone();
        intervals.retain(|&kind, _| can_hit_application(kind));
        if applications == 0 || intervals.is_empty() {
            return;
        }
        for (kind, mean) in &mut intervals {
            if kind.scope() == Scope::Cluster {
                *mean /= applications;
            }
        }
        // Drawn as if applications were brokers, so that their faults are like those of brokers.
        let scenario = Scenario {
            cluster: ClusterSpec { brokers: applications, ..ClusterSpec::default() },
            random: RandomFaults { intervals, ..scenario.random.clone() },
            ..scenario.clone()
        };
        let drawn = draw(&scenario, rng);
        plan.swarm.extend(drawn.swarm);
        plan.actions.extend(drawn.actions.into_iter().map(|timed| Timed {
            target: match timed.target {
                Role::Broker(number) => Role::Client(number),
                other => other,
            },
            ..timed
        }));
        plan.actions.sort_by_key(|timed| timed.at);
    }
}

fn can_hit_application(kind: FaultKind) -> bool {
    let of_process_or_clock = matches!(
        kind,
        FaultKind::Crash
            | FaultKind::PowerCut
            | FaultKind::PowerCutInRecovery
            | FaultKind::CrashThenPowerCut
            | FaultKind::Pause
            | FaultKind::Wipe
            | FaultKind::ClockJump
            | FaultKind::ClockDrift
            | FaultKind::ClockFreeze
    );
    of_process_or_clock || kind.scope() == Scope::EachBroker
}
