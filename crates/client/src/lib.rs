//! The client: producer, consumers of assigned partitions and in groups, and administration, over an environment.
//!
//! It is what the command line, the simulator and Rust programs use. It reaches the network through
//! [`highwater_env::Env`] alone, so that the same client runs against a simulated cluster.

mod admin;
mod client;
mod config;
mod connection;
mod consumer;
mod coordinator;
mod error;
mod group;
mod metadata;
mod offsets;
mod offsets_of_groups;
mod producer;
#[cfg(test)]
mod testing;

pub use admin::{Admin, ConfigChange, GroupMember, GroupView, NewTopic, Resource};
pub use client::{Client, Leader};
pub use config::ClientConfig;
pub use consumer::{ConsumedRecord, Consumer, ConsumerConfig, OffsetReset, StartAt};
pub use error::ClientError;
pub use group::{ClassicAssignor, GroupConfig, GroupConsumer, GroupProtocol, Positions, Rebalance};
pub use metadata::{ClusterMetadata, PartitionMetadata, TopicMetadata};
pub use offsets::{EARLIEST, FoundOffset, Isolation, LATEST, MAX_TIMESTAMP};
pub use producer::{
    Acks, Delivered, Delivery, Producer, ProducerConfig, ProducerRecord, murmur2, partition_of_key,
};
