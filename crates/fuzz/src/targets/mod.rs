//! What is fuzzed.

mod config;
mod groups;
mod metadata;
mod node;
mod quorum;
mod records;
mod store;
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

    /// What an input stands for, for people.
    fn describe(&self, input: &[u8]) -> String {
        format!("{} bytes", input.len())
    }

    /// How many cases the tests run: enough to find what breaks at once.
    fn test_cases(&self) -> u64 {
        2_000
    }

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
        Box::new(groups::GroupRecords),
        Box::new(config::Config),
        Box::new(quorum::Calls),
        Box::new(quorum::Replies),
        Box::new(quorum::Payloads),
        Box::new(quorum::Files),
        Box::new(store::Stores::new()),
        Box::new(node::Nodes),
    ]
}

#[cfg(test)]
mod tests {
    use super::all;
    use crate::hex::unhex;
    use crate::runner::{Budget, input, run, run_input};
    use std::path::Path;

    #[test]
    fn nothing_breaks_at_once() {
        for mut target in all() {
            let cases = Budget::Cases(target.test_cases());
            let report = run(&mut *target, 1, 0, cases);
            assert_eq!(report.failure, None, "{}", target.name());
        }
    }

    #[test]
    fn cases_repeat() {
        for mut target in all() {
            for case in 0..20 {
                let once = input(&mut *target, 3, case);
                assert_eq!(once, input(&mut *target, 3, case), "{} {case}", target.name());
                assert_eq!(run_input(&mut *target, case, &once), Ok(()), "{} {case}", target.name());
            }
        }
    }

    /// Files are named by their target: `store-....hex`.
    #[test]
    fn what_once_failed_does_well() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let mut targets = all();
            let target =
                targets.iter_mut().find(|target| name.starts_with(target.name())).expect("a target's name");
            let input = unhex(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(run_input(&mut **target, 0, &input), Ok(()), "{name}");
            files += 1;
        }
        assert!(files > 0);
    }
}
