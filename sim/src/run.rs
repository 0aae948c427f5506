//! One run of a scenario, whichever kind it is of.

use crate::executor::{EngineKind, Failure};
use crate::{logs, world};
use highwater_faults::{DiskScenario, Regime, ScenarioFile, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a scenario is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// The engine of clusters. Histories of a bare store have no network and run on the executor.
    pub engine: EngineKind,
    /// Keep so many of the newest events, disk operations among them, whatever the verdict.
    pub trace: Option<usize>,
}

/// What came of one seed of a scenario.
#[derive(Clone, Debug)]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The newest events, if it failed or they were asked for.
    pub events: Vec<String>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Operations that clients began.
    pub operations: u64,
    /// How long it took, in simulated time; of clusters alone.
    pub simulated: Duration,
    /// How often each fault hit.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each reach mark was passed.
    pub reached: BTreeMap<&'static str, u64>,
    /// Whether a clean verdict says anything.
    pub counts: bool,
}

impl Run {
    /// Runs one seed of a scenario.
    pub fn of(file: &ScenarioFile, seed: u64, how: How) -> Self {
        let mut run = match file {
            ScenarioFile::Disk(scenario) => Self::of_disk(scenario, seed, how),
            ScenarioFile::Cluster(scenario) => {
                let options = world::Options { engine: how.engine, trace: how.trace };
                let outcome = world::run(scenario, seed, &options);
                Self {
                    scenario: scenario.name.clone(),
                    seed,
                    failure: outcome.failure,
                    events: outcome.events,
                    hash: outcome.hash,
                    acknowledged: outcome.acknowledged,
                    operations: outcome.operations,
                    simulated: outcome.simulated,
                    faults: outcome.faults,
                    reached: outcome.reached,
                    counts: outcome.counts,
                }
            }
        };
        if let ScenarioFile::Cluster(scenario) = file
            && let Verdict::Violates(property) = &scenario.expect.verdict
        {
            run.expect(property);
        }
        run
    }

    fn of_disk(scenario: &DiskScenario, seed: u64, how: How) -> Self {
        let regime = match scenario.regime {
            Regime::WithinBudget => logs::Regime::Honest,
            Regime::Unlimited => logs::Regime::Lying,
        };
        let outcome = match scenario.compacted {
            true => logs::keyed::run(seed, regime, how.trace),
            false => logs::run(seed, regime, how.trace),
        };
        Self {
            scenario: scenario.name.clone(),
            seed,
            failure: outcome.failure,
            events: outcome.events,
            hash: outcome.hash,
            acknowledged: outcome.acknowledged,
            operations: outcome.operations,
            simulated: Duration::ZERO,
            // A history is short; what counts is that something could have been lost.
            counts: outcome.acknowledged > 0 && outcome.crashes > 0,
            faults: outcome.faults,
            reached: outcome.reached,
        }
    }

    /// Turns the verdict round: this property must be violated.
    fn expect(&mut self, property: &str) {
        self.failure = match self.failure.take() {
            Some(failure) if failure.property() == property => None,
            Some(other) => Some(other),
            None => Some(Failure::Violation(crate::Violation::new(
                "expectation",
                format!("this scenario stands for a violation of {property}, and there was none"),
            ))),
        };
    }
}
