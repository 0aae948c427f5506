//! What a client knows of its cluster.

use highwater_types::{BrokerId, Instant, LeaderEpoch, PartitionIndex, TopicId};
use highwater_wire::messages::{MetadataResponse, MetadataResponseTopic};
use highwater_wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};

/// What a client knows of its cluster: the brokers, and the topics it asked for.
#[derive(Clone, Debug, Default)]
pub struct ClusterMetadata {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The broker that administration goes to.
    pub controller: Option<BrokerId>,
    /// Host and port of each broker.
    pub brokers: BTreeMap<BrokerId, (String, u16)>,
    /// The racks of the brokers that have one.
    pub racks: BTreeMap<BrokerId, Str>,
    /// The topics, by name.
    pub topics: BTreeMap<Str, TopicMetadata>,
    /// The largest leader epoch of each partition that was ever told, of topics that were asked for: what is older
    /// comes from a broker that does not know better.
    epochs: BTreeMap<(TopicId, PartitionIndex), LeaderEpoch>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its id; zero if the broker is too old to have ids.
    pub id: TopicId,
    /// Whether it belongs to the cluster itself.
    pub is_internal: bool,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionMetadata>,
    /// When this was learnt.
    pub learnt: Instant,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its number.
    pub index: PartitionIndex,
    /// Who leads it, if anybody does.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Where its replicas are.
    pub replicas: Vec<BrokerId>,
    /// Which of them are in sync.
    pub in_sync: Vec<BrokerId>,
}

impl ClusterMetadata {
    /// Takes over what a broker answered. Topics that it refused are forgotten; their errors are returned.
    pub(crate) fn update(&mut self, answer: &MetadataResponse, now: Instant) -> BTreeMap<Str, ErrorCode> {
        if let Some(id) = &answer.cluster_id {
            self.cluster_id = Some(id.to_string());
        }
        self.controller = Some(answer.controller_id).filter(|id| id.0 >= 0);
        self.brokers = answer
            .brokers
            .iter()
            .filter_map(|broker| {
                Some((broker.node_id, (broker.host.to_string(), u16::try_from(broker.port).ok()?)))
            })
            .collect();
        self.racks = answer
            .brokers
            .iter()
            .filter_map(|broker| Some((broker.node_id, own(broker.rack.as_ref())?)))
            .collect();
        let mut refused = BTreeMap::new();
        for topic in &answer.topics {
            let Some(name) = own(topic.name.as_ref()) else { continue };
            if topic.error_code.is_ok() {
                let mut told = topic_metadata(topic, now);
                told.partitions.iter_mut().for_each(|partition| self.distrust(told.id, partition));
                self.topics.insert(name, told);
            } else {
                self.forget(&name);
                refused.insert(name, topic.error_code);
            }
        }
        refused
    }

    /// Forgets topics that a broker did not name, which was asked for all.
    pub(crate) fn keep_only(&mut self, answer: &MetadataResponse) {
        let told: BTreeSet<&str> = answer.topics.iter().filter_map(|topic| topic.name.as_deref()).collect();
        let gone: Vec<Str> = self.topics.keys().filter(|name| !told.contains(&***name)).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
    }

    fn forget(&mut self, topic: &str) {
        if let Some(gone) = self.topics.remove(topic) {
            self.epochs.retain(|(id, _), _| *id != gone.id);
        }
    }

    /// A leader of an epoch before one that is known leads no more. Who leads instead is to be asked again.
    fn distrust(&mut self, topic: TopicId, partition: &mut PartitionMetadata) {
        if topic == TopicId::default() || partition.leader_epoch == LeaderEpoch::NONE {
            return;
        }
        let known = self.epochs.entry((topic, partition.index)).or_insert(partition.leader_epoch);
        if partition.leader_epoch < *known {
            partition.leader = None;
        }
        *known = partition.leader_epoch.max(*known);
    }
}

/// A copy, so that a name that is kept does not keep the frame it came in.
fn own(name: Option<&Str>) -> Option<Str> {
    name.map(|name| Str::from(name.to_string()))
}

fn topic_metadata(topic: &MetadataResponseTopic, now: Instant) -> TopicMetadata {
    let mut partitions: Vec<PartitionMetadata> = topic
        .partitions
        .iter()
        .map(|partition| PartitionMetadata {
            index: partition.partition_index,
            leader: Some(partition.leader_id).filter(|id| id.0 >= 0),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.clone(),
            in_sync: partition.isr_nodes.clone(),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    TopicMetadata { id: topic.topic_id, is_internal: topic.is_internal, partitions, learnt: now }
}
