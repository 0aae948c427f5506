//! Emptying a log, to go on at another offset.
//!
//! The decision is a file, `restart`, that says where the log goes on. Once it is durable, the log's old contents are
//! void: whatever is left of them, the next opening removes first of all. It goes when everything else is done, the
//! marks included, and nothing is appended before.

use crate::append::Appender;
use crate::checkpoint::{Mark, create, replace, write_synced};
use crate::compact::CLEANED;
use crate::core::{Core, FileOf, lock};
use crate::epochs::{Epochs, LEADER_EPOCHS};
use crate::error::LogError;
use crate::files::{LogFile, SEGMENT_HEADER_BYTES, SegmentHeader, TEMPORARY, segment_name};
use crate::frame::{FrameKind, array};
use crate::index::IndexBuilder;
use crate::log::Log;
use crate::producers::Producers;
use crate::recovery::read_small;
use crate::segment::Active;
use crate::truncate::HalfWay;
use crate::window::Window;
use highwater_env::{Disk, Env, Event, File};
use highwater_types::{LogId, Offset};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

const RESTART: &str = "restart";
const KIND: FrameKind = FrameKind { magic: b"HWRESTRT", version: 1, limit_bytes: 4096 };

impl Mark {
    /// That of a log that has nothing, from `start` on.
    pub(crate) fn restarted(start: Offset) -> Self {
        Self { proven: start, segment: start, position: SEGMENT_HEADER_BYTES, start }
    }
}

impl<E: Env> Log<E> {
    /// Drops everything that the log has, its epochs and what it knows of producers included: it is empty, and goes
    /// on at `start`, which may lie anywhere. Durable when it returns. A crash on the way leaves the log as it was, or
    /// empty from `start` on.
    ///
    /// For followers whose leader does not have any more what they would need next.
    pub async fn restart_at(&self, start: Offset) -> Result<(), LogError> {
        let mut appender = self.0.appender.lock().await;
        self.ensure_open()?;
        if start.0 < 0 {
            return Err(LogError::OutOfRange { start: Offset::ZERO, end: self.end_offset() });
        }
        let _turn = self.0.sync_turn.lock().await;
        let _files = self.0.files_turn.lock().await;
        let kept = self.start_offset().min(start);
        self.0.core.env.observe(&Event::Truncating { log: self.0.id, end: kept });
        let disk = self.0.core.env.disk();
        let temporary = self.0.dir.join(format!("{RESTART}{TEMPORARY}"));
        write_synced(disk, &temporary, KIND.encode(&start.0.to_be_bytes())).await?;
        let half_way = HalfWay::begin(self, "restart");
        let restarting = async {
            disk.rename(&temporary, &self.0.dir.join(RESTART)).await?;
            disk.sync_dir(&self.0.dir).await?;
            self.begin_at(&mut appender, start).await
        };
        let result = restarting.await;
        half_way.end(&result);
        result.map_err(|error| {
            self.poison("restart", &error);
            LogError::Poisoned
        })
    }

    async fn begin_at(&self, appender: &mut Appender<FileOf<E>>, start: Offset) -> io::Result<()> {
        let core = &self.0.core;
        lock(&self.0.view).forget_sealed(|_| true);
        let active = begin_segment(core, self.0.id, &self.0.dir, start).await?;
        let gone = {
            let mut view = lock(&self.0.view);
            view.epochs = Epochs::default();
            view.damaged.clear();
            view.snapshots.clear();
            view.unsynced.clear();
            view.new_entries = 0;
            view.active = active.clone();
            self.publish_restart(start);
            std::mem::take(&mut view.sealed)
        };
        for segment in gone {
            lock(&core.files).remove(segment.key);
            lock(&core.indexes).remove(segment.key);
        }
        appender.follow(&active);
        (appender.roll_begun, appender.tail_uncertain) = (false, false);
        appender.producers = Producers::default();
        wipe(core.env.disk(), &self.0.dir, start).await?;
        self.0.cleaned.store(0, Ordering::Release);
        *lock(&self.0.mark) = Mark::restarted(start);
        core.write_marks().await?;
        self.finish_restart().await?;
        // Both generations of the marks are to say so.
        core.marks_moved();
        core.env.observe(&Event::Restarted { log: self.0.id, start });
        Ok(())
    }

    /// Forgets that the log was restarted: from here on the marks on disk say all that there is to say.
    pub(crate) async fn finish_restart(&self) -> io::Result<()> {
        let disk = self.0.core.env.disk();
        disk.remove_file(&self.0.dir.join(RESTART)).await?;
        disk.sync_dir(&self.0.dir).await
    }
}

/// Does what a restart that did not end had left to do, all but the marks. Returns where the log goes on, or None if
/// there was no restart.
pub(crate) async fn resume_restart<E: Env>(
    core: &Core<E>,
    log: LogId,
    dir: &Path,
) -> io::Result<Option<Offset>> {
    let Some(start) = read_restart(core.env.disk(), dir).await? else { return Ok(None) };
    // It may be visible and not on disk: a power loss could keep the removals that follow and not what allows them.
    core.env.disk().sync_dir(dir).await?;
    core.env.observe(&Event::Reached("log: restart completed by recovery"));
    begin_segment(core, log, dir, start).await?;
    wipe(core.env.disk(), dir, start).await?;
    Ok(Some(start))
}

/// Whether a restart did not end.
pub(crate) async fn is_restarting<D: Disk>(disk: &D, dir: &Path) -> io::Result<bool> {
    Ok(read_restart(disk, dir).await?.is_some())
}

/// Where a log goes on whose restart did not end.
async fn read_restart<D: Disk>(disk: &D, dir: &Path) -> io::Result<Option<Offset>> {
    let Some(bytes) = read_small(disk, &dir.join(RESTART), KIND.limit_bytes).await? else { return Ok(None) };
    // One that is damaged says nothing. Whatever is missing from the log is reported as damage then.
    let payload = KIND.decode(&bytes).ok().map(|(_, payload)| payload);
    let payload = payload.filter(|payload| payload.len() == size_of::<i64>());
    Ok(payload.map(|payload| Offset(i64::from_be_bytes(array(&payload)))))
}

/// A new segment, in place of any of that name. Its bytes are durable, its name is not.
pub(crate) async fn begin_segment<E: Env>(
    core: &Core<E>,
    log: LogId,
    dir: &Path,
    base: Offset,
) -> io::Result<Active<FileOf<E>>> {
    let created = core.env.clock().wall();
    let file = create(core.env.disk(), &dir.join(segment_name(base))).await?;
    file.write_at(0, vec![SegmentHeader { log, base, created }.encode()]).await?;
    file.sync_data().await?;
    let window = Window::new(base, SEGMENT_HEADER_BYTES, core.options.verified_window_bytes_per_log);
    Ok(Active { file, created, index: IndexBuilder::new(base), window })
}

/// Removes, durably, all that a log has but its new segment.
async fn wipe<D: Disk>(disk: &D, dir: &Path, kept: Offset) -> io::Result<()> {
    for entry in disk.list(dir).await? {
        match LogFile::parse(&entry.name) {
            LogFile::Segment(base) if base == kept => {}
            LogFile::Segment(_) | LogFile::Index(_) | LogFile::Producers(_) => {
                disk.remove_file(&dir.join(&entry.name)).await?;
            }
            LogFile::Other if entry.name == CLEANED => disk.remove_file(&dir.join(CLEANED)).await?,
            LogFile::Leftover | LogFile::Other => {}
        }
    }
    // Syncs the directory, too.
    replace(disk, dir, LEADER_EPOCHS, Epochs::default().encode()).await
}
