//! Measurements of a broker by the work it cannot avoid.
//!
//! [`floor`] is a program that does the least any broker must: read the frame, check the batch's checksum, write the
//! bytes, sync if asked to, answer; and the mirror of it for reading. [`load`] speaks Kafka's protocol to it and to
//! a real broker alike, and [`compare`] runs both in turn and prints their ratio. [`cluster`] does so with three
//! brokers, [`metadata`] measures the cluster's state alone, and [`compaction`] that of
//! one log.
//!
//! Nothing here is part of a node, and the floor keeps no promise: it recovers nothing and trusts its clients.

// A measuring program reads clocks and starts threads, and its output is what it is for.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stdout, clippy::print_stderr)]

pub mod cluster;
pub mod compaction;
pub mod compare;
pub mod floor;
pub mod load;
pub mod memory;
pub mod metadata;
pub mod process;
pub mod stats;
