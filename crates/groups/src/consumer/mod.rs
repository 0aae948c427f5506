//! The new protocol (KIP-848): members say what they want and have, the coordinator says what they are to have.
//!
//! The *group epoch* counts what changes: members, what they want, and the topics. For each epoch the coordinator
//! makes a *target*: who is to have which partitions. Every member is led there by itself, with its heartbeats: it
//! first gives up what it is not to have, and gets what it is to have once nobody else has it. A member's own epoch is
//! that of the target that it has been led to.
//!
//! The state is the fold of the group's records. A decision applies its records at once, and is answered once they are
//! committed; should they not be written, the coordinator must be made anew from the log.
//!
//! A group may have members of the classic protocol, too (`mixed`): it becomes such a group when a member of the new
//! protocol joins a classic group (`upgrade`), and a classic group again when the last of those is gone (`downgrade`).

mod apply;
mod assignor;
mod describe;
mod downgrade;
mod heartbeat;
mod leave;
mod mixed;
mod names;
mod reconcile;
mod subscribe;
mod target;
mod upgrade;

#[cfg(test)]
mod tests;

pub(crate) use heartbeat::{check, heartbeat_refused};

use crate::migration::MigrationPolicy;
use crate::records::{ClassicMemberMetadata, OwnedPartitions};
use crate::timers::TimerKey;
use highwater_types::{Instant, PartitionIndex, TopicId};
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The member's epoch in a request to join.
pub(crate) const JOINS: i32 = 0;
/// The member leaves.
pub(crate) const LEAVES: i32 = -1;
/// The static member leaves, and means to come back.
pub(crate) const LEAVES_FOR_A_WHILE: i32 = -2;

/// Partitions, by topic. No topic is without partitions.
pub(crate) type Partitions = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// How a member stands to what it is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has that, as of its epoch.
    #[default]
    Stable,
    /// It has to give something up first.
    Unrevoked,
    /// Others have to give something up first.
    Unreleased,
}

/// A group of the new protocol.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    pub(crate) epoch: i32,
    metadata_hash: i64,
    target_epoch: i32,
    pub(crate) members: BTreeMap<Str, Member>,
    statics: BTreeMap<Str, Str>,
    targets: BTreeMap<Str, Partitions>,
    /// Who has a partition, or has to give it up.
    owners: BTreeMap<(TopicId, PartitionIndex), Str>,
    /// The version of the metadata that the hash was last compared with. Not kept in the log.
    seen: Option<u64>,
}

/// A member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    pub(crate) id: Str,
    pub(crate) instance: Option<Str>,
    rack: Option<Str>,
    client_id: Str,
    client_host: Str,
    topics: BTreeSet<Str>,
    regex: Option<Str>,
    rebalance_timeout_ms: i32,
    assignor: Option<Str>,
    /// What it says as a member of the classic protocol, if it is one.
    classic: Option<ClassicMemberMetadata>,
    pub(crate) epoch: i32,
    previous_epoch: i32,
    state: MemberState,
    assigned: Partitions,
    revoking: Partitions,
    /// When it is taken for dead. Not kept in the log, as what follows.
    deadline: Instant,
    timer: Option<TimerKey>,
    /// When it must have given up what it has to, and the epoch that it is in.
    revoke_timer: Option<TimerKey>,
    /// When it must have joined again, or asked for its assignment, as a member of the classic protocol.
    step_timer: Option<TimerKey>,
}

impl Member {
    /// Without a word from it for how long it is taken for dead.
    fn session_timeout(&self, settings: &ConsumerSettings) -> Duration {
        self.classic.as_ref().map_or(settings.session_timeout, |classic| millis(classic.session_timeout_ms))
    }

    /// For how long it may take to give up partitions, or to take its next step in the classic protocol.
    fn rebalance_timeout(&self) -> Duration {
        millis(self.rebalance_timeout_ms)
    }
}

fn millis(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

/// How a group of the new protocol is led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// Without a heartbeat for how long a member is taken for dead (`group.consumer.session.timeout.ms`).
    pub session_timeout: Duration,
    /// How often a member is told to send one (`group.consumer.heartbeat.interval.ms`).
    pub heartbeat_interval: Duration,
    /// The most members (`group.consumer.max.size`).
    pub max_size: usize,
    /// Which groups change their protocol while they have members (`group.consumer.migration.policy`).
    pub migration: MigrationPolicy,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            max_size: i32::MAX as usize,
            migration: MigrationPolicy::default(),
        }
    }
}

/// Partitions as a record has them.
fn listed(partitions: &Partitions) -> Vec<OwnedPartitions> {
    partitions
        .iter()
        .map(|(topic_id, partitions)| OwnedPartitions {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
        })
        .collect()
}

/// The other way round.
fn gathered(listed: &[OwnedPartitions]) -> Partitions {
    let mut partitions = Partitions::new();
    for topic in listed.iter().filter(|topic| !topic.partitions.is_empty()) {
        partitions.entry(topic.topic_id).or_default().extend(&topic.partitions);
    }
    partitions
}

/// Each of the partitions.
fn each(partitions: &Partitions) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
    partitions.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
}

/// What one has and the other has not.
fn without(partitions: &Partitions, other: &Partitions) -> Partitions {
    chosen(partitions, |topic, partition| !holds(other, topic, partition))
}

fn chosen(partitions: &Partitions, choose: impl Fn(TopicId, PartitionIndex) -> bool) -> Partitions {
    let mut all = Partitions::new();
    for (topic, partition) in each(partitions).filter(|(topic, partition)| choose(*topic, *partition)) {
        all.entry(topic).or_default().insert(partition);
    }
    all
}

fn holds(partitions: &Partitions, topic: TopicId, partition: PartitionIndex) -> bool {
    partitions.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
}
