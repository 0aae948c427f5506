//! Decisions: what a request changes, as records, and the answer to it.
//!
//! A decision looks at the [`ConfigView`] it is given and changes nothing. The caller makes the records durable,
//! applies them to the image and only then gives the answer. Decisions are made one after another: the image that
//! one looks at holds the records of all before it.
//!
//! The parts of a request (topics, resources) succeed or fail each for itself, as Kafka has it; the records of one
//! decision belong into one batch of the metadata log, so that no part is ever half there.

mod active;
mod alter_configs;
mod alter_partitions;
mod change;
mod cluster;
mod create_partitions;
mod create_topics;
mod decommission;
mod delete_topics;
mod elect_leaders;
mod features;
mod heartbeat;
mod lost_logs;
mod reassign;
mod register;
mod unregister;
mod work;

pub use active::Controller;
pub use alter_configs::{
    AlterOperation, ConfigChange, Resource, Setting, alter_configs, incremental_alter_configs,
};
pub use alter_partitions::IsrChange;
pub use cluster::{ProducerIdBlock, allocate_producer_ids, bootstrap, register_broker};
pub use create_partitions::{NewPartitions, create_partitions};
pub use create_topics::{CreatedTopic, NewTopic, create_topics};
pub use decommission::decommission;
pub use delete_topics::{TopicRef, delete_topics};
pub use elect_leaders::{ElectionType, elect_leaders, elections_needed};
pub use features::{FeatureUpdate, UpgradeType, supported_features, update_features};
pub use heartbeat::{Heartbeat, HeartbeatAnswer};
pub use reassign::{OngoingReassignment, Reassignment, alter_reassignments, list_reassignments};
pub use register::{Registration, check_settings};
pub use unregister::unregister_broker;

use crate::image::Image;
use crate::placement::Placement;
use crate::records::{MetadataRecord, PartitionRecord};
use crate::refusal::{Refusal, RefusalCode};
use highwater_types::{BrokerId, PartitionIndex, TopicId};

/// The most records that one decision makes. Everything of one decision is one batch, which must have a bound.
pub const MAX_RECORDS_PER_DECISION: usize = 10_000;

/// Records that carry a request out, and an answer for each of its parts, in the request's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<T> {
    /// What to commit. Nothing, if nothing changes.
    pub records: Vec<MetadataRecord>,
    /// The answers, true once the records are committed.
    pub answers: Vec<Result<T, Refusal>>,
}

/// The records of a decision as it is made. Parts add to it all or nothing.
struct Draft {
    records: Vec<MetadataRecord>,
}

impl Draft {
    fn new() -> Self {
        Self { records: Vec::new() }
    }

    /// Refuses what would make the decision larger than one may be.
    fn check_room(&self, records: usize) -> Result<(), Refusal> {
        if self.records.len().saturating_add(records) > MAX_RECORDS_PER_DECISION {
            return Err(Refusal::new(
                RefusalCode::PolicyViolation,
                format!(
                    "The request would make more than {MAX_RECORDS_PER_DECISION} changes at once: \
                     split it into several"
                ),
            ));
        }
        Ok(())
    }

    fn add(&mut self, records: Vec<MetadataRecord>) -> Result<(), Refusal> {
        self.check_room(records.len())?;
        self.records.extend(records);
        Ok(())
    }

    fn finish<T>(self, answers: Vec<Result<T, Refusal>>) -> Decision<T> {
        Decision { records: self.records, answers }
    }

    /// Like [`Draft::finish`], but nothing is carried out.
    fn finish_validated<T>(self, validate_only: bool, answers: Vec<Result<T, Refusal>>) -> Decision<T> {
        Decision { records: if validate_only { Vec::new() } else { self.records }, answers }
    }
}

/// Checks replicas that a request named for one partition; all partitions of a topic have the same number.
fn check_assignment(image: &Image, replicas: &[BrokerId], replication_factor: usize) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(RefusalCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return refuse("A manual assignment holds a partition without replicas.".to_owned());
    }
    for (at, &id) in replicas.iter().enumerate() {
        if image.broker(id).is_none_or(|broker| broker.fenced) {
            return refuse(format!("A manual assignment names broker {id}, which is not a live broker."));
        }
        if replicas[..at].contains(&id) {
            return refuse(format!("A manual assignment names broker {id} twice for one partition."));
        }
    }
    if replicas.len() != replication_factor {
        return refuse(format!(
            "A manual assignment gives one partition {} replicas and another {replication_factor}.",
            replicas.len()
        ));
    }
    Ok(())
}

/// Refuses a replication factor that the live brokers cannot carry.
fn check_replication_factor(placement: &Placement, factor: usize) -> Result<(), Refusal> {
    if factor > placement.live() {
        return Err(Refusal::new(
            RefusalCode::InvalidReplicationFactor,
            format!(
                "Replication factor {factor} is larger than the number of live brokers, {}.",
                placement.live()
            ),
        ));
    }
    Ok(())
}

/// A new partition: all replicas are in sync, since there is nothing to be behind of, and the first one leads.
fn new_partition(topic: TopicId, index: i32, replicas: Vec<BrokerId>) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        topic,
        partition: PartitionIndex(index),
        leader: replicas.first().copied(),
        isr: replicas.clone(),
        replicas,
        ..PartitionRecord::default()
    })
}

#[cfg(test)]
mod tests;
