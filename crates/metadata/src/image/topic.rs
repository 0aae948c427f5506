//! Topics and their partitions.

use crate::records::PartitionRecord;
use highwater_types::{BrokerId, LeaderEpoch, LogId, PartitionIndex, TopicId};
use rpds::VectorSync;
use std::collections::BTreeMap;

/// The partitions of a topic; a partition's place is its index. A copy shares all partitions but those that change.
pub type Partitions = VectorSync<Partition>;

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its replicas in order of preference, those that are being added or removed included.
    pub replicas: Vec<BrokerId>,
    /// The in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// The eligible leader replicas (KIP-966).
    pub elr: Vec<BrokerId>,
    /// Who led last, once nobody is in sync or eligible any more.
    pub last_known_elr: Vec<BrokerId>,
    /// The replicas that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// The replicas that a reassignment removes once it is complete.
    pub removing: Vec<BrokerId>,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of this partition.
    pub partition_epoch: i32,
    /// The leader epoch of the last election of a replica that was not known to be complete: committed records may have
    /// been lost then.
    pub unclean_epoch: Option<LeaderEpoch>,
    /// The index of the metadata entry that created the partition: a broker whose disk knew a later one has its log,
    /// or had it.
    pub created: u64,
}

impl Partition {
    /// Whether its replicas are being changed.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas that it has when nothing is being added: those that count for the replication factor.
    pub fn settled_replicas(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.replicas.iter().copied().filter(|id| !self.adding.contains(id))
    }

    /// How many replicas must be in sync for records to be committed: `min.insync.replicas`, or all replicas if that
    /// is more. Controller and leader must go by the same number, since nobody becomes eligible to lead by leaving
    /// an in-sync set that is large enough.
    pub fn effective_min_isr(&self, min_insync_replicas: usize) -> usize {
        min_insync_replicas.min(self.settled_replicas().count()).max(1)
    }

    pub(super) fn from_record(record: &PartitionRecord, created: u64) -> Self {
        Self {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            elr: record.elr.clone(),
            last_known_elr: record.last_known_elr.clone(),
            adding: record.adding.clone(),
            removing: record.removing.clone(),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            unclean_epoch: record.unclean_epoch,
            created,
        }
    }

    /// The record that leads from nothing to this state.
    pub(crate) fn to_record(&self, log: LogId) -> PartitionRecord {
        PartitionRecord {
            topic: log.topic,
            partition: log.partition,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            elr: self.elr.clone(),
            last_known_elr: self.last_known_elr.clone(),
            adding: self.adding.clone(),
            removing: self.removing.clone(),
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            unclean_epoch: self.unclean_epoch,
            created: Some(self.created),
        }
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub(super) id: TopicId,
    pub(super) name: String,
    pub(super) partitions: Partitions,
    pub(super) configs: BTreeMap<String, String>,
}

impl Topic {
    pub(super) fn new(id: TopicId, name: String) -> Self {
        Self { id, name, partitions: Partitions::new_sync(), configs: BTreeMap::new() }
    }

    /// The topic's id.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The partitions; a partition's place is its index.
    pub fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// A partition, by index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// How many replicas the topic's partitions have; 0 while it has none. What a reassignment adds does not count
    /// before it is complete.
    pub fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.settled_replicas().count())
    }

    /// The configurations that were set on this topic.
    pub fn configs(&self) -> &BTreeMap<String, String> {
        &self.configs
    }

    /// The names of the partitions' logs.
    pub fn logs(&self) -> impl Iterator<Item = LogId> + '_ {
        (0..)
            .take(self.partitions.len())
            .map(|index| LogId { topic: self.id, partition: PartitionIndex(index) })
    }

    /// The partitions with the names of their logs.
    pub fn partitions_with_logs(&self) -> impl Iterator<Item = (LogId, &Partition)> + '_ {
        self.logs().zip(&self.partitions)
    }
}
