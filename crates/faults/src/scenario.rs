//! What a scenario file says.

use crate::{FaultKind, RandomFaults, ScriptedFault, TopicSpec, WorkloadSpec};
use std::collections::BTreeMap;
use std::time::Duration;

/// A scenario file, of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum ScenarioFile {
    /// Random histories of one store on a disk that fails.
    Disk(DiskScenario),
    /// A cluster with clients, under faults.
    Cluster(Box<Scenario>),
}

/// Random histories of one store on a disk that fails; everything is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskScenario {
    /// Its file's name, without the ending.
    pub name: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// What the disk may do.
    pub regime: Regime,
    /// Whether the store's log is compacted, and its records have keys.
    pub compacted: bool,
}

/// What the faults may do, and so what must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regime {
    /// A good copy and a quorum are always left, and what a successful sync covered stays: nothing that was
    /// acknowledged may be lost, and the cluster comes back by itself.
    WithinBudget,
    /// Anything goes: what is damaged may be lost, but is never served, and never lost silently.
    Unlimited,
}

/// A cluster with clients, under faults.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its file's name, without the ending.
    pub name: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// For how long clients work and faults happen, in simulated time.
    pub duration: Duration,
    /// What the faults may do.
    pub regime: Regime,
    /// The brokers.
    pub cluster: ClusterSpec,
    /// The topics that are there from the start. At least one.
    pub topics: Vec<TopicSpec>,
    /// What clients do.
    pub workload: WorkloadSpec,
    /// Faults that happen when something else does.
    pub script: Vec<ScriptedFault>,
    /// Faults that happen by chance.
    pub random: RandomFaults,
    /// What should come of it.
    pub expect: Expect,
}

/// The nodes of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// How many brokers there are; they are called broker 1, broker 2 and so on.
    pub brokers: u32,
    /// How many nodes are controllers and no brokers; they are called controller 1 and so on. With none, every
    /// broker is a controller as well.
    pub controllers: u32,
    /// The racks that brokers stand in, in turn; none if they are not known.
    pub racks: Vec<String>,
    /// The broker configuration `durability`: "sync" or "replicated".
    pub durability: String,
    /// Broker configurations by Kafka's names.
    pub settings: BTreeMap<String, String>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            brokers: 1,
            controllers: 0,
            racks: Vec::new(),
            durability: "sync".to_owned(),
            settings: BTreeMap::new(),
        }
    }
}

impl ClusterSpec {
    /// How many nodes there are: brokers, and those that are controllers alone.
    pub fn nodes(&self) -> u32 {
        self.brokers + self.controllers
    }

    /// The strictest regime in which such a cluster can have a fault by chance. Where page caches are the promise,
    /// one of them at a time may be lost, and then only where others have the same.
    pub fn regime_of(&self, kind: FaultKind) -> Regime {
        let beyond = match kind {
            _ if self.durability != "replicated" => false,
            FaultKind::PowerCutOfAll | FaultKind::PowerCutOfSome => true,
            FaultKind::PowerCut | FaultKind::PowerCutInRecovery | FaultKind::CrashThenPowerCut => {
                self.brokers < 3
            }
            _ => false,
        };
        if beyond { Regime::Unlimited } else { kind.regime() }
    }

    /// How many nodes vote in the quorum at first.
    pub fn voters(&self) -> u32 {
        if self.controllers > 0 { self.controllers } else { self.brokers }
    }
}

/// What should come of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// How each seed ends.
    pub verdict: Verdict,
    /// Reach marks that must be passed by some seed.
    pub reach: Vec<String>,
    /// How long a send may take at most, from when the client was given the record until its outcome is known.
    pub longest_send: Option<Duration>,
    /// How long a member of a group may wait at most until it knows what became of a commit of its offsets.
    pub longest_commit: Option<Duration>,
}

/// How a run ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// No property is violated.
    #[default]
    Pass,
    /// This property is violated: a regression that stands for a known bug.
    Violates(String),
}
