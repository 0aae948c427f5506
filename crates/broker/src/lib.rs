//! The node: drives the pure cores over an environment.
//!
//! A [`Node`] opens the store of its disk, replays the cluster's metadata, and serves Kafka's protocol. A connection
//! is one task ([`connection`]); a request goes from its bytes to the handler of its API ([`dispatch`], [`handlers`])
//! without a hop to another task; partitions ([`partition`]) tell who waits for them once per group commit. The
//! metadata changes in one place ([`cluster`]) and is looked up in another ([`directory`]).
//!
//! Architecture invariant: nothing here names an operating system, a runtime or a clock; all of it comes in as
//! [`Env`](highwater_env::Env). Bytes from outside never panic a node, and no size they declare is believed before
//! memory is taken for it.

// The futures of whole nodes are deep.
#![recursion_limit = "256"]

mod append_queue;
mod budget;
mod buffers;
mod cluster;
mod config;
mod connection;
mod connections;
mod directory;
mod dispatch;
mod errors;
mod groups;
mod handlers;
mod internal;
mod latch;
mod link;
mod listener;
mod maintenance;
mod metrics;
mod node;
mod partition;
mod producer_ids;
mod progress;
mod replication;
mod response;
mod scrub;
mod service;
mod signal;
mod state;
mod topic;
mod warnings;

pub use cluster::ClusterError;
pub use config::{BrokerConfig, Limits, ListenerConfig, VoterConfig};
pub use metrics::{Counter, Gauge, Histogram, Metrics, PerApi};
pub use node::{Node, StartError};
