//! The cluster's state at one point of the metadata log.
//!
//! Holds what the records said and nothing else: no record is judged by the rules for requests here, only by what
//! would make the state contradict itself. A record that does is an error, and the image is as it was before.
//!
//! Images are cloned for every change and kept by readers, so everything that can be large is persistent: a copy
//! shares all that did not change, and changing one partition of a hundred thousand copies one and the path to it.

mod apply;
mod error;
mod topic;

pub use apply::Change;
pub use error::ApplyError;
pub use topic::{Partition, Partitions, Topic};

use crate::names::collide;
use crate::records::{
    BrokerConfigRecord, BrokerRecord, ClusterRecord, FeatureRecord, MetadataRecord, ProducerIdsRecord,
    TopicConfigRecord, TopicRecord,
};
use highwater_types::{BrokerId, ClusterId, LogId, PartitionIndex, ProducerId, TopicId};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// The feature that stands for the version of the metadata; its level is in the cluster's record.
pub(crate) const METADATA_FEATURE: &str = "metadata.version";

/// The cluster's state. Cloning copies handles of what is large, and what is small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    cluster: Option<ClusterRecord>,
    brokers: BTreeMap<BrokerId, Arc<BrokerRecord>>,
    topics: RedBlackTreeMapSync<TopicId, Arc<Topic>>,
    names: RedBlackTreeMapSync<Arc<str>, TopicId>,
    broker_configs: BTreeMap<Option<BrokerId>, BTreeMap<String, String>>,
    last_producer_block: Option<ProducerIdsRecord>,
    features: BTreeMap<String, u16>,
    /// Derived from the partitions, as is what follows: who looks for these must not look through all.
    leaderless: RedBlackTreeSetSync<LogId>,
    reassigning: RedBlackTreeSetSync<LogId>,
}

impl Image {
    /// The state before the first record.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster's id, once a record has named it.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster.as_ref().map(|cluster| cluster.cluster_id)
    }

    /// The version of the metadata in force; 0 before the first record.
    pub fn metadata_version(&self) -> u32 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.metadata_version)
    }

    /// The levels of the features in force, in order of names, `metadata.version` included.
    pub fn features(&self) -> impl Iterator<Item = (&str, u16)> {
        let metadata = u16::try_from(self.metadata_version()).ok().filter(|&version| version > 0);
        let mut all: Vec<(&str, u16)> =
            self.features.iter().map(|(name, &level)| (name.as_str(), level)).collect();
        all.extend(metadata.map(|version| (METADATA_FEATURE, version)));
        all.sort_unstable();
        all.into_iter()
    }

    /// The level of a feature in force; 0: none.
    pub fn feature(&self, name: &str) -> u16 {
        if name == METADATA_FEATURE {
            return u16::try_from(self.metadata_version()).unwrap_or(u16::MAX);
        }
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The registered brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &BrokerRecord> {
        self.brokers.values().map(Arc::as_ref)
    }

    /// A broker's registration. Its epoch is that of the registration, never unknown.
    pub fn broker(&self, id: BrokerId) -> Option<&BrokerRecord> {
        self.brokers.get(&id).map(Arc::as_ref)
    }

    /// Whether the broker may be given partitions and leadership, and be in sync.
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(BrokerRecord::is_active)
    }

    /// Whether a broker is in sync with a partition, and another one that is lives.
    pub fn has_heirs(&self, log: LogId, of: BrokerId) -> bool {
        self.partition(log).is_some_and(|partition| {
            partition.isr.contains(&of) && partition.isr.iter().any(|&id| id != of && self.is_active(id))
        })
    }

    /// The brokers that may be given partitions: registered, not fenced and not on their way out, in order.
    pub fn live_brokers(&self) -> Vec<BrokerId> {
        self.brokers().filter(|broker| broker.is_active()).map(|broker| broker.id).collect()
    }

    /// The topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.values().map(|id| self.topics.get(id).expect("every name leads to a topic"))
    }

    /// The topics from this name on, in the order of their names.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> + use<'a> {
        self.names
            .range::<Arc<str>, _>((Bound::Included(Arc::from(name)), Bound::Unbounded))
            .map(|(_, id)| self.topics.get(id).expect("every name leads to a topic"))
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.size()
    }

    /// A topic, by name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(name)?)
    }

    /// A topic, by id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// A partition, by the name of its log.
    pub fn partition(&self, log: LogId) -> Option<&Partition> {
        self.topics.get(&log.topic)?.partition(log.partition)
    }

    /// The logs of every partition.
    pub fn logs(&self) -> impl Iterator<Item = LogId> + '_ {
        self.topics.values().flat_map(|topic| topic.logs())
    }

    /// The partitions without a leader, in order.
    pub fn leaderless(&self) -> impl Iterator<Item = (LogId, &Partition)> {
        self.leaderless.iter().map(|&log| (log, self.partition(log).expect("only partitions are leaderless")))
    }

    /// The partitions whose replicas are being changed, in order.
    pub fn reassigning(&self) -> impl Iterator<Item = (LogId, &Partition)> {
        self.reassigning
            .iter()
            .map(|&log| (log, self.partition(log).expect("only partitions are reassigned")))
    }

    /// The configurations that were set on a broker; none: on all brokers.
    pub fn broker_configs(&self, broker: Option<BrokerId>) -> Option<&BTreeMap<String, String>> {
        self.broker_configs.get(&broker)
    }

    /// The first producer id that has not been given out.
    pub fn next_producer_id(&self) -> ProducerId {
        self.last_producer_block.as_ref().map_or(ProducerId(0), |block| block.next)
    }

    /// The name of an existing topic that differs from this one in '.' and '_' alone.
    pub(crate) fn colliding_topic(&self, name: &str) -> Option<&str> {
        if !name.contains(['.', '_']) {
            return None;
        }
        self.names.keys().map(AsRef::as_ref).find(|existing| collide(existing, name))
    }

    /// Records that lead from [`Image::new`] to this state, at whatever indexes they are applied.
    pub fn to_records(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        let features = self
            .features
            .iter()
            .map(|(name, &level)| MetadataRecord::Feature(FeatureRecord { name: name.clone(), level }));
        let configs = self.broker_configs.iter().flat_map(|(&broker, configs)| {
            configs.iter().map(move |(name, value)| {
                let (name, value) = (name.clone(), Some(value.clone()));
                MetadataRecord::BrokerConfig(BrokerConfigRecord { broker, name, value })
            })
        });
        (self.cluster.clone().into_iter().map(MetadataRecord::Cluster))
            .chain(features)
            .chain(self.brokers().cloned().map(MetadataRecord::Broker))
            .chain(configs)
            .chain(self.last_producer_block.clone().map(MetadataRecord::ProducerIds))
            .chain(self.topics.values().flat_map(|topic| topic_records(topic)))
    }
}

fn topic_records(topic: &Topic) -> impl Iterator<Item = MetadataRecord> + '_ {
    let id = topic.id();
    let partitions = topic
        .partitions_with_logs()
        .map(|(log, partition)| MetadataRecord::Partition(partition.to_record(log)));
    let configs = topic.configs().iter().map(move |(name, value)| {
        let (name, value) = (name.clone(), Some(value.clone()));
        MetadataRecord::TopicConfig(TopicConfigRecord { topic: id, name, value })
    });
    std::iter::once(MetadataRecord::Topic(TopicRecord { id, name: topic.name().to_owned() }))
        .chain(partitions)
        .chain(configs)
}

/// The logs of a topic, of whatever partitions, as a range.
fn logs_of(topic: TopicId) -> std::ops::RangeInclusive<LogId> {
    let log = |index| LogId { topic, partition: PartitionIndex(index) };
    log(0)..=log(i32::MAX)
}

#[cfg(test)]
mod tests;
