//! A test with many seeds.

use super::{Report, TestFailure};
use crate::executor::{Failure, Violation};
use std::ops::RangeInclusive;

/// The variable that asks for one seed alone.
const ONE: &str = "HIGHWATER_SEED";
/// The variable that asks for another number of seeds.
const COUNT: &str = "HIGHWATER_SEEDS";
/// Of so many seeds, one is run twice.
const REPEATED_ONE_IN: u64 = 20;

/// Runs a test with the seeds from 1 to `count`, one after another up to the first that fails.
///
/// `HIGHWATER_SEED=17` in the environment runs that seed alone, `HIGHWATER_SEEDS=10000` another number of them. The
/// first seed and every twentieth are run twice, and must go the same way both times: a test that takes time,
/// randomness or the order of a hash map from outside its environment cannot be repeated, and is told so.
///
/// # Errors
///
/// The first failure.
pub fn seeds(
    count: u64,
    mut test: impl FnMut(u64) -> Result<Report, TestFailure>,
) -> Result<Vec<Report>, TestFailure> {
    let variable = |name| std::env::var(name).ok();
    let (one, other_count) = (variable(ONE), variable(COUNT));
    let seeds =
        chosen(count, one.as_deref(), other_count.as_deref()).map_err(|why| TestFailure::set_up(0, why))?;
    let mut reports = Vec::new();
    for seed in seeds {
        let report = test(seed)?;
        if one.is_none() && seed % REPEATED_ONE_IN == 1 {
            let again = test(seed)?;
            if again != report {
                return Err(TestFailure::new(diverged(), again));
            }
        }
        reports.push(report);
    }
    Ok(reports)
}

fn diverged() -> Failure {
    let text = "two runs of the seed are not the same: something in the test does not come from its environment, such \
                as time, randomness, or the order of a hash map";
    Failure::Violation(Violation::new("determinism", text))
}

/// The seeds that are meant.
fn chosen(count: u64, one: Option<&str>, other_count: Option<&str>) -> Result<RangeInclusive<u64>, String> {
    let number = |name: &str, text: &str| {
        let parsed = text.trim().parse::<u64>();
        parsed.map_err(|_| format!("{name} must be a number, and is {text:?}"))
    };
    if let Some(text) = one {
        let seed = number(ONE, text)?;
        return Ok(seed..=seed);
    }
    let count = other_count.map_or(Ok(count), |text| number(COUNT, text))?;
    Ok(1..=count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn report(seed: u64, hash: u64) -> Report {
        Report {
            seed,
            hash,
            simulated: Duration::ZERO,
            faults: BTreeMap::new(),
            starts: BTreeMap::new(),
            story: Vec::new(),
            events: Vec::new(),
        }
    }

    #[test]
    fn the_environment_chooses_seeds() {
        assert_eq!(chosen(5, None, None), Ok(1..=5));
        assert_eq!(chosen(5, None, Some("200")), Ok(1..=200));
        assert_eq!(chosen(5, Some(" 17 "), Some("200")), Ok(17..=17));
        assert!(chosen(5, Some("x"), None).unwrap_err().contains("HIGHWATER_SEED must be a number"));
    }

    #[test]
    fn a_test_that_does_not_repeat_itself_is_told_so() {
        let mut calls = 0;
        let result = seeds(3, |seed| {
            calls += 1;
            Ok(report(seed, calls))
        });
        let told = result.unwrap_err().to_string();
        assert!(told.contains("two runs of the seed are not the same"), "{told}");
        assert!(told.contains("HIGHWATER_SEED=1 cargo test"), "{told}");
    }

    #[test]
    fn the_first_seed_that_fails_is_the_last() {
        let result = seeds(9, |seed| {
            if seed == 3 { Err(TestFailure::set_up(seed, "no".to_owned())) } else { Ok(report(seed, 0)) }
        });
        assert_eq!(result.unwrap_err().seed(), 3);
    }
}
