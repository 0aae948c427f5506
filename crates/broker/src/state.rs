//! What all parts of a running node share.

use crate::budget::Budget;
use crate::cluster::Cluster;
use crate::config::BrokerConfig;
use crate::connections::Connections;
use crate::directory::Directory;
use crate::groups::Groups;
use crate::handlers::fetch::Sessions;
use crate::latch::Latch;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::warnings::Warnings;
use highwater_env::Env;
use highwater_log::Store;
use highwater_metadata::Image;
use highwater_metadata::configs::BrokerSettings;
use highwater_types::BrokerId;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

/// What all parts of a running node share.
pub(crate) struct Shared<E: Env> {
    pub(crate) env: E,
    pub(crate) config: BrokerConfig,
    /// The settings that are read once, at the start.
    pub(crate) settings: BrokerSettings,
    pub(crate) store: Store<E>,
    pub(crate) cluster: Cluster<E>,
    pub(crate) directory: Arc<Directory<E>>,
    /// The fetch sessions of clients.
    pub(crate) sessions: Sessions,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) groups: Groups<E>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) connections: Connections,
    pub(crate) warnings: Warnings,
    /// Raised when the node stops.
    pub(crate) stop: Arc<Latch>,
}

impl<E: Env> Shared<E> {
    /// The broker that clients are told to be the controller: any broker sends what is the controller's on to it.
    pub(crate) fn controller_id(&self, image: &Image) -> BrokerId {
        let is_live = |id: &BrokerId| image.broker(*id).is_some_and(|broker| !broker.fenced);
        self.cluster.controller().filter(is_live).unwrap_or(self.config.node_id)
    }

    /// Warns of what a peer did, unless there were too many such warnings lately.
    pub(crate) fn warn_of_peer(&self, peer: SocketAddr, problem: &dyn Display) {
        if let Some(suppressed) = self.warnings.admit(self.env.clock().now()) {
            tracing::warn!(%peer, suppressed, "connection closed: {problem}");
        }
    }
}
