//! Moving a log's end back.

use crate::append::Appender;
use crate::checkpoint::Mark;
use crate::core::{FileOf, lock};
use crate::error::LogError;
use crate::files::{SEGMENT_HEADER_BYTES, index_name, producers_name, segment_name};
use crate::index::Summary;
use crate::log::Log;
use crate::recovery::{Listing, rebuild_producers};
use crate::restart::begin_segment;
use crate::scan::scan_segment;
use crate::segment::Active;
use crate::window::Window;
use highwater_env::{Disk, Env, Event, File, OpenMode};
use highwater_types::{LeaderEpoch, Offset, mutant};
use std::io;
use std::sync::atomic::Ordering;

impl<E: Env> Log<E> {
    /// Moves the log's end back to `to`, or to the start of the batch that holds it; returns the new end. Durable
    /// when it returns. If the log ends there or before, only epochs that began at its end without a batch go: another
    /// leader's history may have records of an earlier epoch there.
    ///
    /// For followers whose leader has another history.
    pub async fn truncate(&self, to: Offset) -> Result<Offset, LogError> {
        let mut appender = self.0.appender.lock().await;
        self.ensure_open()?;
        let (start, end) = (self.start_offset(), self.end_offset());
        if to >= end {
            self.drop_empty_epochs(&mut appender, end).await?;
            return Ok(end);
        }
        if to < start {
            return Err(LogError::OutOfRange { start, end });
        }
        let _turn = self.0.sync_turn.lock().await;
        let _files = self.0.files_turn.lock().await;
        self.0.core.env.observe(&Event::Truncating { log: self.0.id, end: to });
        self.lower_mark(to).await?;
        self.lower_cleaned(to).await?;
        let half_way = HalfWay::begin(self, "truncate");
        let result = self.cut(&mut appender, to).await;
        half_way.end(&result);
        result.map_err(|error| {
            self.poison("truncate", &error);
            LogError::Poisoned
        })
    }

    /// Forgets the epochs that began at the log's end and have no batch.
    async fn drop_empty_epochs(
        &self,
        appender: &mut Appender<FileOf<E>>,
        end: Offset,
    ) -> Result<(), LogError> {
        let mut epochs = lock(&self.0.view).epochs.clone();
        if epochs.truncate(end) {
            self.store_epochs(appender, epochs).await?;
        }
        Ok(())
    }

    /// Takes back, durably, that anything in the segment of `to` was proven: what is cut must not look like damage. A
    /// start that retention chose and that is not in force yet is void, too: it counted on what is cut.
    async fn lower_mark(&self, to: Offset) -> Result<(), LogError> {
        {
            let mut view = lock(&self.0.view);
            view.generation += 1;
            let sealed = view.sealed.iter().rev().map(|segment| segment.summary.base);
            let mut bases = [view.active.index.summary().base].into_iter().chain(sealed);
            let segment = bases.find(|&base| base <= to).unwrap_or_default();
            let mut mark = lock(&self.0.mark);
            mark.start = self.start_offset();
            let proven = segment.max(mark.start);
            if mark.proven > proven {
                *mark = Mark { proven, segment, position: SEGMENT_HEADER_BYTES, start: mark.start };
            }
        }
        // Written in any case: what is on disk may be older than what is known here, and say more.
        Ok(self.0.core.write_marks().await?)
    }

    async fn cut(&self, appender: &mut Appender<FileOf<E>>, to: Offset) -> io::Result<Offset> {
        let core = &self.0.core;
        let disk = core.env.disk();
        // Readers must not take what is cut for damage.
        let (kept, base) = {
            let mut view = lock(&self.0.view);
            let kept: Vec<Summary> = view
                .sealed
                .iter()
                .map(|segment| segment.summary)
                .chain([*view.active.index.summary()])
                .filter(|summary| summary.base <= to)
                .collect();
            let base = kept.last().map_or(to, |summary| summary.base);
            view.forget_sealed(|segment| segment.summary.base > base);
            (kept, base)
        };
        let listing = Listing::read(disk, &self.0.dir).await?;
        for &later in listing.segments.iter().rev().filter(|&&later| later > base) {
            disk.remove_file(&self.0.dir.join(segment_name(later))).await?;
            remove_if_there(disk, &self.0.dir.join(index_name(later))).await?;
        }
        remove_if_there(disk, &self.0.dir.join(index_name(base))).await?;
        for &later in listing.snapshots.iter().filter(|&&later| later > to) {
            remove_if_there(disk, &self.0.dir.join(producers_name(later))).await?;
        }
        let (active, last_batch) = match kept.last() {
            Some(last) => self.reopen(last, to, appender).await?,
            // The segments that held what is kept are lost.
            None => (begin_segment(core, self.0.id, &self.0.dir, to).await?, None),
        };
        let end = active.index.summary().end;
        disk.sync_dir(&self.0.dir).await?;
        let epochs = {
            let mut view = lock(&self.0.view);
            view.sealed.retain(|segment| segment.summary.base < base);
            view.snapshots.retain(|&offset| offset <= end);
            view.damaged.retain(|range| range.start < end);
            if let Some(last) = view.damaged.last_mut() {
                last.end = last.end.min(end);
            }
            view.unsynced.clear();
            view.new_entries = 0;
            view.epochs.truncate(end);
            if let Some((epoch, base)) = last_batch {
                // Of deleted records, whose epoch may be forgotten: what comes behind them must not fall below it.
                view.epochs.begin(epoch, base);
            }
            view.active = active.clone();
            self.publish_end(end);
            self.lower_synced(end);
            // Deleted records may have shared a batch with one that is cut.
            self.lower_start(end);
            view.epochs.clone()
        };
        self.store_epochs(appender, epochs).await?;
        appender.follow(&active);
        (appender.roll_begun, appender.tail_uncertain) = (false, false);
        appender.producers = rebuild_producers(core, &self.0.dir, &kept, end).await?;
        {
            let summary = active.index.summary();
            let mut mark = lock(&self.0.mark);
            *mark = Mark {
                proven: end,
                segment: summary.base,
                position: summary.size,
                start: mark.start.min(end),
            };
        }
        core.marks_moved();
        core.env.observe(&Event::Truncated { log: self.0.id, end });
        Ok(end)
    }

    /// Opens the segment that becomes the active one, and cuts it, durably. Also returns the epoch and the offset of
    /// its last batch.
    async fn reopen(
        &self,
        last: &Summary,
        to: Offset,
        appender: &Appender<FileOf<E>>,
    ) -> io::Result<(Active<FileOf<E>>, Option<(LeaderEpoch, Offset)>)> {
        let core = &self.0.core;
        // Syncs of the segments before this one may be outstanding.
        let unsynced = lock(&self.0.view).unsynced.clone();
        for file in unsynced {
            file.sync_data().await?;
        }
        let file = if last.base == appender.base {
            appender.file.clone()
        } else {
            core.env.disk().open(&self.0.dir.join(segment_name(last.base)), OpenMode::Write).await?
        };
        let interval = appender.config.index_interval_bytes;
        let epochs = lock(&self.0.view).epochs.within(last.base, last.end);
        let mut cut = to;
        // A batch that holds `to` goes as a whole.
        scan_segment(&file, last.base, last.end, last.size, interval, &epochs, |header, _| {
            if header.base_offset < to && to < header.next_offset() {
                cut = header.base_offset;
            }
        })
        .await;
        let mut last_batch = None;
        let mut scan = scan_segment(&file, last.base, cut, last.size, interval, &epochs, |header, _| {
            last_batch = Some((header.leader_epoch, header.base_offset));
        })
        .await;
        file.set_len(u64::from(scan.index.summary().size)).await?;
        file.sync_data().await?;
        // The last offsets that are kept may be damaged.
        scan.index.extend_to(cut);
        let summary = scan.index.summary();
        let window = Window::new(summary.end, summary.size, core.options.verified_window_bytes_per_log);
        Ok((Active { file, created: appender.created, index: scan.index, window }, last_batch))
    }
}

/// Work on a log's files that must not end half-way. If it is dropped there, what is known of the log is not what is
/// there: it is put out of use, and what is there is found out when it is opened again.
pub(crate) struct HalfWay<'a, E: Env> {
    log: &'a Log<E>,
    what: &'static str,
    ended: bool,
}

impl<'a, E: Env> HalfWay<'a, E> {
    pub(crate) fn begin(log: &'a Log<E>, what: &'static str) -> Self {
        log.0.half_way.store(true, Ordering::Release);
        Self { log, what, ended: false }
    }

    /// The work has ended, one way or the other. If it failed, the files stay as they are.
    pub(crate) fn end<T>(mut self, result: &io::Result<T>) {
        self.ended = true;
        self.log.0.half_way.store(result.is_err(), Ordering::Release);
    }
}

impl<E: Env> Drop for HalfWay<'_, E> {
    fn drop(&mut self) {
        if !self.ended && !mutant!("trunc-cancelled") {
            let error = io::Error::new(io::ErrorKind::Interrupted, "it was given up half-way");
            self.log.poison(self.what, &error);
        }
    }
}

async fn remove_if_there<D: Disk>(disk: &D, path: &std::path::Path) -> io::Result<()> {
    match disk.remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
