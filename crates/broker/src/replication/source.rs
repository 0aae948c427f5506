//! A broker that partitions are followed at.

use crate::partition::{Followed, Partition};
use highwater_env::Env;
use highwater_types::{BrokerId, Instant, LogId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// The first pause of a partition whose fetch failed; it doubles with every failure.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// After how many failures nothing else is given up for a partition.
const FEW: u32 = 3;

/// A broker that partitions are followed at.
pub(crate) struct Source<E: Env> {
    broker: BrokerId,
    partitions: Mutex<BTreeMap<LogId, Place<E>>>,
    /// There is something new to fetch.
    changed: Notify,
    reports: Arc<Reports>,
}

struct Place<E: Env> {
    partition: Weak<Partition<E>>,
    failures: u32,
    paused_until: Instant,
}

/// A partition that may be fetched now.
pub(super) struct Ready<E: Env> {
    pub(super) partition: Arc<Partition<E>>,
    pub(super) followed: Followed,
}

/// The logs of which more is on disk than was said.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    logs: Mutex<BTreeSet<LogId>>,
    wake: Notify,
}

impl Reports {
    /// More of a log is on disk.
    pub(crate) fn report(&self, log: LogId) {
        self.lock().insert(log);
        self.wake.notify_one();
    }

    /// Waits until there is something to say, and takes it.
    pub(super) async fn next(&self) -> BTreeSet<LogId> {
        loop {
            let logs = std::mem::take(&mut *self.lock());
            if !logs.is_empty() {
                return logs;
            }
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<LogId>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Env> Source<E> {
    pub(super) fn new(broker: BrokerId) -> Self {
        Self { broker, partitions: Mutex::default(), changed: Notify::new(), reports: Arc::default() }
    }

    pub(super) fn broker(&self) -> BrokerId {
        self.broker
    }

    pub(super) fn reports(&self) -> &Arc<Reports> {
        &self.reports
    }

    pub(super) fn add(&self, partition: &Arc<Partition<E>>) {
        let place =
            Place { partition: Arc::downgrade(partition), failures: 0, paused_until: Instant::default() };
        self.lock().insert(partition.id(), place);
        self.changed.notify_one();
    }

    pub(super) fn remove(&self, log: LogId) {
        self.lock().remove(&log);
        self.changed.notify_one();
    }

    /// Has whoever waits here look again.
    pub(super) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Ends when partitions were added or removed since, or something became of the broker.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A partition that is followed here.
    pub(super) fn partition(&self, log: LogId) -> Option<Arc<Partition<E>>> {
        self.lock().get(&log)?.partition.upgrade()
    }

    /// What may be fetched now, and when to look again for what may not.
    pub(super) fn ready(&self, now: Instant) -> (Vec<Ready<E>>, Option<Instant>) {
        let mut next: Option<Instant> = None;
        let partitions: Vec<Arc<Partition<E>>> = self
            .lock()
            .values()
            .filter(|place| {
                if place.paused_until > now {
                    next = Some(next.map_or(place.paused_until, |next| next.min(place.paused_until)));
                }
                place.paused_until <= now
            })
            .filter_map(|place| place.partition.upgrade())
            .collect();
        // Looked at without the lock: a partition that changes its role adds and removes itself under its own.
        let ready = partitions
            .into_iter()
            .filter_map(|partition| Some(Ready { followed: partition.followed(self.broker)?, partition }))
            .collect();
        (ready, next)
    }

    /// Whether something was not asked for that may be fetched now, and when to look again for what may not yet. What
    /// has failed again and again is not counted. What was asked for is in the order of the logs.
    pub(super) fn has_more(&self, asked: &[Ready<E>], now: Instant) -> (bool, Option<Instant>) {
        let mut next: Option<Instant> = None;
        let mut free: Vec<Arc<Partition<E>>> = Vec::new();
        let partitions = self.lock();
        let mut asked = asked.iter().map(|ready| ready.partition.id()).peekable();
        let mut was_asked = |log: &LogId| {
            while asked.next_if(|id| id < log).is_some() {}
            asked.next_if(|id| id == log).is_some()
        };
        for (_, place) in partitions.iter().filter(|(log, place)| !was_asked(log) && place.failures <= FEW) {
            if place.paused_until <= now {
                free.extend(place.partition.upgrade());
            } else {
                next = Some(next.map_or(place.paused_until, |next| next.min(place.paused_until)));
            }
        }
        drop(partitions);
        (free.iter().any(|partition| partition.followed(self.broker).is_some()), next)
    }

    /// A partition's fetch succeeded.
    pub(super) fn succeeded(&self, log: LogId) {
        if let Some(place) = self.lock().get_mut(&log) {
            place.failures = 0;
        }
    }

    /// A partition's fetch failed: it is left alone for a while, at most for `limit`.
    pub(super) fn failed(&self, log: LogId, now: Instant, limit: Duration) {
        if let Some(place) = self.lock().get_mut(&log) {
            let pause = FIRST_PAUSE.saturating_mul(1 << place.failures.min(16)).min(limit);
            (place.failures, place.paused_until) = (place.failures.saturating_add(1), now.after(pause));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LogId, Place<E>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
