//! The groups that this node coordinates: those of the partitions of `__consumer_offsets` that it leads.
//!
//! Each such partition has a [`Shard`]: the pure coordinator of [`highwater_groups`], its records on their way into the
//! partition's log, and the requests that wait. A shard is of one epoch of the leader. It begins with reading the log
//! (`load.rs`), and ends when the epoch does: whoever leads then reads what this one wrote.

mod lag;
mod load;
mod serve;
mod shard;
mod topics;
mod write;

pub(crate) use shard::{Reply, Shard};
pub(crate) use topics::RoutedTopics;

use crate::directory::Routing;
use crate::state::Shared;
use crate::topic::Topic;
use highwater_env::{Env, Purpose, Rng, Task};
use highwater_groups::{
    Answer, ConsumerSettings, Coordinator, GroupSettings, MigrationPolicy, Now, Token, partition_of,
};
use highwater_metadata::configs::BrokerSettings;
use highwater_types::{LeaderEpoch, PartitionIndex, TopicId, Uuid, mutant};
use highwater_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_wire::{ErrorCode, Str};
use rand::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The topic that keeps groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Stands for the partition of the task that has none.
const FOLLOWING: i32 = -1;

/// The groups that this node coordinates.
pub(crate) struct Groups<E: Env> {
    settings: GroupSettings,
    /// By partition.
    shards: Mutex<BTreeMap<i32, Arc<Shard<E>>>>,
    /// Draws the ids of members.
    ids: Mutex<Rng>,
    /// By partition; under -1 the one that follows the metadata.
    tasks: Mutex<BTreeMap<i32, Task>>,
}

impl<E: Env> Groups<E> {
    pub(crate) fn new(env: &E, settings: &BrokerSettings) -> Self {
        let (ids, settings) = (Mutex::new(env.entropy(Purpose::Ids)), group_settings(settings));
        Self { settings, shards: Mutex::default(), ids, tasks: Mutex::default() }
    }

    /// Follows the metadata until the node stops.
    pub(crate) fn start(&self, shared: &Arc<Shared<E>>) {
        let shared = Arc::clone(shared);
        let env = shared.env.clone();
        let task = env.spawn("groups", async move {
            let mut topics = BTreeMap::new();
            let mut seen = 0;
            while !shared.stop.is_raised() {
                // The number first: a state that comes after it is looked at again.
                let number = shared.directory.published().value();
                if number > seen {
                    shared.groups.align(&shared, &mut topics);
                    seen = number;
                }
                let next = shared.directory.published().reached(seen + 1);
                crate::replication::until_stop(&shared, next).await;
            }
        });
        self.add(FOLLOWING, task);
    }

    /// Begins to coordinate what this node leads since the metadata moved, and forgets what belongs to deleted topics.
    fn align(&self, shared: &Arc<Shared<E>>, topics: &mut BTreeMap<Str, TopicId>) {
        let routing = shared.directory.load();
        let offsets = routing.topic(OFFSETS_TOPIC);
        let led = offsets.into_iter().flat_map(|topic| topic.partitions.iter().flatten());
        for partition in led {
            let state = routing.image.partition(partition.id());
            if state.is_some_and(|state| state.leader == Some(shared.config.node_id)) {
                let epoch = state.map_or(LeaderEpoch::NONE, |state| state.leader_epoch);
                let mut shards = self.shards();
                let index = partition.id().partition.0;
                if shards.get(&index).is_none_or(|shard| shard.epoch() != epoch) {
                    let (env, settings) = (shared.env.clone(), self.settings.clone());
                    let shard = Arc::new(Shard::new(env, Arc::clone(partition), epoch, settings));
                    shards.insert(index, Arc::clone(&shard));
                    drop(shards);
                    self.add(index, serve::start(shared, shard));
                }
            }
        }
        let now: BTreeMap<Str, TopicId> =
            routing.topics().map(|topic| (topic.name.clone(), topic.id)).collect();
        // A name that has another topic by now had one that is gone.
        let gone = topics.iter().filter(|(name, id)| now.get(*name) != Some(id));
        let gone: BTreeSet<Str> = gone.map(|(name, _)| name.clone()).collect();
        if !gone.is_empty() {
            let shards: Vec<_> = self.shards().values().cloned().collect();
            shards.iter().for_each(|shard| shard.forget_topics(&gone));
        }
        *topics = now;
        if !mutant!("coord-no-unload") {
            self.shards().retain(|_, shard| !shard.is_over());
        }
    }

    /// Ends when all that was begun has ended, after the node was told to stop.
    pub(crate) async fn stopped(&self) {
        loop {
            let task = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            let Some((_, task)) = task else { return };
            task.await;
        }
    }

    /// The coordinator of a group, if it is this node.
    pub(crate) fn of(&self, routing: &Routing<E>, group: &str) -> Result<Arc<Shard<E>>, ErrorCode> {
        let topic = routing.topic(OFFSETS_TOPIC).ok_or(ErrorCode::NOT_COORDINATOR)?;
        let index = place_of(topic, group);
        if let Some(shard) = self.shards().get(&index.0) {
            return Ok(Arc::clone(shard));
        }
        match topic.partition(index) {
            // It has just been given this partition.
            Some(Some(partition)) if partition.leading().is_some() => {
                Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
            }
            _ => Err(ErrorCode::NOT_COORDINATOR),
        }
    }

    /// Begins to ask a group's coordinator for something that is answered now or later.
    pub(crate) fn begin(
        &self,
        shared: &Shared<E>,
        group: &str,
        ask: impl FnOnce(&mut Coordinator, Token, Now),
    ) -> Result<Reply, ErrorCode> {
        self.of(&shared.directory.load(), group)?.ask(ask)
    }

    /// Asks a group's coordinator for something, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        shared: &Shared<E>,
        group: &str,
        ask: impl FnOnce(&mut Coordinator, Token, Now),
    ) -> Result<Answer, ErrorCode> {
        self.begin(shared, group, ask)?.answer().await
    }

    /// All of this node's coordinators.
    pub(crate) fn all(&self) -> Vec<Arc<Shard<E>>> {
        self.shards().values().cloned().collect()
    }

    /// A number never drawn before.
    pub(crate) fn draw(&self) -> Uuid {
        let mut rng = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::from_random((u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64()))
    }

    /// Keeps a task in mind. One for the same partition before it ends by itself: it is of an epoch that is over.
    fn add(&self, partition: i32, task: Task) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, task);
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<Shard<E>>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The partition of the offsets topic that a group belongs to.
pub(crate) fn place_of<E: Env>(topic: &Topic<E>, group: &str) -> PartitionIndex {
    let partitions = i32::try_from(topic.metadata.partitions().len()).unwrap_or(i32::MAX);
    PartitionIndex(partition_of(group, partitions.max(1)))
}

/// The offsets topic as it is created when it is first needed. All brokers that there are count for the number of its
/// replicas, and not only those that are alive: it keeps that number.
pub(crate) fn offsets_topic<E: Env>(routing: &Routing<E>) -> CreatableTopic {
    let settings = &routing.settings;
    let brokers = i16::try_from(routing.image.brokers().count()).unwrap_or(i16::MAX);
    let factor = i16::try_from(settings.offsets_topic_replication_factor).unwrap_or(i16::MAX);
    let config = |name: &'static str, value: Str| CreatableTopicConfig {
        name: Str::from_static(name),
        value: Some(value),
    };
    CreatableTopic {
        name: Str::from_static(OFFSETS_TOPIC),
        num_partitions: settings.offsets_topic_num_partitions,
        replication_factor: factor.min(brokers).max(1),
        configs: vec![
            config("cleanup.policy", Str::from_static("compact")),
            config("compression.type", Str::from_static("producer")),
            config("segment.bytes", Str::from(settings.offsets_topic_segment_bytes.to_string())),
        ],
        ..CreatableTopic::default()
    }
}

fn group_settings(settings: &BrokerSettings) -> GroupSettings {
    let millis = |value: i64| Duration::from_millis(u64::try_from(value).unwrap_or(0));
    let size = |value: i32| usize::try_from(value).unwrap_or(0);
    GroupSettings {
        min_session_timeout: millis(settings.group_min_session_timeout_ms.into()),
        max_session_timeout: millis(settings.group_max_session_timeout_ms.into()),
        initial_rebalance_delay: millis(settings.group_initial_rebalance_delay_ms.into()),
        max_size: size(settings.group_max_size),
        offset_metadata_max_bytes: size(settings.offset_metadata_max_bytes),
        offsets_retention: millis(i64::from(settings.offsets_retention_minutes) * 60_000),
        retention_check_interval: millis(settings.offsets_retention_check_interval_ms),
        consumer: ConsumerSettings {
            session_timeout: millis(settings.group_consumer_session_timeout_ms.into()),
            heartbeat_interval: millis(settings.group_consumer_heartbeat_interval_ms.into()),
            max_size: size(settings.group_consumer_max_size),
            migration: MigrationPolicy::of_name(settings.group_consumer_migration_policy.trim())
                .expect("values in force are checked"),
        },
    }
}
