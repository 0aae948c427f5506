//! Group commit: one sync for all that was appended while the last one ran.
//!
//! The store owns syncing, not the single log: callers append and wait for "synced up to", so that the way to get
//! there (a sync per file, or one shared journal) can change behind them.

use crate::checkpoint::Mark;
use crate::core::{Core, FileOf, lock};
use crate::error::LogError;
use crate::join::for_each_bounded;
use crate::log::{Log, View};
use crate::options::Durability;
use highwater_env::{Disk, Env, Event, File, sleep};
use highwater_types::{LogId, Offset, mutant};
use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The logs that were appended to since the last round.
pub(crate) struct CommitQueue<E: Env> {
    dirty: Mutex<Vec<Log<E>>>,
    wake: Notify,
    /// With [`Durability::Replicated`]: what the next background flush syncs.
    unflushed: Mutex<BTreeMap<LogId, Log<E>>>,
    flush_wake: Notify,
}

/// What a sync of one log has to do.
struct SyncWork<F> {
    /// Files of sealed segments, then that of the active one.
    files: Vec<F>,
    sealed: usize,
    /// How many entries the directory gained.
    entries: u32,
    /// What is proven when all of it has succeeded.
    mark: Mark,
}

impl<E: Env> CommitQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            dirty: Mutex::new(Vec::new()),
            wake: Notify::new(),
            unflushed: Mutex::new(BTreeMap::new()),
            flush_wake: Notify::new(),
        }
    }

    /// Forgets all logs, which hold the store in turn.
    pub(crate) fn clear(&self) {
        lock(&self.dirty).clear();
        lock(&self.unflushed).clear();
    }
}

/// The store's commit task.
pub(crate) async fn run_commits<E: Env>(core: Arc<Core<E>>) {
    loop {
        core.queue.wake.notified().await;
        loop {
            let round = std::mem::take(&mut *lock(&core.queue.dirty));
            match &round[..] {
                [] => break,
                [log] => log.commit().await,
                _ => {
                    let limit = core.options.max_concurrent_syncs;
                    for_each_bounded(round, limit, |log| async move { log.commit().await }).await;
                }
            }
        }
    }
}

/// With [`Durability::Replicated`]: the task that syncs in the background.
pub(crate) async fn run_flushes<E: Env>(core: Arc<Core<E>>) {
    loop {
        core.queue.flush_wake.notified().await;
        sleep(core.env.clock(), core.options.flush_interval).await;
        let round = std::mem::take(&mut *lock(&core.queue.unflushed));
        let limit = core.options.max_concurrent_syncs;
        for_each_bounded(round.into_values(), limit, |log| async move { log.sync().await.ok() }).await;
    }
}

impl<E: Env> Log<E> {
    /// Waits until everything before `end` is as durable as the store was opened for.
    ///
    /// An offset beyond the log's end is waited for until it is there.
    pub async fn wait_synced(&self, end: Offset) -> Result<(), LogError> {
        loop {
            if self.reached(end)? {
                return Ok(());
            }
            let mut woken = pin!(self.0.synced_wake.notified());
            woken.as_mut().enable();
            if self.reached(end)? {
                return Ok(());
            }
            woken.await;
        }
    }

    fn reached(&self, end: Offset) -> Result<bool, LogError> {
        let durable = match self.0.core.options.durability {
            Durability::Sync => self.synced_end(),
            Durability::Replicated => self.end_offset(),
        };
        // What was synced stays so, whatever happened to the log later.
        if self.synced_end() >= end {
            return Ok(true);
        }
        self.ensure_open()?;
        Ok(durable >= end)
    }

    /// Makes everything that was appended so far durable, whatever the store was opened for.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.sync().await
    }

    /// Puts the log into the next commit round.
    pub(crate) fn commit_due(&self) {
        if !self.0.dirty.swap(true, Ordering::AcqRel) {
            let queue = &self.0.core.queue;
            lock(&queue.dirty).push(self.clone());
            queue.wake.notify_one();
        }
    }

    /// The log's part of a commit round.
    async fn commit(&self) {
        // Cleared first: an append from here on starts another round.
        self.0.dirty.store(false, Ordering::Release);
        match self.0.core.options.durability {
            Durability::Sync => {
                let _ = self.sync().await;
            }
            Durability::Replicated => {
                lock(&self.0.core.queue.unflushed).insert(self.0.id, self.clone());
                self.0.core.queue.flush_wake.notify_one();
                self.0.synced_wake.notify_waiters();
                self.tell_observer();
            }
        }
    }

    /// Syncs what has been appended so far, and publishes that. A failure poisons the log.
    pub(crate) async fn sync(&self) -> Result<(), LogError> {
        let _turn = self.0.sync_turn.lock().await;
        self.sync_in_turn().await
    }

    /// [`Log::sync`] for a caller that holds the turn.
    pub(crate) async fn sync_in_turn(&self) -> Result<(), LogError> {
        if self.is_poisoned() || self.is_deleted() {
            return Err(if self.is_deleted() { LogError::Closed } else { LogError::Poisoned });
        }
        let work = lock(&self.0.view).sync_work();
        if work.mark.proven <= self.synced_end() && work.sealed == 0 && work.entries == 0 {
            return Ok(());
        }
        if let Err(error) = self.sync_files(&work).await {
            self.poison("sync", &error);
            return Err(LogError::Poisoned);
        }
        // A write may have failed while the sync ran.
        if self.is_poisoned() {
            return Err(LogError::Poisoned);
        }
        {
            let mut view = lock(&self.0.view);
            view.unsynced.drain(..work.sealed);
            // Others may have come meanwhile.
            view.new_entries -= work.entries;
        }
        self.prove(work.mark);
        Ok(())
    }

    async fn sync_files(&self, work: &SyncWork<FileOf<E>>) -> io::Result<()> {
        if mutant!("flush-reorder")
            && let Some(newest) = work.files.last()
        {
            newest.sync_data().await?;
            self.prove(work.mark);
        }
        for file in &work.files {
            if mutant!("log-no-fsync") {
                continue;
            }
            match file.sync_data().await {
                Err(_) if mutant!("log-retry-fsync") => file.sync_data().await?,
                result => result?,
            }
        }
        if work.entries > 0 && !mutant!("log-dir-unsynced") {
            self.0.core.env.disk().sync_dir(&self.0.dir).await?;
        }
        Ok(())
    }

    /// Publishes that everything before the mark is on disk.
    fn prove(&self, mark: Mark) {
        {
            let mut known = lock(&self.0.mark);
            if mark.proven >= known.proven {
                *known = Mark { start: known.start, ..mark };
            }
        }
        if self.publish_synced(mark.proven) {
            self.0.core.env.observe(&Event::Synced { log: self.0.id, end: mark.proven });
            self.0.core.marks_moved();
            self.0.synced_wake.notify_waiters();
            self.tell_observer();
        }
    }

    fn tell_observer(&self) {
        if let Some(observer) = self.observer() {
            observer.advanced(self.0.id, self.end_offset(), self.synced_end());
        }
    }
}

impl<F: Clone> View<F> {
    fn sync_work(&self) -> SyncWork<F> {
        let sealed = self.unsynced.len();
        let mut files = Vec::with_capacity(sealed + 1);
        files.extend_from_slice(&self.unsynced);
        files.push(self.active.file.clone());
        let summary = self.active.index.summary();
        let mark =
            Mark { proven: summary.end, segment: summary.base, position: summary.size, start: Offset::ZERO };
        SyncWork { files, sealed, entries: self.new_entries, mark }
    }
}
