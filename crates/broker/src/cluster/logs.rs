//! Keeping the store's logs in line with the metadata.

use super::Inner;
use crate::topic::log_config;
use highwater_env::{Env, Event};
use highwater_log::{CleanupPolicy, LogConfig, LogError};
use highwater_metadata::{Change, Image, METADATA_LOG, Topic};
use highwater_types::{LogId, Offset, mutant};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// How many logs are made or deleted at once.
const AT_ONCE: usize = 16;

impl<E: Env> Inner<E> {
    /// Brings the logs in line with the metadata at start: configures them, deletes those of topics that were deleted
    /// and those that a crash left behind, and reports what should not be.
    pub(super) async fn reconcile(self: &Arc<Self>, image: &Image, removed: &BTreeSet<LogId>) {
        let mut leftover: Vec<LogId> = removed.iter().copied().collect();
        for log in self.store.logs() {
            let id = log.id();
            if id == METADATA_LOG || image.partition(id).is_some() {
                continue;
            }
            if removed.contains(&id) {
                self.env.observe(&Event::Reached("cluster: log of a deleted topic left by a crash"));
            } else if log.end_offset() == Offset::ZERO || mutant!("ctrl-stray-delete") {
                self.env.observe(&Event::Reached("cluster: log of a topic that was never committed"));
                leftover.push(id);
            } else {
                // Never deleted: if it is the metadata that is wrong, this is somebody's data.
                tracing::error!(
                    log = %id, records = log.end_offset().0 - log.start_offset().0,
                    "the data directory holds a log with records that no topic of the metadata has; it is left as it is"
                );
                log.set_config(keep_everything()).await;
            }
        }
        self.remove_logs(leftover).await;
        for topic in image.topics() {
            self.configure_topic(image, topic).await;
            for id in self.own_logs(topic).filter(|&id| self.store.log(id).is_none()) {
                // It was made before the metadata told of it, so it was lost. An empty one in its place would hide
                // that.
                tracing::error!(
                    log = %id, topic = topic.name(),
                    "the log of a partition is missing or cannot be opened; the partition is offline. Restore its \
                     directory, or delete the topic"
                );
            }
        }
    }

    /// Makes the logs of new partitions; all or none.
    pub(super) async fn create_logs(
        self: &Arc<Self>,
        image: &Image,
        changes: &[Change],
    ) -> Result<Vec<LogId>, LogError> {
        let wanted: Vec<(LogId, LogConfig)> = changes
            .iter()
            .filter_map(|change| match change {
                Change::PartitionCreated(id) => Some(*id),
                _ => None,
            })
            .filter(|id| {
                image.partition(*id).is_some_and(|partition| partition.replicas.contains(&self.node))
            })
            .filter_map(|id| Some((id, log_config(&self.view(image).topic(image.topic_by_id(id.topic)?)))))
            .collect();
        let failure = Arc::new(Mutex::new(None));
        let ids: Vec<LogId> = wanted.iter().map(|(id, _)| *id).collect();
        self.each(wanted, {
            let failure = Arc::clone(&failure);
            move |inner, (id, config)| {
                let failure = Arc::clone(&failure);
                async move {
                    if failure.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                        return;
                    }
                    if let Err(error) = inner.store.create_log(id, config).await {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        })
        .await;
        let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failure {
            None => Ok(ids),
            Some(error) => {
                self.remove_logs(ids).await;
                Err(error)
            }
        }
    }

    /// Deletes logs, among them such as could not be opened. What cannot be deleted now is deleted at the next start.
    pub(super) async fn remove_logs(self: &Arc<Self>, ids: Vec<LogId>) {
        self.each(ids, |inner, id| async move {
            match inner.store.delete_log(id).await {
                Ok(()) | Err(LogError::NotFound(_)) => {}
                Err(error) => {
                    tracing::warn!(log = %id, %error, "a log could not be deleted; the next start tries again");
                }
            }
        })
        .await;
    }

    /// Hands changed configurations to the logs that they concern.
    pub(super) async fn configure_logs(&self, image: &Image, changes: &[Change]) {
        let all = changes.iter().any(|change| match change {
            Change::BrokerConfig(broker) => broker.is_none_or(|id| id == self.node),
            _ => false,
        });
        let mut topics = BTreeSet::new();
        for change in changes {
            match change {
                Change::TopicConfig(id) => topics.insert(*id),
                // A new replication factor may come with it, and min.insync.replicas follows that.
                Change::PartitionCreated(id) | Change::PartitionChanged(id) => topics.insert(id.topic),
                _ => false,
            };
        }
        for topic in image.topics().filter(|topic| all || topics.contains(&topic.id())) {
            self.configure_topic(image, topic).await;
        }
    }

    async fn configure_topic(&self, image: &Image, topic: &Topic) {
        let config = log_config(&self.view(image).topic(topic));
        for log in topic.logs().filter_map(|id| self.store.log(id)) {
            if *log.config() != config {
                log.set_config(config.clone()).await;
            }
        }
    }

    /// The logs that this node should have of a topic.
    fn own_logs<'a>(&self, topic: &'a Topic) -> impl Iterator<Item = LogId> + use<'a, E> {
        let node = self.node;
        topic
            .logs()
            .zip(topic.partitions())
            .filter(move |(_, partition)| partition.replicas.contains(&node))
            .map(|(id, _)| id)
    }

    /// Runs work for each item, several at once.
    async fn each<T, F>(
        self: &Arc<Self>,
        items: Vec<T>,
        work: impl Fn(Arc<Self>, T) -> F + Send + Sync + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let workers = items.len().min(AT_ONCE);
        let items = Arc::new(Mutex::new(items.into_iter()));
        let work = Arc::new(work);
        let tasks: Vec<_> = (0..workers)
            .map(|_| {
                let (inner, items, work) = (Arc::clone(self), Arc::clone(&items), Arc::clone(&work));
                self.env.spawn("metadata-logs", async move {
                    loop {
                        let item = items.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(item) = item else { return };
                        work(Arc::clone(&inner), item).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            let _ = task.await;
        }
    }
}

fn keep_everything() -> LogConfig {
    LogConfig {
        retention_ms: None,
        retention_bytes: None,
        cleanup: CleanupPolicy { delete: false, compact: false },
        ..LogConfig::default()
    }
}
