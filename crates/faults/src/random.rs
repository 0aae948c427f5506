//! Faults that happen by chance.

use crate::FaultKind;
use std::collections::BTreeMap;
use std::time::Duration;

/// Faults that happen by chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomFaults {
    /// Whether each seed leaves a good part of the faults out and has rates of its own for the others.
    pub swarm: bool,
    /// The mean time between two faults of a kind; a kind that is not here does not happen.
    pub intervals: BTreeMap<FaultKind, Duration>,
    /// Whether links have the delays of a bad network instead of those of a good one.
    pub link_delays: bool,
    /// Whether disk operations take time.
    pub disk_delays: bool,
}

impl Default for RandomFaults {
    fn default() -> Self {
        Self { swarm: true, intervals: BTreeMap::new(), link_delays: false, disk_delays: true }
    }
}
