//! The cluster's metadata on this node.
//!
//! The metadata is what the quorum has committed (`state.rs`). A change goes through these steps:
//!
//! 1. On the active controller, one change at a time: a decision looks at the committed state and gives records
//!    (`lead.rs`).
//! 2. The records are proposed to the quorum as one command, in the term that the decision was made in. When a quorum
//!    holds them on disk they are a fact.
//! 3. Every node applies the command to its image, in order.
//! 4. Every node carries out what concerns it, behind the commit: logs of new partitions are made, configurations go
//!    to logs, the new state is published for requests to see, and logs of deleted topics are deleted
//!    (`carry_out.rs`).
//!
//! A node registers with the active controller before it carries anything out, and tells it that it is alive
//! (`lifecycle.rs`). Requests of clients that only the active controller can decide are sent on to it (`calls.rs`).
//!
//! A node alone is a quorum of one: it goes the same way.

mod calls;
mod carry_out;
mod command;
mod found;
mod in_sync;
mod lead;
mod lifecycle;
mod logs;
mod missing;
mod seen;
mod state;
mod transport;

pub(crate) use calls::Forward;
pub(crate) use lifecycle::{Addresses, Readiness, start as start_lifecycle};

use crate::config::BrokerConfig;
use crate::directory::Directory;
use crate::internal::Peers;
use crate::internal::message::Hello;
use crate::latch::Latch;
use crate::signal::Signal;
use highwater_env::{Env, Purpose, Rng};
use highwater_log::{CleanupPolicy, Log, LogConfig, LogError, RecoveryReport, Store};
use highwater_metadata::configs::{BrokerSettings, ConfigView};
use highwater_metadata::{Image, METADATA_LOG, Refusal};
use highwater_quorum::{Quorum, QuorumError, QuorumOptions};
use highwater_types::{BrokerEpoch, BrokerId, ClusterId, LogId, TopicId, Uuid, mutant};
use logs::Wanted;
use rand::Rng as _;
use seen::Seen;
use state::{Committed, MetadataMachine};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use transport::PeerTransport;

/// Where the quorum keeps its vote and snapshots, within the data directory.
const QUORUM_DIR: &str = "quorum";

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
    /// The quorum's files cannot be used.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// The mark of what was carried out cannot be read.
    #[error("the mark of what this node has seen of the metadata cannot be read: {0}")]
    Seen(io::Error),
    /// The metadata log could not be made.
    #[error("cannot make log {0}: {1}")]
    Create(LogId, LogError),
    /// The configuration of the cluster contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The node was refused by the cluster.
    #[error("the cluster refuses this node: {0}")]
    Refused(String),
    /// The metadata cannot be followed.
    #[error("the metadata log holds what this program cannot use: {0}")]
    Unusable(String),
    /// The quorum's member on this node has stopped.
    #[error("the metadata quorum failed on this node, which takes no part in it before it is restarted: {0}")]
    QuorumFailed(String),
    /// The node stops.
    #[error("the node is stopping")]
    Stopped,
}

/// Why a change was not made, or why it is not known whether it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Another node is the active controller, or none is.
    #[error("this node is not the active controller")]
    NotController,
    /// Nobody knows yet whether the change will be made.
    #[error("the metadata quorum did not commit the change in time: it may be made yet")]
    Open,
    /// The quorum's storage on this node failed.
    #[error("the metadata quorum failed on this node: {0}")]
    Failed(String),
    /// A decision contradicts the state it was made from.
    #[error("a change of the metadata contradicts its state: {0}")]
    Contradiction(String),
    /// A change that no client asked for was refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The node stops.
    #[error("the node is stopping")]
    Stopped,
}

/// The cluster's metadata on this node. A cheap handle.
pub(crate) struct Cluster<E: Env>(Arc<Inner<E>>);

impl<E: Env> Clone for Cluster<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<E: Env> {
    env: E,
    node: BrokerId,
    config: BrokerConfig,
    settings: BrokerSettings,
    store: Store<E>,
    quorum: Quorum<E>,
    peers: Arc<Peers<E>>,
    committed: Arc<Committed>,
    /// Up to where the committed metadata was carried out here.
    carried: Signal,
    seen: Seen<E>,
    wanted: Mutex<Wanted>,
    directory: Arc<Directory<E>>,
    ids: Mutex<Rng>,
    /// The incarnation of this broker; 0 before it is registered.
    registered: Signal,
    /// Held from a decision until it is committed.
    turn: tokio::sync::Mutex<Option<lead::Lead>>,
    stop: Arc<Latch>,
}

/// To be called when a store was opened that had not been closed in good order, before anything else is done with it: a
/// node that were stopped in good order before it registers again would otherwise pass for one that has lost nothing.
pub(crate) async fn opened_after_a_crash<E: Env>(env: E, data_dir: &Path) -> Result<(), ClusterError> {
    if mutant!("clean-marker-kept") || mutant!("clean-stop-unregistered") {
        return Ok(());
    }
    let seen = Seen::open(env, data_dir).await.map_err(ClusterError::Seen)?;
    seen.forget_registration().await.map_err(ClusterError::Seen)
}

impl<E: Env> Cluster<E> {
    /// Opens the quorum's part of the store. Nothing is served and nobody is known before the lifecycle has run.
    pub(crate) async fn open(
        env: E,
        store: Store<E>,
        directory: Arc<Directory<E>>,
        config: BrokerConfig,
        settings: BrokerSettings,
        recovery: &[RecoveryReport],
        stop: Arc<Latch>,
    ) -> Result<Self, ClusterError> {
        let node = config.node_id;
        config.check_cluster().map_err(ClusterError::Config)?;
        let (cluster, disk) = (store.cluster_id(), store.disk_id());
        let peers = Arc::new(Peers::new(env.clone(), move || Hello::new(cluster, node.0, disk, false)));
        let committed = Committed::new();
        let mut options = QuorumOptions::new(node, disk, config.data_dir.join(QUORUM_DIR));
        options.recovered = recovery.iter().find(|report| report.log == METADATA_LOG).cloned();
        options.election_timeout = millis(settings.controller_quorum_election_timeout_ms.into());
        options.heartbeat_interval = options.heartbeat_interval.min(options.election_timeout / 4);
        let seen = Seen::open(env.clone(), &config.data_dir).await.map_err(ClusterError::Seen)?;
        let log = metadata_log(&store, seen.mark().await.is_some()).await?;
        let transport = Arc::new(PeerTransport::new(Arc::clone(&peers), &config.voters));
        let wanted = Wanted::after(recovery);
        let machine = Box::new(MetadataMachine::new(env.clone(), Arc::clone(&committed)));
        let quorum = Quorum::open(env.clone(), log, options, transport, machine).await?;
        Ok(Self(Arc::new(Inner {
            ids: Mutex::new(env.entropy(Purpose::Ids)),
            env,
            node,
            config,
            settings,
            store,
            quorum,
            peers,
            committed,
            carried: Signal::default(),
            seen,
            wanted: Mutex::new(wanted),
            directory,
            registered: Signal::default(),
            turn: tokio::sync::Mutex::new(None),
            stop,
        })))
    }

    /// The quorum.
    pub(crate) fn quorum(&self) -> &Quorum<E> {
        &self.0.quorum
    }

    /// Which node is the active controller, as far as this one knows.
    pub(crate) fn controller(&self) -> Option<BrokerId> {
        self.0.quorum.leadership().leader
    }

    /// The incarnation of this broker.
    pub(crate) fn broker_epoch(&self) -> BrokerEpoch {
        match self.0.registered.value() {
            0 => BrokerEpoch::NONE,
            epoch => BrokerEpoch(i64::try_from(epoch).unwrap_or(i64::MAX)),
        }
    }

    /// Up to where this node has applied the metadata log.
    pub(crate) fn committed_index(&self) -> u64 {
        self.0.committed.applied.value()
    }

    /// A random topic id.
    pub(crate) fn draw_topic_id(&self) -> TopicId {
        TopicId(self.0.draw_id())
    }

    /// Stops taking part in the quorum.
    pub(crate) async fn close(&self) {
        self.0.quorum.shutdown().await;
    }
}

impl<E: Env> Inner<E> {
    fn view<'a>(&'a self, image: &'a Image) -> ConfigView<'a> {
        ConfigView { image, statics: self.directory.statics(), broker: self.node }
    }

    fn draw_id(&self) -> Uuid {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::from_random(u128::from(ids.next_u64()) << 64 | u128::from(ids.next_u64()))
    }

    fn cluster_id(&self) -> ClusterId {
        self.store.cluster_id()
    }
}

/// The log of the quorum's entries, made if the store is new.
async fn metadata_log<E: Env>(store: &Store<E>, was_in_cluster: bool) -> Result<Log<E>, ClusterError> {
    if let Some(log) = store.log(METADATA_LOG) {
        log.set_config(metadata_config()).await;
        return Ok(log);
    }
    if was_in_cluster || !store.logs().is_empty() {
        return Err(ClusterError::MetadataLost);
    }
    let made = store.create_log(METADATA_LOG, metadata_config()).await;
    made.map_err(|error| ClusterError::Create(METADATA_LOG, error))
}

/// The quorum alone decides what leaves its log.
fn metadata_config() -> LogConfig {
    LogConfig {
        segment_bytes: 64 << 20,
        retention_ms: None,
        retention_bytes: None,
        cleanup: CleanupPolicy { delete: false, compact: false },
        max_message_bytes: 32 << 20,
        ..LogConfig::default()
    }
}

fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}
