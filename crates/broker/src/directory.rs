//! Which topics and partitions there are, as requests look them up.

use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::topic::{Topic, TopicRules};
use highwater_env::Env;
use highwater_log::Store;
use highwater_metadata::Image;
use highwater_metadata::configs::{BrokerSettings, ConfigView, StaticConfig};
use highwater_types::{BrokerId, HashMap, LogId, TopicId};
use highwater_wire::Str;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The topics at one point of the metadata log. Never changes.
pub(crate) struct Routing<E: Env> {
    /// The cluster's state.
    pub(crate) image: Arc<Image>,
    /// This broker's settings in force.
    pub(crate) settings: BrokerSettings,
    /// By name. Names come from outside: no hashing.
    by_name: BTreeMap<Str, Arc<Topic<E>>>,
    by_id: HashMap<TopicId, Arc<Topic<E>>>,
}

impl<E: Env> Routing<E> {
    /// A topic, by name.
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<Topic<E>>> {
        self.by_name.get(name)
    }

    /// A topic, by id.
    pub(crate) fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic<E>>> {
        self.by_id.get(&id)
    }

    /// All topics, in the order of their names.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<Topic<E>>> {
        self.by_name.values()
    }

    /// A partition that this node has, by the name of its log.
    pub(crate) fn partition(&self, log: LogId) -> Option<&Arc<Partition<E>>> {
        self.by_id.get(&log.topic)?.partition(log.partition)?
    }
}

/// Holds the present [`Routing`] and replaces it when the metadata moves.
pub(crate) struct Directory<E: Env> {
    env: E,
    node: BrokerId,
    statics: StaticConfig,
    metrics: Arc<Metrics>,
    routing: RwLock<Arc<Routing<E>>>,
}

impl<E: Env> Directory<E> {
    /// A directory of nothing.
    pub(crate) fn new(env: E, node: BrokerId, statics: StaticConfig, metrics: Arc<Metrics>) -> Self {
        let image = Arc::new(Image::new());
        let settings = ConfigView { image: &image, statics: &statics, broker: node }.broker();
        let routing = Routing { image, settings, by_name: BTreeMap::new(), by_id: HashMap::default() };
        Self { env, node, statics, metrics, routing: RwLock::new(Arc::new(routing)) }
    }

    /// The node's own configuration.
    pub(crate) fn statics(&self) -> &StaticConfig {
        &self.statics
    }

    /// The present state. Look it up anew for every request: who keeps one keeps deleted partitions' files open.
    pub(crate) fn load(&self) -> Arc<Routing<E>> {
        Arc::clone(&self.routing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes `image` what requests see. The logs of its partitions are in `store` by now, and so is the configuration
    /// of topics in their logs; those of partitions that are gone are deleted after this. To be called by one task at
    /// a time: the one that commits metadata.
    pub(crate) fn publish(&self, image: Arc<Image>, store: &Store<E>) {
        let last = self.load();
        let view = ConfigView { image: &image, statics: &self.statics, broker: self.node };
        let settings = view.broker();
        let same_defaults = last.image.broker_configs(None) == image.broker_configs(None)
            && last.image.broker_configs(Some(self.node)) == image.broker_configs(Some(self.node));
        let mut by_name = BTreeMap::new();
        let mut by_id = HashMap::default();
        for metadata in image.topics() {
            let known = last.topic_by_id(metadata.id());
            let topic = match known {
                Some(known)
                    if same_defaults
                        && Arc::ptr_eq(&known.metadata, metadata)
                        && !known.has_new_log(store) =>
                {
                    Arc::clone(known)
                }
                _ => Arc::new(self.topic(metadata, known, &view, store)),
            };
            by_id.insert(topic.id, Arc::clone(&topic));
            by_name.insert(topic.name.clone(), topic);
        }
        let routing = Arc::new(Routing { image: Arc::clone(&image), settings, by_name, by_id });
        *self.routing.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&routing);
        for gone in last.topics().filter(|topic| routing.topic_by_id(topic.id).is_none()) {
            for partition in gone.partitions.iter().flatten() {
                partition.progress().close();
            }
        }
    }

    fn topic(
        &self,
        metadata: &Arc<highwater_metadata::Topic>,
        known: Option<&Arc<Topic<E>>>,
        view: &ConfigView<'_>,
        store: &Store<E>,
    ) -> Topic<E> {
        let rules = TopicRules::new(&view.topic(metadata));
        let name = known.map_or_else(|| Str::from(metadata.name()), |known| known.name.clone());
        let partitions = metadata
            .logs()
            .zip(metadata.partitions())
            .map(|(log, state)| {
                if let Some(partition) = known.and_then(|known| known.partition(log.partition)).flatten() {
                    partition.set_leader_epoch(state.leader_epoch);
                    partition.set_sync(rules.sync);
                    return Some(Arc::clone(partition));
                }
                let log = store.log(log)?;
                let metrics = Arc::clone(&self.metrics);
                let (env, epoch) = (self.env.clone(), state.leader_epoch);
                Some(Arc::new(Partition::new(env, name.clone(), log, epoch, rules.sync, metrics)))
            })
            .collect();
        Topic { id: metadata.id(), name, metadata: Arc::clone(metadata), rules, partitions }
    }

    /// Ends every wait for a partition: the node stops.
    pub(crate) fn close(&self) {
        for topic in self.load().topics() {
            for partition in topic.partitions.iter().flatten() {
                partition.progress().close();
            }
        }
    }
}
