//! What each record changes.

use super::{ApplyError, Image, METADATA_FEATURE, Partition, Topic, logs_of};
use crate::names::is_reserved_topic_id;
use crate::records::{
    BrokerConfigRecord, BrokerRecord, ClusterRecord, FeatureRecord, METADATA_VERSION, MetadataRecord,
    PartitionRecord, ProducerIdsRecord, TopicConfigRecord, TopicRecord,
};
use highwater_types::{BrokerEpoch, BrokerId, LogId, TopicId};
use rpds::RedBlackTreeSetSync;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// The level of a feature changed.
    Feature(String),
}

impl Image {
    /// Changes the state by one record, which stands in the entry of that index. After an error it is as before.
    pub fn apply(&mut self, record: &MetadataRecord, index: u64) -> Result<Change, ApplyError> {
        match record {
            MetadataRecord::Cluster(record) => self.apply_cluster(record),
            MetadataRecord::Broker(record) => self.apply_broker(record, index),
            MetadataRecord::RemoveBroker(record) => {
                self.brokers.remove(&record.id).ok_or(ApplyError::UnknownBroker(record.id))?;
                self.broker_configs.remove(&Some(record.id));
                Ok(Change::BrokerRemoved(record.id))
            }
            MetadataRecord::Topic(record) => self.apply_topic(record),
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record.id),
            MetadataRecord::Partition(record) => self.apply_partition(record, index),
            MetadataRecord::TopicConfig(record) => self.apply_topic_config(record),
            MetadataRecord::BrokerConfig(record) => Ok(self.apply_broker_config(record)),
            MetadataRecord::ProducerIds(record) => self.apply_producer_ids(record),
            MetadataRecord::Feature(record) => self.apply_feature(record),
        }
    }

    /// Changes the state by several records that belong together, in one entry. After an error it is as before.
    pub fn apply_all<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a MetadataRecord>,
        index: u64,
    ) -> Result<Vec<Change>, ApplyError> {
        let mut next = self.clone();
        let changes =
            records.into_iter().map(|record| next.apply(record, index)).collect::<Result<_, _>>()?;
        *self = next;
        Ok(changes)
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

    /// Invariant: a new registration's epoch is larger than the last one's; everything else that is said of a broker
    /// is said of the registration in force, so that what was decided about an earlier one cannot take effect.
    fn apply_broker(&mut self, record: &BrokerRecord, index: u64) -> Result<Change, ApplyError> {
        let mut broker = record.clone();
        let is = self.brokers.get(&record.id).map(|broker| broker.epoch);
        let stale = if record.epoch == BrokerEpoch::NONE {
            broker.epoch = BrokerEpoch(i64::try_from(index).unwrap_or(i64::MAX));
            is.filter(|&is| is >= broker.epoch)
        } else {
            is.filter(|&is| is != broker.epoch)
        };
        if let Some(is) = stale {
            return Err(ApplyError::StaleBroker { id: broker.id, is, named: broker.epoch });
        }
        self.brokers.insert(record.id, Arc::new(broker));
        Ok(Change::Broker(record.id))
    }

    fn apply_topic(&mut self, record: &TopicRecord) -> Result<Change, ApplyError> {
        if self.topics.contains_key(&record.id) || is_reserved_topic_id(record.id) {
            return Err(ApplyError::TopicIdTaken { id: record.id, name: record.name.clone() });
        }
        if self.names.contains_key(record.name.as_str()) {
            return Err(ApplyError::TopicNameTaken(record.name.clone()));
        }
        self.names.insert_mut(record.name.as_str().into(), record.id);
        self.topics.insert_mut(record.id, Arc::new(Topic::new(record.id, record.name.clone())));
        Ok(Change::TopicCreated(record.id))
    }

    fn remove_topic(&mut self, id: TopicId) -> Result<Change, ApplyError> {
        let topic = self.topics.get(&id).cloned().ok_or(ApplyError::UnknownTopic(id))?;
        self.topics.remove_mut(&id);
        self.names.remove_mut(topic.name());
        for set in [&mut self.leaderless, &mut self.reassigning] {
            let gone: Vec<LogId> = set.range(logs_of(id)).copied().collect();
            for log in gone {
                set.remove_mut(&log);
            }
        }
        Ok(Change::TopicDeleted(topic))
    }

    fn apply_partition(&mut self, record: &PartitionRecord, at: u64) -> Result<Change, ApplyError> {
        let log = LogId { topic: record.topic, partition: record.partition };
        check_replicas(record).map_err(|problem| ApplyError::Replicas { log, problem })?;
        let topic = self.topics.get(&record.topic).ok_or(ApplyError::UnknownTopic(record.topic))?;
        let partitions = topic.partitions.len();
        let index = usize::try_from(record.partition.0).unwrap_or(usize::MAX);
        if index > partitions {
            return Err(ApplyError::PartitionGap { log, partitions });
        }
        let existing = topic.partitions.get(index);
        if let Some(existing) = existing
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
        let created = existing.map_or(record.created.unwrap_or(at), |existing| existing.created);
        let partition = Partition::from_record(record, created);
        put(&mut self.leaderless, log, partition.leader.is_none());
        put(&mut self.reassigning, log, partition.is_reassigning());
        let topic = Arc::make_mut(self.topics.get_mut(&record.topic).expect("it was just there"));
        if index == partitions {
            topic.partitions.push_back_mut(partition);
            return Ok(Change::PartitionCreated(log));
        }
        *topic.partitions.get_mut(index).expect("the index is below the length") = partition;
        Ok(Change::PartitionChanged(log))
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

    fn apply_feature(&mut self, record: &FeatureRecord) -> Result<Change, ApplyError> {
        if record.name == METADATA_FEATURE {
            return Err(ApplyError::MetadataFeature);
        }
        match record.level {
            0 => self.features.remove(&record.name),
            level => self.features.insert(record.name.clone(), level),
        };
        Ok(Change::Feature(record.name.clone()))
    }
}

/// Puts the log into the set or takes it out; touches nothing if it is there, or not there, already.
fn put(set: &mut RedBlackTreeSetSync<LogId>, log: LogId, member: bool) {
    match (set.contains(&log), member) {
        (false, true) => set.insert_mut(log),
        (true, false) => {
            set.remove_mut(&log);
        }
        _ => {}
    }
}

fn set(configs: &mut BTreeMap<String, String>, name: &str, value: Option<&String>) {
    match value {
        Some(value) => configs.insert(name.to_owned(), value.clone()),
        None => configs.remove(name),
    };
}

/// Invariant: the in-sync and the eligible replicas are replicas, apart from each other, the leader is in sync, what
/// is added is not removed, something stays, and nobody is named twice.
fn check_replicas(record: &PartitionRecord) -> Result<(), &'static str> {
    let PartitionRecord { replicas, isr, elr, last_known_elr, adding, removing, .. } = record;
    let all = [replicas, isr, elr, last_known_elr, adding, removing];
    let within = |ids: &[BrokerId]| ids.iter().all(|id| replicas.contains(id));
    let apart = |left: &[BrokerId], right: &[BrokerId]| !left.iter().any(|id| right.contains(id));
    if replicas.is_empty() {
        Err("it has no replicas")
    } else if all.iter().any(|ids| (1..ids.len()).any(|at| ids[..at].contains(&ids[at]))) {
        Err("a broker is named twice")
    } else if !within(isr) {
        Err("an in-sync replica is not a replica")
    } else if !within(elr) || !within(last_known_elr) {
        Err("an eligible leader replica is not a replica")
    } else if !apart(isr, elr) {
        Err("a replica is in sync and merely eligible at once")
    } else if !within(adding) || !within(removing) {
        Err("a replica that is added or removed is not a replica")
    } else if !apart(adding, removing) {
        Err("a replica is added and removed at once")
    } else if replicas.iter().all(|id| removing.contains(id)) {
        Err("no replica stays")
    } else if record.leader.is_some_and(|leader| !isr.contains(&leader)) {
        Err("the leader is not in sync")
    } else {
        Ok(())
    }
}
