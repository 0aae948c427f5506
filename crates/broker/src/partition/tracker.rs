//! What a partition's log tells of its progress.

use super::role::{Replica, Role};
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::replication::Replication;
use highwater_env::Env;
use highwater_log::LogObserver;
use highwater_replication::{Ends, Moved};
use highwater_types::{LogId, Offset};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the log tells of its progress. The log holds this and not the partition, which holds the log.
pub(super) struct Tracker<E: Env> {
    pub(super) progress: Arc<Progress<E>>,
    pub(super) metrics: Arc<Metrics>,
    env: E,
    replication: Arc<Replication<E>>,
    /// What this node is to the partition. Never held across a suspension.
    replica: Mutex<Replica>,
}

impl<E: Env> Tracker<E> {
    pub(super) fn new(
        env: E,
        progress: Arc<Progress<E>>,
        metrics: Arc<Metrics>,
        replication: Arc<Replication<E>>,
    ) -> Self {
        Self { progress, metrics, env, replication, replica: Mutex::default() }
    }

    pub(super) fn replica(&self) -> MutexGuard<'_, Replica> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes known what a leader's move led to. Called under the replica's lock, so that moves are told in order.
    pub(super) fn tell(&self, log: LogId, moved: Moved) {
        if let Some(high_watermark) = moved.high_watermark {
            self.progress.advance(high_watermark);
        }
        if moved.proposal {
            self.replication.proposals().ask(log);
        }
    }

    /// The log has grown, or more of it is on disk.
    pub(super) fn advanced(&self, replica: &mut Replica, log: LogId, own: Ends) {
        match &mut replica.role {
            Role::Leader(leader) => {
                let moved = leader.advanced(own, self.env.clock().now());
                self.tell(log, moved);
            }
            Role::Follower { source, synced, .. } if replica.rules.sync && own.synced > *synced => {
                *synced = own.synced;
                source.report(log);
            }
            _ => {}
        }
    }
}

impl<E: Env> LogObserver for Tracker<E> {
    fn advanced(&self, log: LogId, end: Offset, synced: Offset) {
        self.advanced(&mut self.replica(), log, Ends { end, synced });
    }

    fn failed(&self, log: LogId) {
        tracing::error!(%log, "the log failed and takes nothing more until the node is restarted");
        self.metrics.logs_failed.one();
        self.progress.fail();
    }

    fn damaged(&self, log: LogId) {
        self.metrics.damage_found.one();
        self.replication.damage().report(log);
    }
}
