//! Many seeds of the bare quorum side by side.

use super::{Outcome, lock, run};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Which seeds are run.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The first seed.
    pub first_seed: u64,
    /// How many.
    pub seeds: u64,
    /// How many are run at once.
    pub jobs: usize,
    /// One seed in so many is run twice, and must have the same hash both times; 0 for none.
    pub repeat_one_in: u64,
    /// No more seeds are begun after so many failures; 0 for no such bound.
    pub most_failures: u64,
}

/// What many seeds add up to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many of them twice.
    pub repeated: u64,
    /// Those that failed, in their order.
    pub failed: Vec<Outcome>,
    /// Those whose second run had another hash.
    pub diverged: Vec<u64>,
    /// The hash of each seed.
    pub hashes: BTreeMap<u64, u64>,
    acknowledged: u64,
    reads: u64,
    simulated: Duration,
    faults: BTreeMap<&'static str, u64>,
    reached: BTreeMap<&'static str, u64>,
}

impl Campaign {
    /// Runs the seeds. `progress` hears of every seed that is done.
    pub fn run(&self, progress: &(dyn Fn(&Outcome) + Sync)) -> Summary {
        let (next, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        let summary = Mutex::new(Summary::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let enough = failures.load(Ordering::Relaxed);
                        if number >= self.seeds || (self.most_failures > 0 && enough >= self.most_failures) {
                            return;
                        }
                        let seed = self.first_seed.wrapping_add(number);
                        let outcome = on_own_thread(seed);
                        let twice = self.repeat_one_in > 0 && number.is_multiple_of(self.repeat_one_in);
                        let again = twice.then(|| on_own_thread(seed).hash);
                        failures.fetch_add(u64::from(outcome.failure.is_some()), Ordering::Relaxed);
                        progress(&outcome);
                        lock(&summary).add(outcome, again);
                    }
                });
            }
        });
        let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        summary.failed.sort_by_key(|outcome| outcome.seed);
        summary.diverged.sort_unstable();
        summary
    }
}

/// Libraries draw from generators of their thread: each run begins with a new one.
fn on_own_thread(seed: u64) -> Outcome {
    std::thread::scope(|scope| match scope.spawn(|| run(seed, None)).join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

impl Summary {
    fn add(&mut self, outcome: Outcome, again: Option<u64>) {
        self.seeds += 1;
        self.repeated += u64::from(again.is_some());
        if again.is_some_and(|again| again != outcome.hash) {
            self.diverged.push(outcome.seed);
        }
        self.hashes.insert(outcome.seed, outcome.hash);
        self.acknowledged += outcome.acknowledged;
        self.reads += outcome.reads;
        self.simulated += outcome.simulated;
        for (what, count) in &outcome.faults {
            *self.faults.entry(what).or_default() += count;
        }
        for (mark, count) in &outcome.reached {
            *self.reached.entry(mark).or_default() += count;
        }
        if outcome.failure.is_some() {
            self.failed.push(outcome);
        }
    }

    /// Whether all is well.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.diverged.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.hashes.values().fold(0_u64, |all, hash| all.rotate_left(7) ^ hash);
        writeln!(
            f,
            "{} seeds, {} of them twice; {} failed, {} diverged; {:.0} simulated seconds, {} commands acknowledged, \
             {} reads; hash of all {hash:016x}",
            self.seeds,
            self.repeated,
            self.failed.len(),
            self.diverged.len(),
            self.simulated.as_secs_f64(),
            self.acknowledged,
            self.reads,
        )?;
        writeln!(f, "\n| fault or change | times |\n|---|---|")?;
        self.faults.iter().try_for_each(|(what, count)| writeln!(f, "| {what} | {count} |"))?;
        writeln!(f, "\n| mark | times |\n|---|---|")?;
        self.reached.iter().try_for_each(|(mark, count)| writeln!(f, "| {mark} | {count} |"))
    }
}
