//! What is fuzzed.

mod metadata;
mod records;
mod wire;

use highwater_env::Rng;

/// Code under test, with a generator of what it is meant to read.
pub trait Target {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// A valid input.
    fn generate(&mut self, rng: &mut Rng) -> Vec<u8>;

    /// Makes checksums of a damaged input right again, so that the code behind them is reached.
    fn repair(&self, _input: &mut Vec<u8>) {}

    /// Runs the code under test. It may refuse the input in any way but a panic; an error is a broken property.
    fn run(&mut self, input: &[u8]) -> Result<(), String>;
}

/// Every target.
pub fn all() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(wire::Requests),
        Box::new(wire::Responses),
        Box::new(records::Batches),
        Box::new(records::Compressed),
        Box::new(metadata::Frames),
    ]
}

#[cfg(test)]
mod tests {
    use super::all;
    use crate::runner::{Budget, input, run, run_input};

    /// Enough to find what breaks at once; `cargo xtask fuzz` runs for longer.
    const CASES: u64 = 3_000;

    #[test]
    fn nothing_breaks_at_once() {
        for mut target in all() {
            let report = run(&mut *target, 1, 0, Budget::Cases(CASES));
            assert_eq!(report.failure, None, "{}", target.name());
        }
    }

    #[test]
    fn cases_repeat() {
        for mut target in all() {
            for case in 0..50 {
                let once = input(&mut *target, 3, case);
                assert_eq!(once, input(&mut *target, 3, case), "{} {case}", target.name());
                assert_eq!(run_input(&mut *target, case, &once), Ok(()), "{} {case}", target.name());
            }
        }
    }
}
