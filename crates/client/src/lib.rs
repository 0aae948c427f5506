//! The client: producer, consumer of assigned partitions, and administration, over an environment.
//!
//! It is what the command line, the simulator and Rust programs use. It reaches the network through
//! [`highwater_env::Env`] alone, so that the same client runs against a simulated cluster.

mod admin;
mod client;
mod config;
mod connection;
mod error;
mod metadata;

pub use admin::{Admin, ConfigChange, EARLIEST, FoundOffset, LATEST, MAX_TIMESTAMP, NewTopic, Resource};
pub use client::{Client, Leader};
pub use config::ClientConfig;
pub use error::ClientError;
pub use metadata::{ClusterMetadata, PartitionMetadata, TopicMetadata};
