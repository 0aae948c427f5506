//! The engines that a simulation can run on.

pub(super) mod turmoil;

use std::fmt;

/// What runs the tasks of the nodes and carries their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum EngineKind {
    /// A small executor and network of the simulator's own, which skip idle time.
    #[default]
    Executor,
    /// turmoil: a host per node, byte-stream TCP, time in ticks.
    Turmoil,
}

impl EngineKind {
    /// All engines of this build.
    pub const ALL: [Self; 2] = [Self::Executor, Self::Turmoil];
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Executor => "executor",
            Self::Turmoil => "turmoil",
        })
    }
}

#[cfg(test)]
mod tests;
