//! What one seed goes through.

use crate::{Action, FaultKind, Role};
use std::collections::BTreeSet;
use std::time::Duration;

/// What one seed goes through, apart from what is scripted.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The kinds of faults that this seed has.
    pub swarm: BTreeSet<FaultKind>,
    /// The faults, by time.
    pub actions: Vec<Timed>,
    /// How long messages take; None: as on a good network.
    pub link: Option<LinkDelays>,
    /// How long disk operations take.
    pub disk: DiskDelays,
    /// How long after a log has failed somebody restarts its node.
    pub repair_after: Duration,
}

/// A fault at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// When, from the start of the workload.
    pub at: Duration,
    /// What happens.
    pub what: Action,
    /// Whom it hits.
    pub target: Role,
}

/// How long messages take, one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkDelays {
    /// The least.
    pub min: Duration,
    /// The mean.
    pub mean: Duration,
}

/// How long disk operations take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskDelays {
    /// Of so many operations, one at random lets other tasks run.
    pub yield_one_in: u32,
    /// Of so many operations, one at random takes time; 0 for none.
    pub delay_one_in: u32,
    /// The longest such time.
    pub delay_max: Duration,
}
