//! Many seeds side by side, and what they add up to.

mod excerpt;
mod summary;
mod tables;
mod time;

pub use summary::{Diverged, Failed, ScenarioSummary, Summary};
pub use time::Deadline;

use crate::logs::exhaustive;
use crate::run::{How, Run};
use crate::scenario::Found;
use highwater_faults::ScenarioFile;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Which seeds are run.
pub struct Campaign<'a> {
    /// The scenarios, which take turns.
    pub scenarios: &'a [Found],
    /// How they are run.
    pub how: How,
    /// The first seed of each scenario.
    pub first_seed: u64,
    /// How many seeds, over all scenarios.
    pub seeds: u64,
    /// How many are run at once.
    pub jobs: usize,
    /// When no more seeds are begun.
    pub deadline: Option<Deadline>,
    /// Raised when no more seeds are to be begun.
    pub stop: &'a AtomicBool,
    /// No more seeds are begun after so many failures; 0 for no such bound.
    pub most_failures: u64,
    /// One seed in so many is run twice, and must have the same hash both times; 0 for none.
    pub repeat_one_in: u64,
}

/// One seed, and the hash of its second run if there was one.
struct Done {
    run: Run,
    again: Option<u64>,
    took: Duration,
}

impl Campaign<'_> {
    /// Runs the seeds. What is found depends on the seeds alone, not on the number of jobs, unless it is cut short.
    /// `progress` hears of every seed that is done.
    pub fn run(&self, progress: &(dyn Fn(&Run) + Sync)) -> Summary {
        let next = AtomicU64::new(0);
        let failures = AtomicU64::new(0);
        let done = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.seeds || self.is_over(failures.load(Ordering::Relaxed)) {
                            return;
                        }
                        let one = self.one(number);
                        failures.fetch_add(u64::from(one.run.failure.is_some()), Ordering::Relaxed);
                        progress(&one.run);
                        done.lock().expect("no job panics while it holds the results").insert(number, one);
                    }
                });
            }
        });
        let done = done.into_inner().expect("no job panics while it holds the results");
        let mut summary = Summary::new(self.scenarios, self.seeds);
        for (number, one) in done {
            if one.again.is_some_and(|again| again != one.run.hash) {
                summary.diverged.push(self.divergence(number, one.run.seed));
            }
            summary.add(number, one.run, one.took);
        }
        summary
    }

    fn is_over(&self, failures: u64) -> bool {
        self.stop.load(Ordering::Relaxed)
            || self.deadline.is_some_and(Deadline::has_passed)
            || (self.most_failures > 0 && failures >= self.most_failures)
    }

    fn place(&self, number: u64) -> (&ScenarioFile, u64) {
        let count = self.scenarios.len() as u64;
        (&self.scenarios[(number % count) as usize].file, self.first_seed.wrapping_add(number / count))
    }

    fn one(&self, number: u64) -> Done {
        let (file, seed) = self.place(number);
        let (run, took) = on_own_thread(|| {
            let started = time::thread_time();
            let run = Run::of(file, seed, self.how);
            (run, time::thread_time().saturating_sub(started))
        });
        // Scenarios take turns, and so do those of which a seed is repeated.
        let turn = number + number / self.scenarios.len() as u64;
        let repeats = self.repeat_one_in > 0 && turn.is_multiple_of(self.repeat_one_in);
        let again = repeats.then(|| on_own_thread(|| Run::of(file, seed, self.how)).hash);
        Done { run, again, took }
    }

    /// What a reader of a failure needs of the run's events. Makes the run again, with a whole trace.
    pub fn excerpt(&self, failed: &Failed) -> Vec<String> {
        let (file, seed) = self.place(failed.number);
        let how = How { trace: Some(usize::MAX), ..self.how };
        let events = on_own_thread(|| Run::of(file, seed, how)).events;
        excerpt::excerpt(&events, &failed.failure.to_string())
    }

    /// Where two runs of a seed part.
    fn divergence(&self, number: u64, seed: u64) -> Diverged {
        let (file, _) = self.place(number);
        let how = How { trace: Some(usize::MAX), ..self.how };
        let [first, second] = [(); 2].map(|()| on_own_thread(|| Run::of(file, seed, how)).events);
        let at = first.iter().zip(&second).position(|(one, other)| one != other);
        let at = at.unwrap_or(first.len().min(second.len()));
        let line = |events: &[String]| events.get(at).cloned().unwrap_or_else(|| "(the end)".to_owned());
        Diverged {
            scenario: file.name().to_owned(),
            seed,
            event: at + 1,
            lines: [line(&first), line(&second)],
        }
    }
}

/// Libraries draw from generators of their thread: each run begins with a new one.
fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
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
