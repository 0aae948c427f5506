//! Many histories side by side, and what they add up to.

use crate::executor::Failure;
use crate::logs::{self, Outcome, Regime, exhaustive};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Every so many-th seed is run a second time, and must end with the same hash.
const REPEAT_ONE_IN: u64 = 20;

/// Which histories are run.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// What their disks may do.
    pub regime: Regime,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many are run at once.
    pub jobs: usize,
}

/// A history that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// What its disk was allowed to do.
    pub regime: Regime,
    /// Why.
    pub failure: Failure,
    /// The newest events before it.
    pub events: Vec<String>,
}

/// What a campaign adds up to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many histories were run.
    pub histories: u64,
    /// Seeds whose second run had another hash.
    pub diverged: Vec<u64>,
    /// Disk operations.
    pub operations: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Batches that were read and compared after recoveries.
    pub compared: u64,
    /// Crashes of both kinds.
    pub crashes: u64,
    /// Faults that were injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// Reach marks that were passed.
    pub reached: BTreeMap<&'static str, u64>,
    /// The histories that failed, by seed.
    pub failed: Vec<Failed>,
}

impl Campaign {
    /// Runs all histories. The result depends on the seeds alone, not on the number of jobs.
    pub fn run(&self) -> Summary {
        let next = AtomicU64::new(0);
        let outcomes = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.seeds {
                            return;
                        }
                        let seed = self.first_seed.wrapping_add(number);
                        let outcome = logs::run(seed, self.regime, None);
                        let repeated = number.is_multiple_of(REPEAT_ONE_IN);
                        let same = !repeated || logs::run(seed, self.regime, None).hash == outcome.hash;
                        outcomes
                            .lock()
                            .expect("no job panics while it holds the outcomes")
                            .insert(number, (outcome, same));
                    }
                });
            }
        });
        let outcomes = outcomes.into_inner().expect("no job panics while it holds the outcomes");
        let mut summary = Summary::default();
        for (outcome, same) in outcomes.into_values() {
            if !same {
                summary.diverged.push(outcome.seed);
            }
            summary.add(outcome, self.regime);
        }
        summary
    }
}

/// Runs all scripts of the exhaustive mode, several at once.
pub fn exhaustive(seed: u64, states: usize, jobs: usize) -> Vec<exhaustive::Report> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(script) = exhaustive::SCRIPTS.get(number) else { return };
                    let report = exhaustive::run(script, seed, states);
                    reports.lock().expect("no job panics while it holds the reports").insert(number, report);
                }
            });
        }
    });
    reports.into_inner().expect("no job panics while it holds the reports").into_values().collect()
}

impl Summary {
    fn add(&mut self, outcome: Outcome, regime: Regime) {
        self.histories += 1;
        self.operations += outcome.operations;
        self.acknowledged += outcome.acknowledged;
        self.compared += outcome.compared;
        self.crashes += outcome.crashes;
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (mark, count) in outcome.reached {
            *self.reached.entry(mark).or_default() += count;
        }
        if let Some(failure) = outcome.failure {
            self.failed.push(Failed { seed: outcome.seed, regime, failure, events: outcome.events });
        }
    }

    /// Takes in another campaign's summary.
    pub fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.diverged.extend(other.diverged);
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.compared += other.compared;
        self.crashes += other.crashes;
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for (mark, count) in other.reached {
            *self.reached.entry(mark).or_default() += count;
        }
        self.failed.extend(other.failed);
    }

    /// Whether nothing failed.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.diverged.is_empty()
    }

    /// Tables of what was run, which faults were injected and which marks were passed.
    pub fn tables(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            let _ = writeln!(out, "{text}");
        };
        line(
            "| histories | disk operations | records acknowledged | batches compared | crashes | failed |"
                .to_owned(),
        );
        line("|---|---|---|---|---|---|".to_owned());
        line(format!(
            "| {} | {} | {} | {} | {} | {} |",
            self.histories,
            self.operations,
            self.acknowledged,
            self.compared,
            self.crashes,
            self.failed.len()
        ));
        line("\n| fault | injected |\n|---|---|".to_owned());
        for (fault, count) in &self.faults {
            line(format!("| {fault} | {count} |"));
        }
        line("\n| mark | reached |\n|---|---|".to_owned());
        for mark in logs::MARKS {
            line(match self.reached.get(mark) {
                Some(count) => format!("| {mark} | {count} |"),
                None => format!("| {mark} | NEVER |"),
            });
        }
        out
    }
}

impl Failed {
    /// The seed, the broken property, the newest events, and the command that repeats it.
    pub fn report(&self, mutant: Option<&str>) -> String {
        let mutant = mutant.map(|id| format!(" --mutant {id}")).unwrap_or_default();
        let mut out = self.headline();
        for event in &self.events {
            let _ = write!(out, "\n  {event}");
        }
        let (seed, regime) = (self.seed, self.regime);
        let _ = write!(out, "\nrepeat it with: highwater-sim replay {seed} --regime {regime}{mutant}");
        out
    }

    /// The failure's first words: the property, if it is one.
    pub fn checker(&self) -> &'static str {
        match &self.failure {
            Failure::Violation(violation) => violation.property,
            Failure::Panic { .. } => "panic",
            Failure::Deadlock { .. } => "deadlock",
            Failure::TooLong { .. } => "livelock",
        }
    }

    /// The seed and the broken property, in one line.
    pub fn headline(&self) -> String {
        format!("seed {} ({} disk) violates {}", self.seed, self.regime, self.failure)
    }
}
