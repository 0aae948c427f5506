//! Opening a log: what is below the proven mark is kept, what is above it is checked, and written anew.
//!
//! Below the mark, whatever does not check out is damage: it is quarantined and reported, and its offsets are never
//! given again. Above the mark lies the unproven tail. It is cut at the first batch that does not check out. What is
//! left of it is rewritten into a new file: a sync may have failed on these very bytes, and after that the kernel may
//! hold lost pages for clean ones, so that another sync of the same file proves nothing.

use crate::checkpoint::Mark;
use crate::compact::load_cleaned;
use crate::core::{Core, FileOf};
use crate::epochs::Epochs;
use crate::evidence::Evidence;
use crate::files::{LogFile, SEGMENT_HEADER_BYTES, SegmentHeader, index_name, producers_name, segment_name};
use crate::index::{INDEX_HEADER_BYTES, Index, IndexBuilder, Summary, decode_header};
use crate::log::View;
use crate::producers::Producers;
use crate::report::{MarksFound, RecoveryReport};
use crate::restart::resume_restart;
use crate::scan::scan_segment;
use crate::segment::{Active, Sealed};
use crate::window::Window;
use bytes::Bytes;
use highwater_env::{Disk, Env, Event, File, OpenMode};
use highwater_types::{LogId, Offset, Timestamp, mutant};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod fold;
mod rewrite;
mod tail;

pub(crate) use fold::{load_epochs, rebuild_producers};

/// What the store's files say of a log that is to be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenHint {
    pub mark: Option<Mark>,
    pub marks: MarksFound,
    pub clean: bool,
    /// `index.interval.bytes` for indexes that have to be made anew.
    pub interval: u32,
}

/// An opened log.
pub(crate) struct Recovered<F> {
    pub view: View<F>,
    pub producers: Producers,
    pub start: Offset,
    pub mark: Mark,
    /// Up to here the log is compacted.
    pub cleaned: Offset,
    pub report: RecoveryReport,
}

/// The files of a log's directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub segments: Vec<Offset>,
    pub snapshots: Vec<Offset>,
    pub leftovers: Vec<String>,
}

impl Listing {
    pub(crate) async fn read<D: Disk>(disk: &D, dir: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in disk.list(dir).await? {
            match LogFile::parse(&entry.name) {
                LogFile::Segment(base) => listing.segments.push(base),
                LogFile::Producers(offset) => listing.snapshots.push(offset),
                LogFile::Leftover => listing.leftovers.push(entry.name),
                LogFile::Index(_) | LogFile::Other => {}
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        Ok(listing)
    }
}

/// Opens the log in its directory, which may be empty.
pub(crate) async fn recover<E: Env>(
    core: &Core<E>,
    id: LogId,
    hint: OpenHint,
) -> io::Result<Recovered<FileOf<E>>> {
    let mut recovery = Recovery::start(core, id, hint).await?;
    let mut recovered = match recovery.open_clean().await? {
        Some(recovered) => recovered,
        None => recovery.open().await?,
    };
    recovered.cleaned = load_cleaned(core.env.disk(), &recovery.dir).await?;
    for range in &recovered.report.damaged {
        core.env.observe(&Event::Damaged { log: id, from: range.start, to: range.end });
    }
    Ok(recovered)
}

struct Recovery<'a, E: Env> {
    core: &'a Core<E>,
    id: LogId,
    dir: PathBuf,
    hint: OpenHint,
    mark: Mark,
    listing: Listing,
    report: RecoveryReport,
}

impl<'a, E: Env> Recovery<'a, E> {
    async fn start(core: &'a Core<E>, id: LogId, mut hint: OpenHint) -> io::Result<Self> {
        let dir = core.log_dir(id);
        let disk = core.env.disk();
        let restarted = resume_restart(core, id, &dir).await?;
        if let Some(start) = restarted {
            (hint.mark, hint.clean) = (Some(Mark::restarted(start)), false);
        }
        let listing = Listing::read(disk, &dir).await?;
        for name in &listing.leftovers {
            disk.remove_file(&dir.join(name)).await?;
        }
        let earlier = Evidence::load(disk, &dir).await?;
        let evident = earlier.is_some_and(|earlier| earlier.lost_marks());
        // What was purged is in a mark. An opening that failed after the marks were lost leaves none.
        let begins_late = listing.segments.first().is_some_and(|&first| first > Offset::ZERO);
        let lost_mark = hint.mark.is_none() && (hint.marks == MarksFound::Lost || evident || begins_late);
        let mark = match hint.mark {
            Some(mark) => mark,
            // Without marks, what lies before the last segment is taken for proven, so that it is not cut.
            None if lost_mark => {
                let last = listing.segments.last().copied().unwrap_or_default();
                let first = listing.segments.first().copied().unwrap_or_default();
                Mark { proven: last, segment: last, position: SEGMENT_HEADER_BYTES, start: first }
            }
            None => Mark { position: SEGMENT_HEADER_BYTES, ..Mark::default() },
        };
        let mut report = RecoveryReport {
            log: id,
            start: mark.start,
            end: mark.proven,
            proven: mark.proven,
            marks: if lost_mark { MarksFound::Lost } else { hint.marks },
            clean: hint.clean,
            restarted: restarted.is_some(),
            rewritten_bytes: 0,
            cut_bytes: 0,
            batches_behind_cut: false,
            damaged: Vec::new(),
            epochs_lost: false,
            bad_segment_headers: 0,
            failure: None,
        };
        if let Some(earlier) = earlier {
            earlier.add_to(&mut report);
        }
        if lost_mark {
            // The marks are written anew even if this opening fails.
            Evidence::keep(disk, &dir, &report).await?;
        }
        Ok(Self { core, id, dir, hint, mark, listing, report })
    }

    fn disk(&self) -> &'a E::Disk {
        self.core.env.disk()
    }

    /// Opens a log that was closed cleanly, without a look at its batches. None if anything is not as it was left.
    async fn open_clean(&mut self) -> io::Result<Option<Recovered<FileOf<E>>>> {
        if !self.hint.clean || self.hint.marks != MarksFound::Current || self.hint.mark.is_none() {
            return Ok(None);
        }
        let Some((&last, sealed)) = self.listing.segments.split_last() else { return Ok(None) };
        let sealed = sealed.to_vec();
        let first = *self.listing.segments.first().expect("there is a last one");
        if last != self.mark.segment || first > self.mark.start {
            return Ok(None);
        }
        let Some(index) = read_index(self.disk(), &self.dir.join(index_name(last))).await? else {
            return Ok(None);
        };
        let file = self.disk().open(&self.dir.join(segment_name(last)), OpenMode::Write).await?;
        let header = self.read_header(&file, last).await?;
        let length = file.len().await?;
        let expected = (last, self.mark.proven, self.mark.position);
        let found = (index.summary.base, index.summary.end, index.summary.size);
        let (Some(header), true) = (header, found == expected && length == u64::from(self.mark.position))
        else {
            return Ok(None);
        };
        let Some(producers) = self.read_snapshot(self.mark.proven).await? else { return Ok(None) };
        let Some(epochs) = load_epochs(self.disk(), &self.dir).await? else { return Ok(None) };
        let sealed = self.open_sealed_all(&sealed, last).await?;
        let active = self.active(file, header.created, IndexBuilder::resume(index));
        let view = self.view(sealed, active, epochs);
        Ok(Some(self.finish(view, producers)))
    }

    /// Opens a log of which nothing is believed but its mark.
    async fn open(&mut self) -> io::Result<Recovered<FileOf<E>>> {
        // Names that a process before this one gave may be visible and not on disk. What they replace is cut on the
        // strength of them.
        self.disk().sync_dir(&self.dir).await?;
        let mut segments = self.live_segments().await?;
        if mutant!("offset-reuse-purge") && self.hold_no_batch(&segments).await? {
            // As if only batches told of the next offset, and neither the mark nor an empty segment's name.
            for base in segments.drain(..) {
                remove_segment(self.disk(), &self.dir, base).await?;
            }
            self.mark = Mark { position: SEGMENT_HEADER_BYTES, ..Mark::default() };
        }
        let tail_from = self.tail_from(&segments);
        let (below, tail) = segments.split_at(tail_from);
        let tail_base = tail.first().copied().unwrap_or(self.mark.proven);
        let mut sealed = self.open_sealed_all(below, tail_base).await?;
        let epochs = load_epochs(self.disk(), &self.dir).await?;
        let mut fold = fold::Fold::begin(self, &sealed, epochs).await?;
        let scan = self.scan_tail(tail, tail_base, &mut fold).await?;
        self.report.epochs_lost |= fold.gathered_epochs();
        Evidence::keep(self.disk(), &self.dir, &self.report).await?;
        let end = scan.end;
        let active = self.settle(scan, &mut sealed).await?;
        let (producers, epochs) = fold.finish(self, end).await?;
        self.drop_snapshots_behind(end).await?;
        let view = self.view(sealed, active, epochs);
        Ok(self.finish(view, producers))
    }

    /// The segments that hold anything at or behind the log's start. The files of others are removed.
    async fn live_segments(&self) -> io::Result<Vec<Offset>> {
        let all = &self.listing.segments;
        let first = all.partition_point(|&base| base <= self.mark.start).saturating_sub(1);
        for &base in &all[..first] {
            remove_segment(self.disk(), &self.dir, base).await?;
        }
        Ok(all[first..].to_vec())
    }

    /// Whether there is nothing in any of these segments but its header.
    async fn hold_no_batch(&self, segments: &[Offset]) -> io::Result<bool> {
        for &base in segments {
            let file = self.disk().open(&self.dir.join(segment_name(base)), OpenMode::Read).await?;
            if file.len().await? > u64::from(SEGMENT_HEADER_BYTES) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first of the segments that may hold something unproven.
    fn tail_from(&self, segments: &[Offset]) -> usize {
        segments.partition_point(|&base| base <= self.mark.proven).saturating_sub(1)
    }

    /// Opens segments that lie below the mark wholly; `end` is where the last of them ends.
    async fn open_sealed_all(&mut self, bases: &[Offset], end: Offset) -> io::Result<Vec<Arc<Sealed>>> {
        if let Some(&first) = bases.first().filter(|&&first| first > self.mark.start) {
            self.damage(self.mark.start..first);
        }
        let mut sealed = Vec::with_capacity(bases.len());
        for (number, &base) in bases.iter().enumerate() {
            let end = bases.get(number + 1).copied().unwrap_or(end);
            sealed.push(self.open_sealed(base, end).await?);
        }
        Ok(sealed)
    }

    /// Opens a segment that lies below the mark wholly: its index is believed if it fits, otherwise made anew.
    async fn open_sealed(&mut self, base: Offset, end: Offset) -> io::Result<Arc<Sealed>> {
        let file = self.disk().open(&self.dir.join(segment_name(base)), OpenMode::Write).await?;
        let length = file.len().await?;
        if let Some(summary) = read_index_header(self.disk(), &self.dir.join(index_name(base))).await?
            && (summary.base, summary.end) == (base, end)
            && u64::from(summary.size) == length
        {
            return Ok(Sealed::new(self.core.next_key(), summary, None));
        }
        if self.read_header(&file, base).await?.is_none() {
            self.report.bad_segment_headers += 1;
        }
        let limit = bounded_length(length)?;
        let epochs = load_epochs(self.disk(), &self.dir).await?.unwrap_or_default();
        let scan = scan_segment(&file, base, end, limit, self.hint.interval, &epochs, |_, _| {}).await;
        for range in scan.damaged {
            self.damage(range);
        }
        let mut index = scan.index.finish();
        index.summary.end = end;
        if u64::from(index.summary.size) < length && self.report.damaged.is_empty() {
            // What stands behind the segment's end was rewritten into the next one.
            file.set_len(u64::from(index.summary.size)).await?;
            file.sync_data().await?;
        }
        Ok(Sealed::new(self.core.next_key(), index.summary, Some(index)))
    }

    /// Notes damaged offsets; those below the log's start do not matter any more.
    fn damage(&mut self, range: Range<Offset>) {
        let range = range.start.max(self.mark.start)..range.end;
        if range.start < range.end {
            self.report.damaged.push(range);
        }
    }

    /// A segment's header, if it is whole and this segment's.
    async fn read_header(&self, file: &FileOf<E>, base: Offset) -> io::Result<Option<SegmentHeader>> {
        let bytes = file.read_at(0, SEGMENT_HEADER_BYTES as usize).await?;
        let header = SegmentHeader::decode(&bytes);
        Ok(header.filter(|header| header.base == base && header.log == self.id))
    }

    async fn read_snapshot(&self, offset: Offset) -> io::Result<Option<Producers>> {
        let path = self.dir.join(producers_name(offset));
        let bytes = read_small(self.disk(), &path, Producers::SNAPSHOT_LIMIT_BYTES).await?;
        let found = bytes.and_then(|bytes| Producers::decode(&bytes));
        Ok(found.filter(|(end, _)| *end == offset).map(|(_, producers)| producers))
    }

    /// Removes producer snapshots of offsets that the log does not have.
    async fn drop_snapshots_behind(&self, end: Offset) -> io::Result<()> {
        let stale: Vec<_> = self.listing.snapshots.iter().filter(|&&offset| offset > end).collect();
        for &&offset in &stale {
            self.disk().remove_file(&self.dir.join(producers_name(offset))).await?;
        }
        if !stale.is_empty() {
            self.disk().sync_dir(&self.dir).await?;
        }
        Ok(())
    }

    fn active(&self, file: FileOf<E>, created: Timestamp, index: IndexBuilder) -> Active<FileOf<E>> {
        let limit = self.core.options.verified_window_bytes_per_log;
        let window = Window::new(index.summary().end, index.summary().size, limit);
        Active { file, created, index, window }
    }

    fn view(&self, sealed: Vec<Arc<Sealed>>, active: Active<FileOf<E>>, epochs: Epochs) -> View<FileOf<E>> {
        let mut damaged = self.report.damaged.clone();
        damaged.sort_unstable_by_key(|range| range.start);
        let end = active.index.summary().end;
        let snapshots = self.listing.snapshots.iter().copied().filter(|&offset| offset <= end).collect();
        View {
            sealed,
            active,
            epochs,
            damaged,
            generation: 0,
            unsynced: Vec::new(),
            new_entries: 0,
            snapshots,
        }
    }

    fn finish(&mut self, view: View<FileOf<E>>, producers: Producers) -> Recovered<FileOf<E>> {
        let summary = *view.active.index.summary();
        self.report.end = summary.end;
        let start = self.mark.start.min(summary.end);
        self.report.start = start;
        let mark = Mark { proven: summary.end, segment: summary.base, position: summary.size, start };
        Recovered { view, producers, start, mark, cleaned: Offset::ZERO, report: self.report.clone() }
    }
}

/// A file's length as a position; segments are never longer.
fn bounded_length(length: u64) -> io::Result<u32> {
    let length = u32::try_from(length).ok().filter(|&length| length <= i32::MAX as u32);
    length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a segment file is larger than 2 GiB"))
}

/// A whole small file; None if it does not exist or is larger than `limit`.
pub(crate) async fn read_small<D: Disk>(disk: &D, path: &Path, limit: u64) -> io::Result<Option<Bytes>> {
    let file = match disk.open(path, OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.len().await?;
    if length > limit {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(io::Error::other)?;
    file.read_at(0, length).await.map(Some)
}

/// The index in a file, if there is one that is whole.
pub(crate) async fn read_index<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<Index>> {
    // A segment has less than one entry per header-sized piece of it.
    let limit = u64::from(u32::MAX) / 2;
    Ok(read_small(disk, path, limit).await?.and_then(|bytes| Index::decode(&bytes)))
}

async fn read_index_header<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<Summary>> {
    let file = match disk.open(path, OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let head = file.read_at(0, INDEX_HEADER_BYTES).await?;
    Ok(decode_header(&head).map(|(summary, _)| summary))
}

/// Removes a segment's file and its index.
async fn remove_segment<D: Disk>(disk: &D, dir: &Path, base: Offset) -> io::Result<()> {
    disk.remove_file(&dir.join(segment_name(base))).await?;
    match disk.remove_file(&dir.join(index_name(base))).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
