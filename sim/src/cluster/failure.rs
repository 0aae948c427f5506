//! A test that failed: what was expected, what happened, and how to see it again.

use super::Report;
use crate::executor::{Failure, Violation};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The property of a test's own check.
pub(super) const CHECK: &str = "check";
/// The property of a test that cannot be set up.
const SET_UP: &str = "set-up";

/// A test that failed. Its text says with which seed, what was expected, what happened last, and how to repeat it;
/// `Debug` shows the same, so that a test function which returns it as an error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// Why.
    pub failure: Failure,
    /// What happened until then.
    pub report: Box<Report>,
    /// The test, as `cargo test` calls it, where that is known.
    pub test: Option<String>,
}

impl TestFailure {
    pub(super) fn new(failure: Failure, report: Report) -> Self {
        // The harness names the thread of each test after it.
        let thread = std::thread::current();
        let test = thread.name().filter(|name| *name != "main").map(str::to_owned);
        Self { failure, report: Box::new(report), test }
    }

    /// A test that did not even begin.
    pub(super) fn set_up(seed: u64, why: String) -> Self {
        let report = Report {
            seed,
            hash: 0,
            simulated: Duration::ZERO,
            faults: BTreeMap::new(),
            starts: BTreeMap::new(),
            story: Vec::new(),
            events: Vec::new(),
        };
        Self::new(Failure::Violation(Violation::new(SET_UP, why)), report)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.report.seed
    }

    /// What was expected and is not so, in a sentence.
    pub fn expectation(&self) -> String {
        match &self.failure {
            Failure::Violation(Violation { property: CHECK | SET_UP, message }) => message.clone(),
            other => other.to_string(),
        }
    }

    /// The command that repeats it.
    pub fn repeat(&self) -> String {
        let test = self.test.as_deref().map(|test| format!(" {test}")).unwrap_or_default();
        format!("HIGHWATER_SEED={} cargo test{test}", self.seed())
    }
}

impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} fails: {}", self.seed(), self.expectation())?;
        for (title, lines) in [("what befell", &self.report.story), ("the last events", &self.report.events)]
        {
            if !lines.is_empty() {
                writeln!(f, "\n{title}:")?;
                lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
            }
        }
        writeln!(f, "\n{}", self.report)?;
        write!(f, "repeat it: {}", self.repeat())
    }
}

impl fmt::Debug for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for TestFailure {}
