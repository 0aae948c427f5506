//! Damaged input against every parser of outside bytes.
//!
//! A [`Target`] makes valid input and runs the code under test on whatever became of it; [`mutate`] damages it in
//! between; [`runner`] catches panics, endless loops and memory that the input does not account for. A case is decided
//! by target, seed and number, so one line repeats it.
//!
//! There is no feedback from coverage: generators know the formats instead, and repair checksums after the damage, so
//! that the code behind them is reached.

// A tool that runs by the clock and prints; nothing here is part of a node.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stdout, clippy::print_stderr)]

pub mod allocator;
pub mod hex;
pub mod mutate;
pub mod runner;
pub mod targets;

pub use targets::Target;
