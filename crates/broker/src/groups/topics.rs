//! The topics of the cluster as coordinators see them.

use crate::directory::Routing;
use highwater_env::Env;
use highwater_groups::{Racks, Topics};
use highwater_metadata::is_internal_topic;
use highwater_types::{BrokerId, TopicId};
use highwater_wire::Str;
use std::collections::BTreeMap;

/// The topics of one state of the metadata.
pub(crate) struct RoutedTopics<'a, E: Env>(pub(crate) &'a Routing<E>);

impl<E: Env> Topics for RoutedTopics<'_, E> {
    fn version(&self) -> u64 {
        self.0.number
    }

    fn topic(&self, name: &str) -> Option<(TopicId, i32)> {
        let topic = self.0.topic(name)?;
        Some((topic.id, count(topic.metadata.partitions().len())))
    }

    fn by_id(&self, id: TopicId) -> Option<(Str, i32)> {
        let topic = self.0.topic_by_id(id)?;
        Some((topic.name.clone(), count(topic.metadata.partitions().len())))
    }

    fn racks(&self, id: TopicId) -> Racks {
        let brokers = self.0.image.brokers();
        let racks: BTreeMap<BrokerId, Str> =
            brokers.filter_map(|broker| Some((broker.id, Str::from(broker.rack.as_deref()?)))).collect();
        let partitions = self.0.topic_by_id(id).into_iter().flat_map(|topic| topic.metadata.partitions());
        partitions
            .map(|partition| {
                partition.replicas.iter().filter_map(|broker| racks.get(broker)).cloned().collect()
            })
            .collect()
    }

    fn names(&self) -> Vec<Str> {
        let users = self.0.topics().filter(|topic| !is_internal_topic(&topic.name));
        users.map(|topic| topic.name.clone()).collect()
    }
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}
