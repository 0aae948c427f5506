//! The simulator: a disk that fails as disks do, and a deterministic executor that runs the code of production on
//! simulated machines.
//!
//! One seed decides everything. A failing run prints its seed, and the seed repeats it.
//!
//! To test an application of your own against a simulated cluster, start with [`Cluster`] and its example in
//! [`cluster`].

// The futures of whole nodes are deep.
#![recursion_limit = "256"]

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulator needs --cfg tokio_unstable, which seeds the draws that tokio makes by itself; a RUSTFLAGS variable \
     replaces the flags of .cargo/config.toml and must repeat it"
);

pub mod campaign;
pub mod checkers;
pub mod cluster;
pub mod disk;
pub mod executor;
pub mod hash;
pub mod history;
pub mod junit;
pub mod logs;
pub mod quorum;
pub mod run;
pub mod scenario;
pub mod world;

pub use cluster::{Cluster, ClusterBuilder, Exit, Faults, Healed, Report, TestFailure, seeds};
pub use executor::{EngineKind, Failure, NodeId, SimEnv, Simulation, Violation};
pub use highwater_faults::FaultKind;
