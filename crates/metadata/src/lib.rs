//! Cluster state: topics, partitions, brokers, configurations and producer ids. Records in, image and decisions out.
//!
//! The state is the fold of one log of [`MetadataRecord`]s: [`Image::apply`] is the only way to change it. A
//! decision ([`controller`]) looks at an image and a request and returns the records that would carry the request
//! out, together with the answer; whoever drives this crate makes those records durable, applies them, and only
//! then answers. [`configs`] knows every configuration name: its type, default, rule and documentation.
//!
//! Architecture invariant: nothing here is async, does I/O, reads a clock or draws a random number. Identifiers and
//! points in time come in as arguments.

pub mod configs;
pub mod controller;
mod frame;
mod image;
mod names;
mod placement;
mod records;
mod refusal;

pub use frame::{FRAME_VERSION, FrameError, MAX_RECORD_BYTES, decode, encode};
pub use image::{ApplyError, Change, Image, Partition, Partitions, Topic};
pub use names::{METADATA_LOG, check_topic_name, is_internal_topic, is_reserved_topic_id};
pub use records::{
    BrokerConfigRecord, BrokerRecord, ClusterRecord, Endpoint, FeatureRange, FeatureRecord, METADATA_VERSION,
    MetadataRecord, PartitionRecord, ProducerIdsRecord, RemoveBrokerRecord, RemoveTopicRecord,
    TopicConfigRecord, TopicRecord,
};
pub use refusal::{Refusal, RefusalCode};
