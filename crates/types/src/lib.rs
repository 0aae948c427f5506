//! The vocabulary of the project: identifiers, offsets, epochs, points in time and deterministic maps.
//!
//! Nothing here does anything: no I/O, no clock, no randomness. Every other crate depends on this one, and this
//! one depends on none of ours.

mod ids;
mod log_id;
mod maps;
mod mutant;
mod offset;
mod time;
mod uuid;

pub use ids::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId};
pub use log_id::LogId;
pub use maps::{HashMap, HashSet};
#[cfg(highwater_mutants)]
pub use mutant::activate;
#[doc(hidden)]
pub use mutant::is_active;
pub use offset::Offset;
pub use time::{Instant, Timestamp};
pub use uuid::{ClusterId, DiskId, ParseUuidError, TopicId, Uuid};
