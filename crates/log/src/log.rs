//! The log of one partition.

use crate::append::Appender;
use crate::checkpoint::Mark;
use crate::config::LogConfig;
use crate::core::{Core, FileOf, lock};
use crate::epochs::Epochs;
use crate::error::LogError;
use crate::recovery::Recovered;
use crate::report::LogObserver;
use crate::segment::{Active, Sealed};
use highwater_env::{Env, Event};
use highwater_types::{LeaderEpoch, LogId, Offset};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The log of one partition: a cheap handle.
///
/// Appends of a log follow each other; reads go beside them and never wait for one. Offsets up to
/// [`Log::end_offset`] can be read, those up to [`Log::synced_end`] are on disk.
pub struct Log<E: Env>(pub(crate) Arc<LogInner<E>>);

pub(crate) struct LogInner<E: Env> {
    pub core: Arc<Core<E>>,
    pub id: LogId,
    pub dir: PathBuf,
    start: AtomicI64,
    end: AtomicI64,
    synced: AtomicI64,
    state: AtomicU8,
    /// Its files are being cut, or were left so by a cut that failed: what they lack is no damage.
    pub half_way: AtomicBool,
    /// In the commit queue.
    pub dirty: AtomicBool,
    observer: Mutex<Option<Arc<dyn LogObserver>>>,
    pub config: Mutex<Arc<LogConfig>>,
    /// The right to change the log's end.
    pub appender: tokio::sync::Mutex<Appender<FileOf<E>>>,
    /// The right to sync: two syncs at once could publish out of order.
    pub sync_turn: tokio::sync::Mutex<()>,
    /// The right to look into damage: one reader at a time reads a segment through.
    pub examine_turn: tokio::sync::Mutex<()>,
    /// The right to write producer snapshots, which share a temporary file, and indexes of closed segments, and to
    /// remove closed segments.
    pub files_turn: tokio::sync::Mutex<()>,
    /// What readers see. Never held across a suspension.
    pub view: Mutex<View<FileOf<E>>>,
    /// What the next proven marks say of this log.
    pub mark: Mutex<Mark>,
    /// The proven offset that any marks on disk say at least, those before the latest included.
    pub marked: AtomicI64,
    /// Up to here the log is compacted.
    pub cleaned: AtomicI64,
    pub synced_wake: Notify,
}

/// What readers of a log see.
pub(crate) struct View<F> {
    pub sealed: Vec<Arc<Sealed>>,
    pub active: Active<F>,
    pub epochs: Epochs,
    /// Offsets that do not check out, in order. Never served.
    pub damaged: Vec<Range<Offset>>,
    /// Counts truncations: what was read across one proves nothing.
    pub generation: u64,
    /// Sealed segments that were not synced yet.
    pub unsynced: Vec<F>,
    /// How many entries the directory gained that were not synced yet.
    pub new_entries: u32,
    /// The offsets of the producer snapshots on disk, in order.
    pub snapshots: Vec<Offset>,
}

impl<F> View<F> {
    /// Begins a truncation: readers must not take for damage what becomes of the segments that go.
    pub(crate) fn forget_sealed(&mut self, goes: impl Fn(&Sealed) -> bool) {
        self.generation += 1;
        self.sealed.iter().filter(|sealed| goes(sealed)).for_each(|sealed| sealed.mark_removed());
    }
}

const OPEN: u8 = 0;
const POISONED: u8 = 1;
const DELETED: u8 = 2;

impl<E: Env> Log<E> {
    pub(crate) fn new(
        core: &Arc<Core<E>>,
        id: LogId,
        config: LogConfig,
        recovered: Recovered<FileOf<E>>,
    ) -> Self {
        let Recovered { view, producers, start, mark, cleaned, .. } = recovered;
        let config = Arc::new(config);
        let end = view.active.index.summary().end;
        Self(Arc::new(LogInner {
            core: Arc::clone(core),
            id,
            dir: core.log_dir(id),
            start: AtomicI64::new(start.0),
            end: AtomicI64::new(end.0),
            synced: AtomicI64::new(end.0),
            state: AtomicU8::new(OPEN),
            half_way: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            observer: Mutex::new(None),
            config: Mutex::new(Arc::clone(&config)),
            appender: tokio::sync::Mutex::new(Appender::new(&view.active, producers, config)),
            sync_turn: tokio::sync::Mutex::new(()),
            examine_turn: tokio::sync::Mutex::new(()),
            files_turn: tokio::sync::Mutex::new(()),
            view: Mutex::new(view),
            mark: Mutex::new(mark),
            marked: AtomicI64::new(0),
            cleaned: AtomicI64::new(cleaned.0),
            synced_wake: Notify::new(),
        }))
    }

    /// Which log this is.
    pub fn id(&self) -> LogId {
        self.0.id
    }

    /// The first offset that can be read.
    pub fn start_offset(&self) -> Offset {
        Offset(self.0.start.load(Ordering::Acquire))
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> Offset {
        Offset(self.0.end.load(Ordering::Acquire))
    }

    /// Everything before this offset is on disk.
    pub fn synced_end(&self) -> Offset {
        Offset(self.0.synced.load(Ordering::Acquire))
    }

    /// The bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        let view = lock(&self.0.view);
        let sealed: u64 = view.sealed.iter().map(|segment| u64::from(segment.summary.size)).sum();
        sealed + u64::from(view.active.index.summary().size)
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        lock(&self.0.view).sealed.len() + 1
    }

    /// Offsets that are known to be damaged. They are never served.
    pub fn damaged(&self) -> Vec<Range<Offset>> {
        lock(&self.0.view).damaged.clone()
    }

    /// Whether the log failed: see [`LogError::Poisoned`].
    pub fn is_poisoned(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == POISONED
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == DELETED
    }

    /// The configuration.
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&lock(&self.0.config))
    }

    /// Changes the configuration, from the next append on.
    pub async fn set_config(&self, config: LogConfig) {
        let config = Arc::new(config);
        self.0.appender.lock().await.set_config(Arc::clone(&config));
        *lock(&self.0.config) = config;
    }

    /// Names who is told of the log's progress; replaces the one before.
    pub fn set_observer(&self, observer: Arc<dyn LogObserver>) {
        *lock(&self.0.observer) = Some(observer);
    }

    /// The latest leader epoch; None before the first.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        lock(&self.0.view).epochs.latest()
    }

    /// The leader epoch of the record at `offset`; None if the log has none there.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        lock(&self.0.view).epochs.at(offset)
    }

    /// The largest epoch that is not above `epoch`, and the offset where it ended; (-1, -1) if the log knows none
    /// (KIP-101, KIP-279).
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        lock(&self.0.view).epochs.end_offset(epoch, self.end_offset())
    }

    /// Fails if the log takes nothing more.
    pub(crate) fn ensure_open(&self) -> Result<(), LogError> {
        match self.0.state.load(Ordering::Acquire) {
            POISONED => Err(LogError::Poisoned),
            DELETED => Err(LogError::Closed),
            _ if self.0.core.is_closed() => Err(LogError::Closed),
            _ => Ok(()),
        }
    }

    /// Takes the log out of use after a failed write or sync. What was synced before can still be read.
    pub(crate) fn poison(&self, what: &'static str, error: &io::Error) {
        let won = self.0.state.compare_exchange(OPEN, POISONED, Ordering::AcqRel, Ordering::Acquire);
        if won.is_ok() {
            tracing::error!(log = %self.0.id, %error, "cannot {what}: nothing more is acknowledged from this log");
            self.0.core.env.observe(&Event::Poisoned { log: self.0.id });
            self.0.synced_wake.notify_waiters();
            if let Some(observer) = self.observer() {
                observer.failed(self.0.id);
            }
        }
    }

    /// Takes the log out of use because it is deleted.
    pub(crate) fn mark_deleted(&self) {
        self.0.state.store(DELETED, Ordering::Release);
        self.0.synced_wake.notify_waiters();
    }

    pub(crate) fn observer(&self) -> Option<Arc<dyn LogObserver>> {
        lock(&self.0.observer).clone()
    }

    pub(crate) fn publish_end(&self, end: Offset) {
        self.0.end.store(end.0, Ordering::Release);
    }

    pub(crate) fn publish_start(&self, start: Offset) {
        if self.0.start.fetch_max(start.0, Ordering::AcqRel) < start.0 {
            self.0.core.env.observe(&Event::LogStart { log: self.0.id, start });
        }
    }

    pub(crate) fn publish_synced(&self, synced: Offset) -> bool {
        self.0.synced.fetch_max(synced.0, Ordering::AcqRel) < synced.0
    }

    /// Moves the log's start back, for a truncation.
    pub(crate) fn lower_start(&self, start: Offset) {
        self.0.start.fetch_min(start.0, Ordering::AcqRel);
    }

    /// The log has nothing, from `start` on.
    pub(crate) fn publish_restart(&self, start: Offset) {
        for offset in [&self.0.start, &self.0.end, &self.0.synced] {
            offset.store(start.0, Ordering::Release);
        }
    }

    /// Moves the synced end back, for a truncation.
    pub(crate) fn lower_synced(&self, synced: Offset) {
        self.0.synced.fetch_min(synced.0, Ordering::AcqRel);
    }
}

impl<E: Env> Clone for Log<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Env> fmt::Debug for Log<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({} {}..{})", self.0.id, self.start_offset(), self.end_offset())
    }
}
