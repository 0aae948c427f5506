//! The log's histories: random use of a store on a disk that fails, held against an all-seeing record.
//!
//! The checkers are those of the durability promise that concern one disk: S8, S9, S10 and S14 on events, H1 to H5 and
//! H8 on what is read back after every recovery.

mod changes;
mod checks;
pub mod exhaustive;
mod ghost;
mod history;
pub mod keyed;
mod marks;
mod plan;
mod producer;
mod repair;
mod replica;
mod verify;
mod workload;

pub use history::{Outcome, run, run_plan};
pub use marks::MARKS;
pub use plan::{Ending, Incarnation, Plan, Regime};
