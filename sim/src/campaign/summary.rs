//! What a campaign adds up to.

use crate::executor::Failure;
use crate::hash::EventHash;
use crate::logs;
use crate::run::Run;
use crate::scenario::Found;
use highwater_faults::{DiskScenario, ScenarioFile};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The scenario's name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// How many runs came before it, over all scenarios.
    pub number: u64,
    /// Why.
    pub failure: Failure,
    /// The newest events before it.
    pub events: Vec<String>,
}

impl Failed {
    /// The seed and the broken property, in one line.
    pub fn headline(&self) -> String {
        format!("seed {} of {} violates {}", self.seed, self.scenario, self.failure)
    }

    /// The headline, the last of the events, and the command that repeats it. `file` is the scenario's path.
    pub fn report(&self, file: &str, options: &str) -> String {
        let mut out = self.headline();
        for event in &self.events {
            let _ = write!(out, "\n  {event}");
        }
        let _ =
            write!(out, "\nrepeat it with: highwater-sim replay {} --scenario {file}{options}", self.seed);
        out
    }
}

/// A seed whose second run was another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diverged {
    /// The scenario's name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// The number of the first event that differs, from 1.
    pub event: usize,
    /// What the two runs have there.
    pub lines: [String; 2],
}

/// What the seeds of one scenario add up to.
#[derive(Clone, Debug, Default)]
pub struct ScenarioSummary {
    /// The scenario's name.
    pub name: String,
    /// How many seeds were run.
    pub seeds: u64,
    /// How many of them count.
    pub counted: u64,
    /// How many failed.
    pub failed: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Faults.
    pub faults: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Processor time.
    pub took: Duration,
    /// Marks that some seed is to pass.
    pub wanted: BTreeSet<String>,
}

/// What a campaign adds up to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many runs were asked for.
    pub asked: u64,
    /// By scenario, in the order of the files.
    pub scenarios: Vec<ScenarioSummary>,
    /// How often each fault hit.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each reach mark was passed.
    pub reached: BTreeMap<&'static str, u64>,
    /// The runs that failed.
    pub failed: Vec<Failed>,
    /// Seeds whose second run was another one.
    pub diverged: Vec<Diverged>,
    /// The hash of all runs, in their order: the same campaign gives the same.
    pub hash: u64,
}

/// The marks that histories of a bare store should reach.
fn marks_of(scenario: &DiskScenario) -> &'static [&'static str] {
    if scenario.compacted { &logs::keyed::MARKS } else { &logs::MARKS }
}

impl Summary {
    pub(super) fn new(scenarios: &[Found], asked: u64) -> Self {
        let scenario = |Found { file, .. }: &Found| ScenarioSummary {
            name: file.name().to_owned(),
            wanted: match file {
                ScenarioFile::Cluster(scenario) => scenario.expect.reach.iter().cloned().collect(),
                ScenarioFile::Disk(scenario) => {
                    marks_of(scenario).iter().map(|&mark| mark.to_owned()).collect()
                }
            },
            ..ScenarioSummary::default()
        };
        Self { asked, scenarios: scenarios.iter().map(scenario).collect(), ..Self::default() }
    }

    pub(super) fn add(&mut self, number: u64, run: Run, took: Duration) {
        let faults: u64 = run.faults.values().sum();
        let mut hash = EventHash::default();
        [self.hash, number, run.seed, run.hash].into_iter().for_each(|word| hash.word(word));
        self.hash = hash.value();
        for (fault, count) in run.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        let scenario = self.scenarios.iter_mut().find(|scenario| scenario.name == run.scenario);
        if let Some(scenario) = scenario {
            scenario.seeds += 1;
            scenario.counted += u64::from(run.counts);
            scenario.failed += u64::from(run.failure.is_some());
            scenario.acknowledged += run.acknowledged;
            scenario.operations += run.operations;
            scenario.faults += faults;
            scenario.simulated += run.simulated;
            scenario.took += took;
            scenario.wanted.retain(|mark| !run.reached.contains_key(mark.as_str()));
        }
        for (mark, count) in run.reached {
            *self.reached.entry(mark).or_default() += count;
        }
        if let Some(failure) = run.failure {
            let (scenario, seed, events) = (run.scenario, run.seed, run.events);
            self.failed.push(Failed { scenario, seed, number, failure, events });
        }
    }

    /// How many runs there were.
    pub fn runs(&self) -> u64 {
        self.scenarios.iter().map(|scenario| scenario.seeds).sum()
    }

    /// Records acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.scenarios.iter().map(|scenario| scenario.acknowledged).sum()
    }

    /// Whether nothing failed.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.diverged.is_empty()
    }
}
