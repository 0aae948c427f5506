//! Which topics and partitions there are, as requests look them up.

use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::replication::Replication;
use crate::signal::Signal;
use crate::topic::{Topic, TopicRules};
use highwater_env::Env;
use highwater_log::Store;
use highwater_metadata::Image;
use highwater_metadata::configs::{BrokerSettings, ConfigView, StaticConfig};
use highwater_replication::{Assignment, Rules};
use highwater_types::{BrokerId, HashMap, LogId, TopicId};
use highwater_wire::Str;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The topics at one point of the metadata log. Never changes.
pub(crate) struct Routing<E: Env> {
    /// Counts the states: another one has another number.
    pub(crate) number: u64,
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

    /// All partitions that this node has.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Arc<Partition<E>>> {
        self.topics().flat_map(|topic| topic.partitions.iter().flatten())
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
    replication: Arc<Replication<E>>,
    routing: RwLock<Arc<Routing<E>>>,
    /// How often it was replaced.
    published: Signal,
}

impl<E: Env> Directory<E> {
    /// A directory of nothing.
    pub(crate) fn new(env: E, node: BrokerId, statics: StaticConfig, metrics: Arc<Metrics>) -> Self {
        let image = Arc::new(Image::new());
        let settings = ConfigView { image: &image, statics: &statics, broker: node }.broker();
        let routing =
            Routing { number: 0, image, settings, by_name: BTreeMap::new(), by_id: HashMap::default() };
        let replication = Replication::new();
        let routing = RwLock::new(Arc::new(routing));
        Self { env, node, statics, metrics, replication, routing, published: Signal::default() }
    }

    /// What the partitions are replicated by.
    pub(crate) fn replication(&self) -> &Arc<Replication<E>> {
        &self.replication
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
        let routing = Arc::new(Routing {
            number: last.number + 1,
            image: Arc::clone(&image),
            settings,
            by_name,
            by_id,
        });
        *self.routing.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&routing);
        for gone in last.topics().filter(|topic| routing.topic_by_id(topic.id).is_none()) {
            gone.partitions.iter().flatten().for_each(|partition| partition.retire());
        }
        if !last.image.brokers().eq(image.brokers()) {
            // Who may be in sync may have changed, and who is connected.
            self.replication.brokers_changed();
        }
        self.published.raise_to(self.published.value() + 1);
    }

    /// Counts how often the state was replaced: for those who follow it.
    pub(crate) fn published(&self) -> &Signal {
        &self.published
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
        let max_lag = Duration::from_millis(view.broker().replica_lag_time_max_ms.unsigned_abs());
        let partitions = metadata
            .logs()
            .zip(metadata.partitions())
            .map(|(id, state)| {
                let known = known.and_then(|known| known.partition(id.partition)).flatten();
                if !state.replicas.contains(&self.node) {
                    known.inspect(|partition| partition.retire());
                    return None;
                }
                let partition = match known {
                    Some(partition) => Arc::clone(partition),
                    None => {
                        let (env, metrics) = (self.env.clone(), Arc::clone(&self.metrics));
                        let (log, replication) = (store.log(id)?, Arc::clone(&self.replication));
                        Arc::new(Partition::new(env, name.clone(), log, self.node, metrics, replication))
                    }
                };
                let min_insync_replicas = rules.min_insync_replicas;
                partition.assign(assignment(state), Rules { sync: rules.sync, min_insync_replicas, max_lag });
                Some(partition)
            })
            .collect();
        let node = self.node;
        Topic { id: metadata.id(), name, node, metadata: Arc::clone(metadata), rules, partitions }
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

fn assignment(state: &highwater_metadata::Partition) -> Assignment {
    Assignment {
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        replicas: state.replicas.clone(),
        isr: state.isr.clone(),
    }
}
