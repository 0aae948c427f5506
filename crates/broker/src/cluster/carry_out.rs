//! The carrying out of what was committed: one task brings this node's logs, configurations and routing in line with
//! the metadata, step by step behind it.

use super::state::News;
use super::{Cluster, Inner};
use highwater_env::{Env, Event, Task, timeout};
use highwater_metadata::{Change, Image};
use highwater_types::mutant;
use std::sync::Arc;
use std::time::Duration;

/// How long those wait at most who want to see what was committed carried out here.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the making of logs that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Carries out what is committed, until the node stops. Begins when the broker is registered: until then what is known
/// may be old.
pub(super) fn start<E: Env>(cluster: &Cluster<E>) -> Task {
    let cluster = cluster.clone();
    let env = cluster.0.env.clone();
    env.spawn("metadata", async move {
        let inner = &cluster.0;
        inner
            .until_stop(async {
                if !mutant!("ctrl-stray-delete") {
                    inner.registered.reached(1).await;
                    inner.committed.applied.reached(inner.registered.value()).await;
                }
                let mut first = true;
                loop {
                    let news = inner.committed.take_news();
                    if news.index > inner.carried.value() {
                        // What was begun is finished, but for a stop of the machine.
                        inner.carry_out(news, std::mem::take(&mut first)).await;
                    }
                    let next = inner.committed.applied.reached(inner.carried.value() + 1);
                    if timeout(inner.env.clock(), RETRY, next).await.is_err() {
                        inner.retry_logs().await;
                    }
                }
            })
            .await;
    })
}

impl<E: Env> Inner<E> {
    async fn carry_out(self: &Arc<Self>, news: News, first: bool) {
        let News { image, index, changes, replaced } = news;
        if first || replaced {
            self.reconcile(&image, index).await;
        } else {
            self.make_logs(&image, &changes, index).await;
            self.configure_logs(&image, &changes).await;
        }
        self.directory.publish(Arc::clone(&image), &self.store);
        for change in &changes {
            self.tell(&image, change);
        }
        let gone = self.logs_to_remove(&image, &changes);
        self.remove_logs(gone).await;
        self.carried.raise_to(index);
    }

    /// Waits until what was committed up to an index is carried out here, if this node carries anything out.
    pub(super) async fn wait_carried(&self, index: u64) {
        if self.carried.value() > 0
            && timeout(self.env.clock(), PATIENCE, self.carried.reached(index)).await.is_err()
        {
            tracing::warn!(index, "carrying out changes of the metadata takes long");
        }
    }

    fn tell(&self, image: &Image, change: &Change) {
        match change {
            Change::TopicCreated(id) => {
                if let Some(topic) = image.topic_by_id(*id) {
                    let name = topic.name().to_owned();
                    tracing::info!(topic = %name, %id, partitions = topic.partitions().len(), "topic created");
                    self.env.observe(&Event::TopicCreated { topic: *id, name });
                }
            }
            Change::TopicDeleted(topic) => {
                tracing::info!(topic = %topic.name(), id = %topic.id(), "topic deleted");
            }
            _ => {}
        }
    }
}
