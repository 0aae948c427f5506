//! Runs a target's cases, and tells which of them went wrong.

use crate::allocator::{CURRENT_CASE, measured};
use crate::mutate::mutate;
use crate::targets::Target;
use highwater_env::Rng;
use rand::RngExt;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How much memory a case may take beyond what its input accounts for.
const MEMORY_BYTES: usize = 64 << 20;

/// How much memory a byte of input may account for.
const MEMORY_PER_BYTE: usize = 1024;

/// How long a case may take.
const CASE_TIME: Duration = Duration::from_secs(2);

/// A case that takes this long never ends: the process is ended.
const HANG_TIME: Duration = Duration::from_secs(30);

/// One case in this many is left whole: valid input must do well.
const LEFT_WHOLE: u32 = 16;

/// How long to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// By the clock.
    Time(Duration),
    /// By number.
    Cases(u64),
}

/// A case that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its number.
    pub case: u64,
    /// Its input.
    pub input: Vec<u8>,
    /// What went wrong.
    pub message: String,
}

/// What came of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many cases were run.
    pub cases: u64,
    /// How long they took.
    pub time: Duration,
    /// The first that went wrong, where the run ended.
    pub failure: Option<Failure>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.cases as f64 / self.time.as_secs_f64().max(1e-9);
        write!(f, "{} cases, {rate:.0} per second", self.cases)
    }
}

/// Runs cases from `first` on until the budget is used up or one goes wrong.
pub fn run(target: &mut dyn Target, seed: u64, first: u64, budget: Budget) -> Report {
    listen_for_panics();
    let start = Instant::now();
    let mut cases = 0;
    loop {
        let time = start.elapsed();
        let over = match budget {
            Budget::Time(limit) => time >= limit,
            Budget::Cases(limit) => cases >= limit,
        };
        if over {
            return Report { cases, time, failure: None };
        }
        let case = first + cases;
        let input = input(target, seed, case);
        cases += 1;
        if let Err(message) = run_input(target, case, &input) {
            let failure = Some(Failure { case, input, message });
            return Report { cases, time: start.elapsed(), failure };
        }
    }
}

/// The input of a case.
pub fn input(target: &mut dyn Target, seed: u64, case: u64) -> Vec<u8> {
    let mut rng = Rng::from_stream(seed, case);
    let mut input = target.generate(&mut rng);
    if rng.random_range(0..LEFT_WHOLE) != 0 {
        let other = target.generate(&mut rng);
        mutate(&mut input, &other, &mut rng);
        if rng.random() {
            target.repair(&mut input);
        }
    }
    input
}

/// Runs the code under test on one input.
pub fn run_input(target: &mut dyn Target, case: u64, input: &[u8]) -> Result<(), String> {
    CURRENT_CASE.store(case, Ordering::Relaxed);
    let start = Instant::now();
    let (outcome, memory) = measured(|| catch_unwind(AssertUnwindSafe(|| target.run(input))));
    let time = start.elapsed();
    match outcome {
        Ok(result) => result?,
        Err(_) => return Err(PANIC.take().unwrap_or_else(|| "a panic without a message".to_owned())),
    }
    if memory > MEMORY_BYTES + MEMORY_PER_BYTE * input.len() {
        return Err(format!("took {memory} bytes of memory for {} bytes of input", input.len()));
    }
    if time > CASE_TIME {
        return Err(format!("took {time:.1?}"));
    }
    Ok(())
}

thread_local! {
    /// The last panic of this thread, with its place.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics for the report instead of printing them: the hook alone knows their place.
fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANIC.replace(Some(panic.to_string()));
            // Tests print their own.
            if cfg!(test) {
                before(panic);
            }
        }));
    });
}

/// Starts a thread that ends the process when a case does not end. `describe` tells how to repeat a case.
pub fn watch(describe: impl Fn(u64) -> String + Send + 'static) {
    std::thread::spawn(move || {
        let mut seen = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let case = CURRENT_CASE.load(Ordering::Relaxed);
            if seen.0 != case {
                seen = (case, Instant::now());
            } else if seen.1.elapsed() > HANG_TIME {
                eprintln!("case {case} does not end: {}", describe(case));
                std::process::exit(1);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes wrong in the way that the input's first byte says, if that is not what was generated.
    struct Fragile;

    impl Target for Fragile {
        fn name(&self) -> &'static str {
            "fragile"
        }

        fn generate(&mut self, _rng: &mut Rng) -> Vec<u8> {
            vec![0; 4]
        }

        fn run(&mut self, input: &[u8]) -> Result<(), String> {
            match input.first() {
                Some(1) => panic!("at the disco"),
                Some(2) => drop(std::hint::black_box(vec![1u8; MEMORY_BYTES + (1 << 20)])),
                Some(3) => return Err("not what it should be".to_owned()),
                _ => {}
            }
            Ok(())
        }
    }

    fn check(input: &[u8], expected: Option<&str>) {
        listen_for_panics();
        let message = run_input(&mut Fragile, 0, input).err();
        let fits = match (&message, expected) {
            (None, None) => true,
            (Some(message), Some(part)) => message.contains(part),
            _ => false,
        };
        assert!(fits, "{message:?} should have {expected:?}");
    }

    #[test]
    fn panics_memory_and_broken_properties_are_failures() {
        check(&[0, 0], None);
        check(&[1], Some("at the disco"));
        check(&[1], Some("runner.rs"));
        check(&[2], Some("bytes of memory"));
        check(&[3], Some("not what it should be"));
    }

    #[test]
    fn a_failure_is_found_and_its_number_repeats_it() {
        let report = run(&mut Fragile, 5, 0, Budget::Cases(100_000));
        let failure = report.failure.expect("one in some hundred cases has such a first byte");
        assert_eq!(failure.case + 1, report.cases);
        assert_eq!(input(&mut Fragile, 5, failure.case), failure.input);
        let again = run(&mut Fragile, 5, failure.case, Budget::Cases(1));
        assert_eq!(again.failure, Some(failure));
    }
}
