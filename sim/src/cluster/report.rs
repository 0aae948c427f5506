//! What came of a test with one seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What came of a test with one seed. Two runs of a seed give the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: u64,
    /// How long it took, in simulated time.
    pub simulated: Duration,
    /// How often each fault hit, the brokers or an application.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each application was started.
    pub starts: BTreeMap<String, u64>,
    /// What befell the machines, in order: faults, starts, and what applications noted. Kept with `events`.
    pub story: Vec<String>,
    /// The newest events, if the test failed or they were asked for.
    pub events: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.simulated.as_secs_f64();
        write!(f, "seed {}: {seconds:.1} simulated seconds", self.seed)?;
        for (name, count) in &self.starts {
            write!(f, ", {count} starts of {name}")?;
        }
        self.faults.iter().try_for_each(|(fault, count)| write!(f, ", {count} x {fault}"))
    }
}
