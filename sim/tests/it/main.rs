//! The simulator as a whole, in one program: linking it takes longer than running it.
#![allow(clippy::unwrap_used)] // All of it is tests.

mod command;
mod director;
mod histories;
mod regressions;
mod world;
