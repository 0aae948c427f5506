//! Scenario files and fault plans: what a simulated cluster goes through.
//!
//! A [`Scenario`] is read from TOML; [`draw`] makes of it and a seed the [`Plan`] of one run. Nothing here knows of
//! nodes, disks or networks: whoever owns those carries a plan out.
//!
//! Architecture invariant: pure. The same scenario and generator give the same plan everywhere.

mod action;
mod draw;
mod error;
mod kind;
mod parse;
mod plan;
mod random;
mod reader;
mod role;
mod scenario;
mod script;
mod text;
mod topic;
mod trigger;
mod workload;

pub use action::{Action, Layer, Others, SyncPersonality, Unsynced, Way};
pub use draw::draw;
pub use error::ScenarioError;
pub use kind::{FaultKind, Scope};
pub use plan::{DiskDelays, LinkDelays, Plan, Timed};
pub use random::RandomFaults;
pub use role::{Machine, Role};
pub use scenario::{ClusterSpec, DiskScenario, Expect, Regime, Scenario, ScenarioFile, Verdict};
pub use script::{ScriptedFault, Stage};
pub use topic::{PartitionName, TopicSpec};
pub use trigger::{EventKind, Trigger};
pub use workload::{Acks, Churn, WorkloadSpec};
