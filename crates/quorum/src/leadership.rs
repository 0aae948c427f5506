//! What a member knows of its quorum.

use crate::types::LogId;
use highwater_types::{BrokerId, Instant};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Who leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The latest term that this node knows of.
    pub term: u64,
    /// Its leader, if the node knows one. A leader that was cut off does not know of the next one: see
    /// [`Quorum::fence`](crate::Quorum::fence).
    pub leader: Option<BrokerId>,
}

/// A moment at which this node led, and had applied everything that was committed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The term that it led in.
    pub term: u64,
    /// The last entry that had been committed; all up to it are applied here.
    pub index: u64,
}

/// The state of a member, for people and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its term.
    pub term: u64,
    /// The leader that it knows.
    pub leader: Option<BrokerId>,
    /// The voters: one set, or two while they change, of each of which a majority is needed.
    pub voters: Vec<Vec<BrokerId>>,
    /// The nodes that are told of everything and do not vote.
    pub learners: Vec<BrokerId>,
    /// The index of its last entry.
    pub last_index: Option<u64>,
    /// The last entry that it knows to be committed.
    pub committed: Option<u64>,
    /// The last entry that it has applied.
    pub applied: Option<u64>,
    /// On the leader: up to where each member has the log.
    pub matched: BTreeMap<BrokerId, u64>,
    /// The last entry that its snapshot covers.
    pub snapshot: Option<u64>,
    /// Why it stopped, if it did.
    pub failure: Option<String>,
}

/// How far a member has come. Waiters are woken in the order in which they came.
#[derive(Default)]
pub(crate) struct Progress {
    known: Mutex<Known>,
    wake: Notify,
}

/// What [`Progress`] tells.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub leadership: Leadership,
    pub committed: Option<LogId>,
    pub applied: Option<LogId>,
    /// What the snapshot on disk covers.
    pub snapshot: Option<LogId>,
    /// A snapshot that was sent could not be taken over.
    pub snapshot_failed: bool,
    /// When a leader was last heard.
    pub heard: Option<Instant>,
    /// A voter that has more in its log refused its vote.
    pub behind: bool,
    /// Why the member stopped.
    pub stopped: Option<String>,
}

impl Progress {
    pub fn known(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn committed(&self, id: LogId) {
        let mut known = self.lock();
        known.committed = known.committed.max(Some(id));
    }

    pub fn applied(&self, id: LogId) {
        self.lock().applied = Some(id);
        self.wake.notify_waiters();
    }

    /// A snapshot is on disk.
    pub fn saved(&self, id: LogId) {
        {
            let mut known = self.lock();
            known.snapshot = known.snapshot.max(Some(id));
        }
        self.wake.notify_waiters();
    }

    /// A snapshot could not be taken over.
    pub fn snapshot_failed(&self) {
        self.lock().snapshot_failed = true;
        self.wake.notify_waiters();
    }

    /// A leader called.
    pub fn heard(&self, now: Instant) {
        self.lock().heard = Some(now);
    }

    /// A voter that has more in its log refused its vote.
    pub fn behind(&self) {
        self.lock().behind = true;
    }

    /// Whether [`Progress::behind`] was called since this was asked last.
    pub fn take_behind(&self) -> bool {
        std::mem::take(&mut self.lock().behind)
    }

    pub fn leads(&self, leadership: Leadership) {
        let changed = std::mem::replace(&mut self.lock().leadership, leadership) != leadership;
        if changed {
            self.wake.notify_waiters();
        }
    }

    /// The member stopped. The first reason stays.
    pub fn stopped(&self, why: String) {
        {
            let mut known = self.lock();
            known.leadership.leader = None;
            known.stopped.get_or_insert(why);
        }
        self.wake.notify_waiters();
    }

    /// Waits until `look` finds something.
    pub async fn wait<T>(&self, look: impl Fn(&Known) -> Option<T>) -> T {
        loop {
            let mut woken = pin!(self.wake.notified());
            woken.as_mut().enable();
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            woken.await;
        }
    }
}
