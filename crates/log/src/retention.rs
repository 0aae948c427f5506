//! Removing old segments: by age, by size, and by deletion of records.
//!
//! The order: the new log start is made durable, then readers see it, then files are renamed, and removed after a
//! delay. A crash in between leaves files below the log's start, which the next opening removes.

use crate::core::{Core, before, lock};
use crate::error::LogError;
use crate::files::{DELETED, index_name, segment_name};
use crate::log::Log;
use crate::report::CleanUp;
use crate::segment::Sealed;
use highwater_env::{Disk, Env, sleep};
use highwater_types::{LogId, Offset, Timestamp, mutant};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

impl<E: Env> Core<E> {
    /// One pass over all logs. `bound` gives the high watermark of a log, beyond which nothing is removed; None takes
    /// its synced end.
    pub(crate) async fn clean_up(&self, bound: impl Fn(LogId) -> Option<Offset> + Send) -> CleanUp {
        let mut done = CleanUp::default();
        let now = self.clock.now(&self.env);
        let mut moved = Vec::new();
        for log in self.all_logs() {
            let bound = bound(log.id());
            match log.plan_retention(now, bound).await {
                Ok(true) => moved.push(log),
                Ok(false) => {}
                Err(error) => {
                    done.failures += 1;
                    tracing::warn!(log = %log.id(), %error, "retention failed");
                }
            }
        }
        if moved.is_empty() {
            return done;
        }
        if let Err(error) = self.write_marks().await {
            tracing::warn!(%error, "retention removes nothing: the new log starts cannot be made durable");
            done.failures += moved.len();
            return done;
        }
        for log in moved {
            match log.remove_old_segments().await {
                Ok(removed) => {
                    done.segments += removed.len();
                    done.bytes += removed.iter().map(|segment| u64::from(segment.summary.size)).sum::<u64>();
                }
                Err(error) => {
                    done.failures += 1;
                    tracing::warn!(log = %log.id(), %error, "cannot remove old segments");
                }
            }
        }
        done
    }
}

impl<E: Env> Log<E> {
    /// Removes the records before an offset: they are not served any more, and segments that hold nothing else go.
    /// Returns the log's new start, which is durable.
    pub async fn delete_records(&self, up_to: Offset) -> Result<Offset, LogError> {
        self.ensure_open()?;
        let generation = lock(&self.0.view).generation;
        let (start, end) = (self.start_offset(), self.end_offset());
        if up_to > end || up_to.0 < 0 {
            return Err(LogError::OutOfRange { start, end });
        }
        if up_to <= start {
            return Ok(start);
        }
        if self.synced_end() < up_to {
            self.sync().await?;
        }
        self.keep_producers(up_to).await?;
        if up_to == end {
            self.roll_whole(end).await?;
        }
        if !self.raise_start(up_to, generation) {
            let (start, end) = (self.start_offset(), self.end_offset());
            return Err(LogError::OutOfRange { start, end });
        }
        self.0.core.write_marks().await?;
        self.remove_old_segments().await?;
        Ok(self.start_offset())
    }

    /// Notes a later start for the next marks; false if the log was truncated since `generation`, and may not reach
    /// as far any more.
    fn raise_start(&self, start: Offset, generation: u64) -> bool {
        let view = lock(&self.0.view);
        let mut mark = lock(&self.0.mark);
        if view.generation != generation {
            return false;
        }
        mark.start = mark.start.max(start);
        true
    }

    /// Decides how far retention may move the log's start. Returns whether the marks have to be written.
    async fn plan_retention(&self, now: Timestamp, bound: Option<Offset>) -> Result<bool, LogError> {
        self.ensure_open()?;
        let now = if mutant!("retention-clock") { self.0.core.env.clock().wall() } else { now };
        self.expire_producers(now).await;
        let config = self.config();
        let generation = lock(&self.0.view).generation;
        let bound = if mutant!("retention-past-hw") {
            self.end_offset()
        } else {
            bound.unwrap_or_else(|| self.synced_end()).min(self.synced_end())
        };
        let horizon = config
            .retention_ms
            .filter(|_| config.cleanup.delete)
            .map(|age| before(now, Duration::from_millis(age)));
        self.roll_expired(now, horizon, bound).await?;
        let keep_bytes = config.retention_bytes.filter(|_| config.cleanup.delete);
        let start = self.retained_from(horizon, keep_bytes, bound);
        let known = lock(&self.0.mark).start;
        if start > known {
            self.keep_producers(start).await?;
            return Ok(self.raise_start(start, generation));
        }
        // Left over from a pass that failed, or from a deletion of records.
        Ok(known > self.start_offset() || !self.below(self.start_offset()).is_empty())
    }

    /// The first offset that retention keeps.
    fn retained_from(&self, horizon: Option<Timestamp>, keep_bytes: Option<u64>, bound: Offset) -> Offset {
        let mut left = self.size_bytes();
        let mut start = self.start_offset();
        for segment in &lock(&self.0.view).sealed {
            let summary = &segment.summary;
            let size = u64::from(summary.size);
            let old = horizon.is_some_and(|horizon| summary.max_timestamp < horizon);
            let surplus = keep_bytes.is_some_and(|keep| left.saturating_sub(size) >= keep);
            if summary.end > bound || !(old || surplus || summary.end <= start) {
                break;
            }
            left -= size;
            start = start.max(summary.end);
        }
        start
    }

    /// Closes the active segment if it is old, or holds nothing but expired records.
    async fn roll_expired(
        &self,
        now: Timestamp,
        horizon: Option<Timestamp>,
        bound: Offset,
    ) -> Result<(), LogError> {
        let expired = {
            let view = lock(&self.0.view);
            let summary = view.active.index.summary();
            summary.end > summary.base
                && summary.end <= bound
                && horizon.is_some_and(|horizon| summary.max_timestamp < horizon)
        };
        if expired {
            self.roll_whole(bound).await?;
        } else {
            self.roll_if_due(now).await?;
        }
        Ok(())
    }

    /// Closes the active segment if all of it lies below `bound`.
    async fn roll_whole(&self, bound: Offset) -> Result<(), LogError> {
        let mut guard = self.0.appender.lock().await;
        self.ensure_open()?;
        self.mend(&mut guard).await?;
        if self.end_offset() <= bound {
            let now = self.0.core.env.clock().wall();
            self.roll(&mut guard, now).await?;
        }
        drop(guard);
        // The new segment's directory entry must be on disk before the old segment goes.
        self.sync().await
    }

    /// Makes sure that what is known of producers survives the removal of the batches before `start`: the mark that
    /// says the new start must cover a snapshot that was made at it or later.
    async fn keep_producers(&self, start: Offset) -> Result<(), LogError> {
        let proven = lock(&self.0.mark).proven;
        if lock(&self.0.view).snapshots.iter().any(|&offset| offset >= start && offset <= proven) {
            return Ok(());
        }
        let (end, snapshot) = {
            let appender = self.0.appender.lock().await;
            let end = self.end_offset();
            (end, self.snapshot(&appender.producers, end))
        };
        self.store_snapshot(snapshot).await?;
        if proven < end && !mutant!("retention-past-hw") {
            self.sync().await?;
        }
        Ok(())
    }

    async fn expire_producers(&self, now: Timestamp) {
        let horizon = before(now, self.0.core.options.producer_expiration);
        self.0.appender.lock().await.producers.expire(horizon);
    }

    /// The sealed segments that end at or before `start`.
    fn below(&self, start: Offset) -> Vec<Arc<Sealed>> {
        let view = lock(&self.0.view);
        view.sealed.iter().take_while(|segment| segment.summary.end <= start).cloned().collect()
    }

    /// Publishes the log's start, which is durable, and removes the segments before it.
    async fn remove_old_segments(&self) -> io::Result<Vec<Arc<Sealed>>> {
        // A restart may be under way, after which neither those marks nor those segments are the log's.
        let _files = self.0.files_turn.lock().await;
        // What the marks on disk say, not what is known here: it may have moved on since they were written.
        let durable = self.0.core.marks.lock().await.logs.get(&self.0.id).map(|mark| mark.start);
        let start = if mutant!("retention-past-hw") { Some(lock(&self.0.mark).start) } else { durable };
        self.publish_start(start.unwrap_or_default());
        let start = self.start_offset();
        let old = {
            let mut view = lock(&self.0.view);
            let count = view.sealed.iter().take_while(|segment| segment.summary.end <= start).count();
            let old: Vec<_> = view.sealed.drain(..count).collect();
            view.damaged.retain(|range| range.end > start);
            view.epochs.advance_start(start);
            old
        };
        if old.is_empty() {
            return Ok(old);
        }
        let disk = self.0.core.env.disk();
        let mut doomed = Vec::new();
        for segment in &old {
            let name = segment_name(segment.summary.base);
            let renamed = self.0.dir.join(format!("{name}{DELETED}"));
            segment.mark_removed();
            disk.rename(&self.0.dir.join(&name), &renamed).await?;
            match disk.remove_file(&self.0.dir.join(index_name(segment.summary.base))).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            lock(&self.0.core.indexes).remove(segment.key);
            doomed.push((segment.key, renamed));
        }
        let delay = Duration::from_millis(self.config().file_delete_delay_ms);
        let core = Arc::clone(&self.0.core);
        let task = core.env.spawn("log-delete", remove_later(Arc::clone(&core), doomed, delay));
        task.detach();
        Ok(old)
    }
}

/// Removes renamed segment files when readers had time to finish. What is left is removed at the next opening.
async fn remove_later<E: Env>(core: Arc<Core<E>>, doomed: Vec<(u64, PathBuf)>, delay: Duration) {
    sleep(core.env.clock(), delay).await;
    for (key, path) in doomed {
        lock(&core.files).remove(key);
        if let Err(error) = core.env.disk().remove_file(&path).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove an old segment");
        }
    }
}
