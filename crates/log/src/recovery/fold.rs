//! Producer state and leader epochs, from their files and the batches behind them.

use super::{Recovery, read_small};
use crate::checkpoint::replace;
use crate::core::Core;
use crate::epochs::{Epochs, LEADER_EPOCHS};
use crate::files::{LogFile, SEGMENT_HEADER_BYTES, producers_name, segment_name};
use crate::index::Summary;
use crate::producers::Producers;
use crate::scan::{Scanned, Scanner, find_batch, follows};
use crate::segment::Sealed;
use highwater_env::{Disk, Env, File, OpenMode};
use highwater_records::BatchHeader;
use highwater_types::{LeaderEpoch, Offset, Timestamp, mutant};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What is folded over a log's batches while it is opened.
pub(super) struct Fold {
    producers: Producers,
    /// Batches before this are in the producers' snapshot.
    producers_from: Offset,
    epochs: Epochs,
    /// The epochs as their file has them; None if there is no file that is whole.
    stored_epochs: Option<Epochs>,
    /// Producers found in the log count as active now: when their batches were appended is not known.
    now: Timestamp,
}

impl Fold {
    /// Starts from the newest snapshot below the mark, and replays the sealed segments behind it.
    pub(super) async fn begin<E: Env>(
        recovery: &Recovery<'_, E>,
        sealed: &[Arc<Sealed>],
        stored_epochs: Option<Epochs>,
    ) -> io::Result<Self> {
        let (producers_from, producers) = newest_snapshot(recovery, recovery.mark.proven).await?;
        let mut fold = Self {
            producers,
            producers_from,
            epochs: stored_epochs.clone().unwrap_or_default(),
            stored_epochs,
            now: recovery.core.env.clock().wall(),
        };
        let epochs_missing = fold.stored_epochs.is_none();
        for segment in sealed {
            if segment.summary.end > producers_from || epochs_missing {
                let path = segment.path(&recovery.dir);
                let file = recovery.disk().open(&path, OpenMode::Read).await?;
                fold_headers(&file, &segment.summary, |header| fold.take(header)).await;
            }
        }
        Ok(fold)
    }

    /// Whether a batch carries the epoch that was noted, durably, before its first batch was written. No checksum
    /// covers a batch's epoch: a rotten one would stand in the way of every leader to come.
    pub(super) fn epoch_fits(&self, header: &BatchHeader) -> bool {
        self.stored_epochs.as_ref().is_none_or(|epochs| epochs.admits(header))
    }

    /// Takes in a batch of the log.
    pub(super) fn take(&mut self, header: &BatchHeader) {
        if header.base_offset >= self.producers_from {
            self.producers.record(header, self.now);
        }
        let believed = self.epoch_fits(header) || mutant!("rotten-epoch-folded");
        if header.leader_epoch > LeaderEpoch::NONE && believed {
            self.epochs.begin(header.leader_epoch, header.base_offset);
        }
    }

    /// Whether the batches alone told of the epochs, and there are some.
    pub(super) fn gathered_epochs(&self) -> bool {
        self.stored_epochs.is_none() && self.epochs.latest().is_some()
    }

    /// The state as of the log's end. The epochs' file is corrected if it says something else.
    pub(super) async fn finish<E: Env>(
        mut self,
        recovery: &Recovery<'_, E>,
        end: Offset,
    ) -> io::Result<(Producers, Epochs)> {
        // An epoch may have begun at the end, with no batch yet.
        self.epochs.truncate(end.next());
        self.epochs.advance_start(recovery.mark.start);
        if self.stored_epochs.as_ref() != Some(&self.epochs) {
            replace(recovery.disk(), &recovery.dir, LEADER_EPOCHS, self.epochs.encode()).await?;
        }
        Ok((self.producers, self.epochs))
    }
}

/// The epochs in a log's directory, if their file is whole.
pub(crate) async fn load_epochs<D: Disk>(disk: &D, dir: &Path) -> io::Result<Option<Epochs>> {
    let bytes = read_small(disk, &dir.join(LEADER_EPOCHS), Epochs::FILE_LIMIT_BYTES).await?;
    Ok(bytes.and_then(|bytes| Epochs::decode(&bytes)))
}

/// The producers as of `end`, from the newest snapshot and the segments behind it.
pub(crate) async fn rebuild_producers<E: Env>(
    core: &Core<E>,
    dir: &Path,
    segments: &[Summary],
    end: Offset,
) -> io::Result<Producers> {
    let disk = core.env.disk();
    let mut snapshots = Vec::new();
    for entry in disk.list(dir).await? {
        if let LogFile::Producers(offset) = LogFile::parse(&entry.name)
            && offset <= end
        {
            snapshots.push(offset);
        }
    }
    let (from, mut producers) = newest_of(disk, dir, snapshots).await?;
    let now = core.env.clock().wall();
    for summary in segments.iter().filter(|summary| summary.end > from) {
        let file = disk.open(&dir.join(segment_name(summary.base)), OpenMode::Read).await?;
        let replay = |header: &BatchHeader| {
            if header.base_offset >= from && header.next_offset() <= end {
                producers.record(header, now);
            }
        };
        fold_headers(&file, summary, replay).await;
    }
    Ok(producers)
}

async fn newest_snapshot<E: Env>(
    recovery: &Recovery<'_, E>,
    up_to: Offset,
) -> io::Result<(Offset, Producers)> {
    let snapshots = recovery.listing.snapshots.iter().copied().filter(|&offset| offset <= up_to).collect();
    newest_of(recovery.disk(), &recovery.dir, snapshots).await
}

/// The newest whole snapshot of those; an empty state as of offset 0 if there is none.
async fn newest_of<D: Disk>(
    disk: &D,
    dir: &Path,
    mut snapshots: Vec<Offset>,
) -> io::Result<(Offset, Producers)> {
    snapshots.sort_unstable();
    while let Some(offset) = snapshots.pop() {
        let path = dir.join(producers_name(offset));
        let bytes = read_small(disk, &path, Producers::SNAPSHOT_LIMIT_BYTES).await?;
        match bytes.and_then(|bytes| Producers::decode(&bytes)) {
            Some((end, producers)) if end == offset => return Ok((offset, producers)),
            _ => {}
        }
    }
    Ok((Offset::ZERO, Producers::default()))
}

/// Calls `each` for the headers of a segment. Passes over what is none, which readers report as damage.
async fn fold_headers<F: File>(file: &F, summary: &Summary, mut each: impl FnMut(&BatchHeader)) {
    let mut scanner = Scanner::new(file.clone(), SEGMENT_HEADER_BYTES, summary.size);
    let mut at = summary.base;
    while at < summary.end {
        let position = scanner.position();
        match scanner.next(false).await {
            Scanned::Batch(header) if follows(&header, at, summary.end, LeaderEpoch::NONE) => {
                each(&header);
                at = header.next_offset();
            }
            Scanned::End => break,
            _ => {
                let wanted = at.next()..summary.end;
                let next = find_batch(file, position, summary.size, wanted, summary.size).await;
                let Some((position, base)) = next else { break };
                scanner.seek(position);
                at = base;
            }
        }
    }
}
