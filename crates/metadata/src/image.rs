//! The cluster's state at one point of the metadata log.
//!
//! Holds what the records said and nothing else: no record is judged by the rules for requests here, only by what
//! would make the state contradict itself. A record that does is an error, and the image is as it was before.

use crate::names::{collide, is_reserved_topic_id};
use crate::records::{
    BrokerConfigRecord, BrokerRecord, ClusterRecord, METADATA_VERSION, MetadataRecord, PartitionRecord,
    ProducerIdsRecord, TopicConfigRecord, TopicRecord,
};
use highwater_types::{BrokerId, ClusterId, LeaderEpoch, LogId, PartitionIndex, ProducerId, TopicId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its replicas in order of preference.
    pub replicas: Vec<BrokerId>,
    /// The in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of this partition.
    pub partition_epoch: i32,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    id: TopicId,
    name: String,
    partitions: Vec<Partition>,
    configs: BTreeMap<String, String>,
}

impl Topic {
    /// The topic's id.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The partitions; a partition's place is its index.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// A partition, by index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// How many replicas the topic's partitions have; 0 while it has none.
    pub fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.replicas.len())
    }

    /// The configurations that were set on this topic.
    pub fn configs(&self) -> &BTreeMap<String, String> {
        &self.configs
    }

    /// The names of the partitions' logs.
    pub fn logs(&self) -> impl Iterator<Item = LogId> + '_ {
        (0..)
            .zip(&self.partitions)
            .map(|(index, _)| LogId { topic: self.id, partition: PartitionIndex(index) })
    }
}

/// What a record changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The cluster was named, or the version of its metadata rose.
    Cluster,
    /// A broker registered, or its registration changed.
    Broker(BrokerId),
    /// A broker left for good.
    BrokerRemoved(BrokerId),
    /// A topic was created. Changes of its partitions follow.
    TopicCreated(TopicId),
    /// A topic was deleted; this is the last of it.
    TopicDeleted(Arc<Topic>),
    /// A partition was created.
    PartitionCreated(LogId),
    /// A partition changed.
    PartitionChanged(LogId),
    /// The configuration of a topic changed.
    TopicConfig(TopicId),
    /// The configuration of a broker changed; none: of all brokers.
    BrokerConfig(Option<BrokerId>),
    /// A block of producer ids was given out.
    ProducerIds,
}

/// A record that contradicts the state it was applied to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The metadata needs a newer program.
    #[error(
        "the cluster's metadata has version {found}, and this program knows versions up to {known}: \
         start a newer version of the program"
    )]
    NewerMetadata {
        /// The version the record sets.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The metadata's version falls.
    #[error("the cluster's metadata version would fall from {from} to {to}")]
    OlderMetadata {
        /// The version in force.
        from: u32,
        /// The version the record sets.
        to: u32,
    },
    /// The cluster's id changes.
    #[error("the metadata belongs to cluster {is}, and a record in it names cluster {named}")]
    OtherCluster {
        /// The id in force.
        is: ClusterId,
        /// The id the record has.
        named: ClusterId,
    },
    /// A topic's id is in use, or reserved.
    #[error("topic {name:?} would get the id {id}, which is taken")]
    TopicIdTaken {
        /// The id.
        id: TopicId,
        /// The new topic's name.
        name: String,
    },
    /// A topic's name is in use.
    #[error("a second topic would be named {0:?}")]
    TopicNameTaken(String),
    /// No topic has this id.
    #[error("a record speaks of topic id {0}, which does not exist")]
    UnknownTopic(TopicId),
    /// No broker has this id.
    #[error("a record speaks of broker {0}, which does not exist")]
    UnknownBroker(BrokerId),
    /// A partition would leave a gap behind it.
    #[error("partition {log} does not follow the {partitions} partitions that its topic has")]
    PartitionGap {
        /// The partition.
        log: LogId,
        /// How many there are.
        partitions: usize,
    },
    /// A partition's epochs do not move forward.
    #[error(
        "partition {log} would go from leader epoch {leader_from} and partition epoch {from} \
         to {leader_to} and {to}"
    )]
    StaleEpoch {
        /// The partition.
        log: LogId,
        /// The leader epoch in force.
        leader_from: LeaderEpoch,
        /// The leader epoch of the record.
        leader_to: LeaderEpoch,
        /// The partition epoch in force.
        from: i32,
        /// The partition epoch of the record.
        to: i32,
    },
    /// A partition's replicas, in-sync replicas and leader do not fit together.
    #[error("partition {log}: {problem}")]
    Replicas {
        /// The partition.
        log: LogId,
        /// What does not fit.
        problem: &'static str,
    },
    /// Producer ids would be given out twice.
    #[error("the next producer id would fall from {from} to {to}")]
    ProducerIdsFall {
        /// The next id in force.
        from: ProducerId,
        /// The next id of the record.
        to: ProducerId,
    },
}

/// The cluster's state. Cloning copies two small maps of handles; topics are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    cluster: Option<ClusterRecord>,
    brokers: BTreeMap<BrokerId, Arc<BrokerRecord>>,
    topics: BTreeMap<TopicId, Arc<Topic>>,
    names: BTreeMap<Arc<str>, TopicId>,
    broker_configs: BTreeMap<Option<BrokerId>, BTreeMap<String, String>>,
    last_producer_block: Option<ProducerIdsRecord>,
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

    /// The registered brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &BrokerRecord> {
        self.brokers.values().map(Arc::as_ref)
    }

    /// A broker's registration.
    pub fn broker(&self, id: BrokerId) -> Option<&BrokerRecord> {
        self.brokers.get(&id).map(Arc::as_ref)
    }

    /// The brokers that may be given partitions: registered and not fenced, in order.
    pub fn live_brokers(&self) -> Vec<BrokerId> {
        self.brokers().filter(|broker| !broker.fenced).map(|broker| broker.id).collect()
    }

    /// The topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.values().map(|id| self.topics.get(id).expect("every name leads to a topic"))
    }

    /// The topics from this name on, in the order of their names.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> + use<'a> {
        self.names
            .range::<str, _>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded))
            .map(|(_, id)| self.topics.get(id).expect("every name leads to a topic"))
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
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

    /// Changes the state by one record. After an error it is as before.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<Change, ApplyError> {
        match record {
            MetadataRecord::Cluster(record) => self.apply_cluster(record),
            MetadataRecord::Broker(record) => {
                self.brokers.insert(record.id, Arc::new(record.clone()));
                Ok(Change::Broker(record.id))
            }
            MetadataRecord::RemoveBroker(record) => {
                self.brokers.remove(&record.id).ok_or(ApplyError::UnknownBroker(record.id))?;
                self.broker_configs.remove(&Some(record.id));
                Ok(Change::BrokerRemoved(record.id))
            }
            MetadataRecord::Topic(record) => self.apply_topic(record),
            MetadataRecord::RemoveTopic(record) => {
                let topic = self.topics.remove(&record.id).ok_or(ApplyError::UnknownTopic(record.id))?;
                self.names.remove(topic.name());
                Ok(Change::TopicDeleted(topic))
            }
            MetadataRecord::Partition(record) => self.apply_partition(record),
            MetadataRecord::TopicConfig(record) => self.apply_topic_config(record),
            MetadataRecord::BrokerConfig(record) => Ok(self.apply_broker_config(record)),
            MetadataRecord::ProducerIds(record) => self.apply_producer_ids(record),
        }
    }

    /// Changes the state by several records that belong together. After an error it is as before.
    pub fn apply_all<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a MetadataRecord>,
    ) -> Result<Vec<Change>, ApplyError> {
        let mut next = self.clone();
        let changes = records.into_iter().map(|record| next.apply(record)).collect::<Result<_, _>>()?;
        *self = next;
        Ok(changes)
    }

    /// Records that lead from [`Image::new`] to this state.
    pub fn snapshot(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        records.extend(self.cluster.clone().map(MetadataRecord::Cluster));
        records.extend(self.brokers().cloned().map(MetadataRecord::Broker));
        for (&broker, configs) in &self.broker_configs {
            records.extend(configs.iter().map(|(name, value)| {
                let (name, value) = (name.clone(), Some(value.clone()));
                MetadataRecord::BrokerConfig(BrokerConfigRecord { broker, name, value })
            }));
        }
        records.extend(self.last_producer_block.clone().map(MetadataRecord::ProducerIds));
        for topic in self.topics.values() {
            snapshot_topic(topic, &mut records);
        }
        records
    }

    fn apply_cluster(&mut self, record: &ClusterRecord) -> Result<Change, ApplyError> {
        if record.metadata_version > METADATA_VERSION {
            return Err(ApplyError::NewerMetadata {
                found: record.metadata_version,
                known: METADATA_VERSION,
            });
        }
        if let Some(cluster) = &self.cluster {
            if cluster.cluster_id != record.cluster_id {
                return Err(ApplyError::OtherCluster { is: cluster.cluster_id, named: record.cluster_id });
            }
            if cluster.metadata_version > record.metadata_version {
                let (from, to) = (cluster.metadata_version, record.metadata_version);
                return Err(ApplyError::OlderMetadata { from, to });
            }
        }
        self.cluster = Some(record.clone());
        Ok(Change::Cluster)
    }

    fn apply_topic(&mut self, record: &TopicRecord) -> Result<Change, ApplyError> {
        if self.topics.contains_key(&record.id) || is_reserved_topic_id(record.id) {
            return Err(ApplyError::TopicIdTaken { id: record.id, name: record.name.clone() });
        }
        if self.names.contains_key(record.name.as_str()) {
            return Err(ApplyError::TopicNameTaken(record.name.clone()));
        }
        self.names.insert(record.name.as_str().into(), record.id);
        let (id, name) = (record.id, record.name.clone());
        let topic = Topic { id, name, partitions: Vec::new(), configs: BTreeMap::new() };
        self.topics.insert(record.id, Arc::new(topic));
        Ok(Change::TopicCreated(record.id))
    }

    fn apply_partition(&mut self, record: &PartitionRecord) -> Result<Change, ApplyError> {
        let log = LogId { topic: record.topic, partition: record.partition };
        check_replicas(log, record)?;
        let topic = self.topics.get_mut(&record.topic).ok_or(ApplyError::UnknownTopic(record.topic))?;
        let partitions = topic.partitions.len();
        let index = usize::try_from(record.partition.0).unwrap_or(usize::MAX);
        if index > partitions {
            return Err(ApplyError::PartitionGap { log, partitions });
        }
        if let Some(existing) = topic.partitions.get(index)
            && (record.partition_epoch <= existing.partition_epoch
                || record.leader_epoch < existing.leader_epoch)
        {
            return Err(ApplyError::StaleEpoch {
                log,
                leader_from: existing.leader_epoch,
                leader_to: record.leader_epoch,
                from: existing.partition_epoch,
                to: record.partition_epoch,
            });
        }
        let partition = Partition {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        };
        let topic = Arc::make_mut(topic);
        if index == partitions {
            topic.partitions.push(partition);
            Ok(Change::PartitionCreated(log))
        } else {
            topic.partitions[index] = partition;
            Ok(Change::PartitionChanged(log))
        }
    }

    fn apply_topic_config(&mut self, record: &TopicConfigRecord) -> Result<Change, ApplyError> {
        let topic = self.topics.get_mut(&record.topic).ok_or(ApplyError::UnknownTopic(record.topic))?;
        set(&mut Arc::make_mut(topic).configs, &record.name, record.value.as_ref());
        Ok(Change::TopicConfig(record.topic))
    }

    fn apply_broker_config(&mut self, record: &BrokerConfigRecord) -> Change {
        let configs = self.broker_configs.entry(record.broker).or_default();
        set(configs, &record.name, record.value.as_ref());
        if configs.is_empty() {
            self.broker_configs.remove(&record.broker);
        }
        Change::BrokerConfig(record.broker)
    }

    fn apply_producer_ids(&mut self, record: &ProducerIdsRecord) -> Result<Change, ApplyError> {
        let from = self.next_producer_id();
        if record.next < from {
            return Err(ApplyError::ProducerIdsFall { from, to: record.next });
        }
        self.last_producer_block = Some(record.clone());
        Ok(Change::ProducerIds)
    }
}

fn set(configs: &mut BTreeMap<String, String>, name: &str, value: Option<&String>) {
    match value {
        Some(value) => configs.insert(name.to_owned(), value.clone()),
        None => configs.remove(name),
    };
}

/// Invariant: the in-sync replicas are replicas, the leader is in sync, and nobody is named twice.
fn check_replicas(log: LogId, record: &PartitionRecord) -> Result<(), ApplyError> {
    let twice = |ids: &[BrokerId]| (1..ids.len()).any(|at| ids[..at].contains(&ids[at]));
    let problem = if record.replicas.is_empty() {
        "it has no replicas"
    } else if twice(&record.replicas) || twice(&record.isr) {
        "a broker is named twice"
    } else if record.isr.iter().any(|id| !record.replicas.contains(id)) {
        "an in-sync replica is not a replica"
    } else if record.leader.is_some_and(|leader| !record.isr.contains(&leader)) {
        "the leader is not in sync"
    } else {
        return Ok(());
    };
    Err(ApplyError::Replicas { log, problem })
}

fn snapshot_topic(topic: &Topic, records: &mut Vec<MetadataRecord>) {
    records.push(MetadataRecord::Topic(TopicRecord { id: topic.id, name: topic.name.clone() }));
    records.extend(topic.logs().zip(&topic.partitions).map(|(log, partition)| {
        MetadataRecord::Partition(PartitionRecord {
            topic: log.topic,
            partition: log.partition,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
        })
    }));
    records.extend(topic.configs.iter().map(|(name, value)| {
        let (name, value) = (name.clone(), Some(value.clone()));
        MetadataRecord::TopicConfig(TopicConfigRecord { topic: topic.id, name, value })
    }));
}

#[cfg(test)]
mod tests;
