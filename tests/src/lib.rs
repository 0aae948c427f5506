//! The real binary against stock Kafka clients, and over real processes.
//!
//! `stock-clients`, `crash-test` and `cluster-test` are programs of this package, started by name; `cargo test`
//! runs what needs no other software. The small programs around the clients are in `clients/`, one folder a
//! language; all that is expected of them, and of the broker, is said here, once.
//!
//! This is the outside of a node: real threads, real clocks, real processes.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod broker;
pub mod clients;
pub mod cluster;
pub mod compare;
pub mod corpus;
pub mod crash;
pub mod groups;
pub mod install;
pub mod kcat;
pub mod ledger;
pub mod process;
pub mod program;
pub mod proxy;
pub mod record;
pub mod stored;
pub mod streams;
pub mod suite;
pub mod workload;
pub mod workspace;
