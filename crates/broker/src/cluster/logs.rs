//! Keeping the store's logs in line with the metadata.

use super::Inner;
use crate::topic::log_config;
use highwater_env::{Env, Event};
use highwater_log::{LogError, RecoveryReport};
use highwater_metadata::{Change, Image, METADATA_LOG, Topic};
use highwater_types::{LogId, mutant};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// How many logs are made or deleted at once.
const AT_ONCE: usize = 16;

/// What this node knows of the logs that it should have.
#[derive(Default)]
pub(super) struct Wanted {
    /// Logs that could not be made; they are tried again.
    pub(super) failed: BTreeSet<LogId>,
    /// Logs that were lost, or may have lost their end, and that the controller has to be told of before this broker
    /// counts as complete in them.
    pub(super) lost: BTreeSet<LogId>,
}

impl Wanted {
    /// After logs were opened. Those that may have lost something as quietly as a crash takes what was not synced are
    /// no complete replicas before they have caught up; whoever was elected on the strength of them would cut from
    /// others what was acknowledged.
    pub(super) fn after(recovery: &[RecoveryReport]) -> Self {
        let uncertain = |report: &&RecoveryReport| report.log != METADATA_LOG && report.may_be_incomplete();
        let lost = recovery.iter().filter(uncertain).map(|report| report.log).collect();
        Self { lost, ..Self::default() }
    }
}

impl<E: Env> Inner<E> {
    /// Brings the logs in line with the whole of the metadata: makes those that are missing and never were, configures
    /// all, and deletes those of partitions that are gone.
    pub(super) async fn reconcile(self: &Arc<Self>, image: &Image, index: u64) {
        let seen = self.seen.mark().await.map_or(0, |mark| mark.index);
        if index < seen && !mutant!("ctrl-stray-delete") {
            tracing::error!(
                index,
                seen,
                "the metadata is older than what this node has carried out before: nothing is deleted by it. Restore \
                 the metadata log of the voters"
            );
        } else {
            self.remove_strays(image).await;
        }
        let own: Vec<LogId> =
            image.topics().flat_map(|topic| self.own_logs(topic).collect::<Vec<_>>()).collect();
        self.make(image, own, seen, index).await;
        for topic in image.topics() {
            self.configure_topic(image, topic).await;
        }
    }

    /// Deletes the logs that no partition of this node has any more. The metadata is known to be a later state than
    /// the one that they were made by.
    async fn remove_strays(self: &Arc<Self>, image: &Image) {
        let is_stray = |id: &LogId| {
            *id != METADATA_LOG
                && image.partition(*id).is_none_or(|partition| !partition.replicas.contains(&self.node))
        };
        let logs = self.store.logs().into_iter().map(|log| log.id());
        let strays: Vec<LogId> = logs.chain(self.store.unopened()).filter(is_stray).collect();
        if !strays.is_empty() {
            self.env.observe(&Event::Reached("cluster: log of a partition that is gone left by a crash"));
            tracing::info!(logs = strays.len(), "deleting logs of partitions that this node has no more");
        }
        self.remove_logs(strays).await;
    }

    /// Makes the logs of partitions that changes give to this node.
    pub(super) async fn make_logs(self: &Arc<Self>, image: &Image, changes: &[Change], index: u64) {
        let is_own = |id: &LogId| {
            image.partition(*id).is_some_and(|partition| partition.replicas.contains(&self.node))
        };
        let own: BTreeSet<LogId> = changes
            .iter()
            .filter_map(|change| match change {
                Change::PartitionCreated(id) | Change::PartitionChanged(id) => Some(*id),
                _ => None,
            })
            .filter(is_own)
            .collect();
        // What was there before these changes was looked at when it came.
        let seen = self.carried.value();
        self.make(image, own.into_iter().collect(), seen, index).await;
    }

    /// Tries again to make the logs that could not be made.
    pub(super) async fn retry_logs(self: &Arc<Self>) {
        let failed = std::mem::take(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner).failed);
        if failed.is_empty() {
            return;
        }
        let image = Arc::clone(&self.directory.load().image);
        let own = failed.into_iter().filter(|id| {
            image.partition(*id).is_some_and(|partition| partition.replicas.contains(&self.node))
        });
        self.make(&image, own.collect(), 0, self.carried.value()).await;
        self.directory.publish(image, &self.store);
    }

    /// Makes those of the logs that are not there and never were. `seen` is up to where the metadata had been carried
    /// out before, `index` up to where it is now.
    async fn make(self: &Arc<Self>, image: &Image, logs: Vec<LogId>, seen: u64, index: u64) {
        let mut missing = Vec::new();
        for id in logs.into_iter().filter(|id| self.store.log(*id).is_none()) {
            let (Some(partition), Some(topic)) = (image.partition(id), image.topic_by_id(id.topic)) else {
                continue;
            };
            let complete = partition.isr.contains(&self.node) || partition.elr.contains(&self.node);
            // One that could not be made yet, on a full disk, say, holds nothing, as all of its partition's do then.
            let was_never_made =
                self.wanted.lock().unwrap_or_else(PoisonError::into_inner).failed.contains(&id)
                    && !mutant!("unmade-is-lost");
            // The mark stays behind where the making of another log failed. One that cannot be opened was made.
            let was_made =
                partition.created <= seen || (self.store.is_unopened(id) && !mutant!("unopened-never-made"));
            if complete && was_made && !was_never_made {
                // It was lost. An empty one in its place would hide that, and might even be taken for a complete one.
                self.env.observe(&Event::Reached("cluster: lost log found"));
                self.env.observe(&Event::Lost { log: id });
                if !mutant!("lost-log-kept") {
                    self.wanted.lock().unwrap_or_else(PoisonError::into_inner).lost.insert(id);
                }
                tracing::error!(
                    log = %id, topic = topic.name(),
                    "the log of a partition is missing or cannot be opened; the partition is offline here. Restore its \
                     directory, or delete the topic"
                );
                continue;
            }
            if self.store.is_unopened(id) {
                // The controller knows that it does not count. It is there, and may open at the next start.
                continue;
            }
            missing.push((id, log_config(&self.view(image).topic(topic))));
        }
        if missing.is_empty() {
            return;
        }
        self.each(missing, |inner, (id, config)| async move {
            if let Err(error) = inner.store.create_log(id, config).await {
                tracing::error!(log = %id, %error, "the log of a partition cannot be made; it is tried again");
                inner.wanted.lock().unwrap_or_else(PoisonError::into_inner).failed.insert(id);
            }
        })
        .await;
        // A log that could not be made must not count as lost later.
        let all_made = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).failed.is_empty();
        if all_made && let Err(error) = self.seen.carried(index).await {
            tracing::error!(%error, "the mark of what was carried out cannot be written");
        }
    }

    /// The logs that changes take from this node.
    pub(super) fn logs_to_remove(&self, image: &Image, changes: &[Change]) -> Vec<LogId> {
        let mut gone = BTreeSet::new();
        for change in changes {
            match change {
                Change::TopicDeleted(topic) => gone.extend(topic.logs()),
                Change::PartitionChanged(id) => {
                    let replicas = image.partition(*id).map(|partition| &partition.replicas);
                    if replicas.is_some_and(|replicas| !replicas.contains(&self.node)) {
                        gone.insert(*id);
                    }
                }
                _ => {}
            }
        }
        gone.into_iter().filter(|id| self.store.log(*id).is_some() || self.store.is_unopened(*id)).collect()
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
