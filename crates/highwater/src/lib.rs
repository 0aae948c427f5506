//! The `highwater` binary's parts: configuration, the running of a node, and the command line.

// The futures of whole nodes are deep.
#![recursion_limit = "256"]

pub mod admin;
pub mod cli;
pub mod commands;
pub mod config;
pub mod local;
pub mod logging;
pub mod node;
pub mod output;
pub mod record_format;
pub mod session;
pub mod settings;

/// Where Kafka clients connect by default.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9092";
/// Where metrics and health are served by default.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:9644";
