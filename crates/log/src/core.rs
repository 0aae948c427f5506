//! What the logs of a store share.

use crate::checkpoint::{Mark, Marks};
use crate::commit::CommitQueue;
use crate::files::LOGS;
use crate::index::Index;
use crate::log::Log;
use crate::lru::Lru;
use crate::options::StoreOptions;
use highwater_env::{Disk, Env};
use highwater_types::{Instant, LogId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

pub(crate) type FileOf<E> = <<E as Env>::Disk as Disk>::File;
type LockOf<E> = <<E as Env>::Disk as Disk>::Lock;

/// What the logs of a store share.
pub(crate) struct Core<E: Env> {
    pub env: E,
    pub options: StoreOptions,
    pub clock: TrustedClock,
    pub logs: Mutex<BTreeMap<LogId, Log<E>>>,
    /// Logs that could not be opened, with their marks, which stay as they are.
    pub failed: Mutex<BTreeMap<LogId, Option<Mark>>>,
    /// Logs that are being made.
    pub being_made: Mutex<BTreeSet<LogId>>,
    pub queue: CommitQueue<E>,
    /// Files of sealed segments, by the segment's key.
    pub files: Mutex<Lru<FileOf<E>>>,
    /// Indexes of sealed segments, by the segment's key.
    pub indexes: Mutex<Lru<Arc<Index>>>,
    /// Counts the bytes that all logs appended or read from their files: how far the page cache has moved on.
    pub cached_bytes: AtomicU64,
    /// The last written marks; locked while new ones are written.
    pub marks: tokio::sync::Mutex<Marks>,
    /// Something moved that the marks should say.
    pub marks_due: AtomicBool,
    pub marks_wake: Notify,
    pub closed: AtomicBool,
    /// Held as long as anybody may write.
    pub lock: Mutex<Option<LockOf<E>>>,
    next_key: AtomicU64,
}

impl<E: Env> Core<E> {
    pub(crate) fn new(env: E, options: StoreOptions, lock: LockOf<E>) -> Self {
        let clock = TrustedClock::start(&env);
        Self {
            clock,
            logs: Mutex::new(BTreeMap::new()),
            failed: Mutex::new(BTreeMap::new()),
            being_made: Mutex::new(BTreeSet::new()),
            queue: CommitQueue::new(),
            files: Mutex::new(Lru::new(options.max_open_files)),
            indexes: Mutex::new(Lru::new(options.index_cache_bytes)),
            cached_bytes: AtomicU64::new(0),
            marks: tokio::sync::Mutex::new(Marks::default()),
            marks_due: AtomicBool::new(false),
            marks_wake: Notify::new(),
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
            next_key: AtomicU64::new(0),
            env,
            options,
        }
    }

    pub(crate) fn log_dir(&self, id: LogId) -> PathBuf {
        self.logs_dir().join(id.to_string())
    }

    pub(crate) fn logs_dir(&self) -> PathBuf {
        self.options.dir.join(LOGS)
    }

    /// A number that was never given before.
    pub(crate) fn next_key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Has the marks written before long.
    pub(crate) fn marks_moved(&self) {
        if !self.marks_due.swap(true, Ordering::AcqRel) {
            self.marks_wake.notify_one();
        }
    }

    pub(crate) fn all_logs(&self) -> Vec<Log<E>> {
        lock(&self.logs).values().cloned().collect()
    }
}

/// A wall clock that does not follow jumps forward: what it says is at most the wall time at the store's opening plus
/// the time that has passed since.
///
/// Retention compares it with the timestamps of records, so that a wall clock that jumps ahead removes nothing. A
/// clock that was ahead already when the store was opened cannot be told from one that is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrustedClock {
    wall: Timestamp,
    instant: Instant,
}

impl TrustedClock {
    fn start<E: Env>(env: &E) -> Self {
        Self { wall: env.clock().wall(), instant: env.clock().now() }
    }

    pub(crate) fn now<E: Env>(&self, env: &E) -> Timestamp {
        let passed = env.clock().now().since(self.instant);
        let passed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.wall.0.saturating_add(passed)).min(env.clock().wall())
    }
}

/// The time that lies `by` before `now`.
pub(crate) fn before(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// Locks a mutex that guards state which is whole between any two statements, so that a panic elsewhere while it was
/// held does not matter.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
