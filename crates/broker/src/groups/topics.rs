//! The topics of the cluster as coordinators see them.

use crate::directory::Routing;
use highwater_env::Env;
use highwater_groups::Topics;
use highwater_metadata::is_internal_topic;
use highwater_types::TopicId;
use highwater_wire::Str;

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

    fn names(&self) -> Vec<Str> {
        let users = self.0.topics().filter(|topic| !is_internal_topic(&topic.name));
        users.map(|topic| topic.name.clone()).collect()
    }
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}
