//! Small synthetic event sequences and histories for the tests of checkers.

mod stage;
mod tale;

pub use stage::{LOG, Stage, disk_with};
pub use tale::{Tale, alter, delete_records, time};
