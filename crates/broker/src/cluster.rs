//! The cluster's metadata on this node: decisions are made, committed and carried out here, one after another.
//!
//! A change goes through these steps, under one lock:
//!
//! 1. A decision looks at the present state and gives records.
//! 2. The records are applied to a copy of the state: what would contradict it never reaches the disk.
//! 3. The logs of new partitions are made, durably.
//! 4. The records are appended to the metadata log as one batch, and synced. From here on the change is a fact.
//! 5. Configurations go to the logs, the new state is published for requests to see, and the logs of deleted topics
//!    are deleted.
//!
//! Logs are made before the record that tells of them, so that at every start each partition has its log: one that is
//! missing was lost, and is reported instead of replaced by an empty one in silence. A log without a partition is what
//! a crash between 3 and 4 leaves.
//!
//! With one node a record is committed when this node's disk holds it. A quorum will replace step 4 and nothing else.

mod logs;
mod replay;

use crate::directory::Directory;
use highwater_env::{Env, Event, Purpose, Rng};
use highwater_log::{AppendError, Log, LogError, ReadError, Store};
use highwater_metadata::configs::ConfigView;
use highwater_metadata::controller::{self, Decision, NewTopic, ProducerIdBlock};
use highwater_metadata::{
    ApplyError, BrokerRecord, Change, Endpoint, FrameError, Image, METADATA_LOG, MetadataRecord, Refusal,
    RefusalCode, encode,
};
use highwater_records::{Batch, BatchBuilder, BatchError, Codec};
use highwater_types::{BrokerId, ClusterId, LeaderEpoch, LogId, Offset, TopicId, Uuid, mutant};
use rand::Rng as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedMutexGuard, oneshot};

/// The largest batch of metadata records, which is the largest change.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// The epoch that metadata is appended with as long as there is no quorum to elect anyone.
const METADATA_EPOCH: LeaderEpoch = LeaderEpoch(0);

/// Why the metadata of a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// There are partition logs, and nothing that says what they are.
    #[error(
        "the data directory holds the logs of partitions, but its metadata log is missing or empty: \
         restore {METADATA_LOG} in it, or name an empty data directory"
    )]
    MetadataLost,
    /// The metadata log does not hold all its records.
    #[error("the metadata log has no record at offset {0}: restore {METADATA_LOG} in the data directory")]
    MetadataCut(Offset),
    /// A part of the metadata log cannot be read.
    #[error("the metadata log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// A part of the metadata log is not what was written.
    #[error("the metadata log holds a batch that cannot be read: {0}")]
    Batch(#[from] BatchError),
    /// A record cannot be understood.
    #[error("the metadata log holds a record that cannot be used: {0}")]
    Frame(#[from] FrameError),
    /// A record contradicts those before it.
    #[error("the metadata log contradicts itself: {0}")]
    Apply(#[from] ApplyError),
    /// A record of the metadata log has no value.
    #[error("the metadata log holds a record without a value, at offset {0}")]
    Empty(Offset),
    /// The data directory and the metadata in it name different clusters.
    #[error("the data directory belongs to cluster {disk}, and the metadata in it to cluster {metadata}")]
    OtherCluster {
        /// What the directory says.
        disk: ClusterId,
        /// What the metadata says.
        metadata: ClusterId,
    },
    /// A log could not be made.
    #[error("cannot make log {0}: {1}")]
    Create(LogId, LogError),
    /// The first records could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why a change was not made, or why it is not known whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The logs of new partitions could not be made. Nothing has changed.
    #[error("cannot make the log of a new partition: {0}")]
    Create(LogError),
    /// The change could not be appended to the metadata log.
    #[error("cannot write to the metadata log: {0}")]
    Append(AppendError),
    /// The change was appended and could not be made durable: a restart decides.
    #[error("cannot sync the metadata log: {0}")]
    Sync(LogError),
    /// A decision contradicts the state it was made from.
    #[error("a change of the metadata contradicts its state: {0}")]
    Apply(ApplyError),
    /// A change that no client asked for was refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The node stops.
    #[error("the node is stopping")]
    Stopped,
}

/// The cluster's metadata on this node. A cheap handle.
pub(crate) struct Cluster<E: Env>(Arc<Inner<E>>);

struct Inner<E: Env> {
    env: E,
    node: BrokerId,
    store: Store<E>,
    log: Log<E>,
    directory: Arc<Directory<E>>,
    ids: Mutex<Rng>,
    /// Held from a decision until it is carried out.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl<E: Env> Cluster<E> {
    /// Reads the metadata of the store, brings the store's logs in line with it, publishes it, and registers this node
    /// with its endpoints. A new store becomes a new cluster.
    pub(crate) async fn open(
        env: E,
        store: Store<E>,
        directory: Arc<Directory<E>>,
        node: BrokerId,
        endpoints: Vec<Endpoint>,
    ) -> Result<Self, ClusterError> {
        let log = replay::metadata_log(&store).await?;
        let replayed = replay::replay(&log).await?;
        let (disk, image) = (store.cluster_id(), Arc::new(replayed.image));
        match image.cluster_id() {
            Some(metadata) if metadata != disk => return Err(ClusterError::OtherCluster { disk, metadata }),
            None if store.logs().len() > 1 => return Err(ClusterError::MetadataLost),
            _ => {}
        }
        let ids = Mutex::new(env.entropy(Purpose::Ids));
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        let cluster = Self(Arc::new(Inner { env, node, store, log, directory, ids, turn }));
        cluster.0.reconcile(&image, &replayed.removed).await;
        cluster.0.directory.publish(image, &cluster.0.store);
        let broker = BrokerRecord { id: node, endpoints, ..BrokerRecord::default() };
        let first_records = |view: &ConfigView<'_>| Decision::<()> {
            records: [
                controller::bootstrap(view.image, disk),
                controller::register_broker(view.image, broker),
            ]
            .concat(),
            answers: Vec::new(),
        };
        cluster.change(first_records).await?;
        Ok(cluster)
    }

    /// Takes a block of producer ids for this node.
    pub(crate) async fn allocate_producer_ids(&self) -> Result<ProducerIdBlock, CommitError> {
        let node = self.0.node;
        let mut answers = self.change(|view| controller::allocate_producer_ids(view.image, node)).await?;
        answers.pop().expect("one answer").map_err(CommitError::Refused)
    }

    /// Creates topics with the defaults for everything. Those that cannot be created are not.
    pub(crate) async fn create_missing_topics(&self, names: Vec<String>) {
        let topics: Vec<NewTopic> = names
            .into_iter()
            .map(|name| NewTopic { name, partitions: -1, replication_factor: -1, ..NewTopic::default() })
            .collect();
        let draw_id = || self.draw_topic_id();
        match self.change(|view| controller::create_topics(view, &topics, false, draw_id)).await {
            Ok(answers) => {
                let refused = topics.iter().zip(answers).filter_map(|(topic, it)| Some((topic, it.err()?)));
                for (topic, refusal) in refused {
                    // Another request may have been faster.
                    tracing::debug!(topic = %topic.name, %refusal, "a topic was not created");
                }
            }
            Err(error) => tracing::error!(%error, "topics that clients asked for could not be created"),
        }
    }

    /// Makes a decision and carries it out. The answers are true when this returns, and stay so whatever fails.
    ///
    /// A change that was begun runs to its end even if the caller goes away.
    pub(crate) async fn change<T>(
        &self,
        decide: impl FnOnce(&ConfigView<'_>) -> Decision<T>,
    ) -> Result<Vec<Result<T, Refusal>>, CommitError> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let image = Arc::clone(&self.0.directory.load().image);
        let decision = decide(&self.0.view(&image));
        match batch(&decision.records, &self.0.env) {
            Ok(None) => Ok(decision.answers),
            Ok(Some(batch)) => {
                self.carry_out(turn, image, decision.records, batch).await?;
                Ok(decision.answers)
            }
            Err(TooLarge) => {
                let message = "The request would change too much at once: split it into several";
                let refusal = Refusal::new(RefusalCode::PolicyViolation, message);
                Ok(decision.answers.into_iter().map(|answer| answer.and(Err(refusal.clone()))).collect())
            }
        }
    }

    /// A random topic id.
    pub(crate) fn draw_topic_id(&self) -> TopicId {
        let mut ids = self.0.ids.lock().unwrap_or_else(PoisonError::into_inner);
        TopicId(Uuid::from_random(u128::from(ids.next_u64()) << 64 | u128::from(ids.next_u64())))
    }

    /// Runs steps 2 to 5 in a task of their own: half of them would leave the state behind the log.
    async fn carry_out(
        &self,
        turn: OwnedMutexGuard<()>,
        image: Arc<Image>,
        records: Vec<MetadataRecord>,
        batch: Batch,
    ) -> Result<(), CommitError> {
        let (done, outcome) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        self.0
            .env
            .spawn("metadata-commit", async move {
                let result = inner.carry_out(&image, &records, &batch).await;
                drop(turn);
                // The caller may be gone.
                let _ = done.send(result);
            })
            .detach();
        outcome.await.unwrap_or(Err(CommitError::Stopped))
    }
}

impl<E: Env> Inner<E> {
    fn view<'a>(&'a self, image: &'a Image) -> ConfigView<'a> {
        ConfigView { image, statics: self.directory.statics(), broker: self.node }
    }

    async fn carry_out(
        self: &Arc<Self>,
        image: &Image,
        records: &[MetadataRecord],
        batch: &Batch,
    ) -> Result<(), CommitError> {
        let mut next = image.clone();
        let index = u64::try_from(self.log.end_offset().0).expect("offsets are not negative");
        let changes = next.apply_all(records, index).map_err(CommitError::Apply)?;
        let next = Arc::new(next);
        let created = self.create_logs(&next, &changes).await.map_err(CommitError::Create)?;
        let now = self.env.clock().wall();
        let appended = match self.log.append(batch, METADATA_EPOCH, now).await {
            Ok(appended) => appended,
            Err(error) => {
                // These leave the log as it was; after others nobody knows, and a restart looks.
                if matches!(error, AppendError::StorageFull | AppendError::Io(_)) {
                    self.remove_logs(created).await;
                }
                return Err(CommitError::Append(error));
            }
        };
        if !mutant!("ctrl-ack-unsynced") {
            self.log.wait_synced(appended.end_offset).await.map_err(CommitError::Sync)?;
        }
        self.configure_logs(&next, &changes).await;
        self.directory.publish(Arc::clone(&next), &self.store);
        for change in &changes {
            self.tell(&next, change);
        }
        let gone = changes.iter().filter_map(|change| match change {
            Change::TopicDeleted(topic) => Some(topic.logs()),
            _ => None,
        });
        self.remove_logs(gone.flatten().collect()).await;
        Ok(())
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
                self.env.observe(&Event::TopicDeleted { topic: topic.id() });
            }
            _ => {}
        }
    }
}

/// More records than fit into one batch.
struct TooLarge;

/// The records as one batch, if there are any.
fn batch<E: Env>(records: &[MetadataRecord], env: &E) -> Result<Option<Batch>, TooLarge> {
    let now = env.clock().wall();
    let mut builder = BatchBuilder::new(Codec::None, MAX_BATCH_BYTES);
    for record in records {
        let frame = encode(record).map_err(|_| TooLarge)?;
        if !builder.try_push(now, None, Some(&frame), &[]) {
            return Err(TooLarge);
        }
    }
    if builder.is_empty() {
        return Ok(None);
    }
    Ok(Some(Batch::check(builder.build()).expect("a batch that was just built is a good one")))
}
