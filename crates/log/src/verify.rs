//! Verifying a store that nobody has open: every batch, header, index and small file. Changes nothing.
//!
//! What counts as damage is what a start would report as such. Batches beyond the proven mark that do not check out
//! are the torn tail of a crash, which a start cuts; an index that does not fit is made anew.

use crate::checkpoint::{MARKS, Mark, Marks, PREVIOUS_MARKS};
use crate::epochs::{Epochs, LEADER_EPOCHS};
use crate::files::{DiskMeta, FoundMeta, LOCK, LOGS, SEGMENT_HEADER_BYTES, SegmentHeader, index_name};
use crate::files::{parse_log_id, producers_name, segment_name};
use crate::index::Index;
use crate::producers::Producers;
use crate::recovery::{Listing, read_index, read_small};
use crate::restart::is_restarting;
use crate::scan::scan_segment;
use highwater_env::{Disk, File, OpenMode};
use highwater_types::{LogId, Offset};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a look through a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreVerdict {
    /// Its logs, in the order of their names.
    pub logs: Vec<LogVerdict>,
    /// What is wrong with the files beside them.
    pub faults: Vec<Fault>,
}

/// What a look through one log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerdict {
    /// The log.
    pub id: LogId,
    /// Its first offset.
    pub start: Offset,
    /// The end of what was proven, or of what checks out behind it.
    pub end: Offset,
    /// How many segments it has.
    pub segments: usize,
    /// How many batches check out.
    pub batches: u64,
    /// How many bytes its segments have.
    pub bytes: u64,
    /// Bytes beyond the proven mark that do not check out, as a crash leaves them: the next start cuts them.
    pub torn_bytes: u64,
    /// Indexes that do not fit their segment: they are made anew when they are needed.
    pub stale_indexes: usize,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Something that does not check out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, or the directory of a file that is missing.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// These offsets have bytes that are no batch, or one that does not belong there: another offset, another leader
    /// epoch, a wrong checksum.
    Batches(Range<Offset>),
    /// No file has these offsets.
    Missing(Range<Offset>),
    /// The header of a segment is not whole, or is another segment's.
    SegmentHeader,
    /// A small file is not whole.
    File,
    /// A small file is missing.
    NoFile,
}

impl StoreVerdict {
    /// Whether everything checks out.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.logs.iter().all(|log| log.faults.is_empty())
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batches(range) => write!(f, "offsets {} to {} do not check out", range.start, range.end),
            Self::Missing(range) => write!(f, "offsets {} to {} are missing", range.start, range.end),
            Self::SegmentHeader => f.write_str("the segment's header does not check out"),
            Self::File => f.write_str("the file is not whole"),
            Self::NoFile => f.write_str("the file is missing"),
        }
    }
}

/// Looks through all logs of a store, which must not be open: fails with [`io::ErrorKind::WouldBlock`] if it is.
pub async fn verify_store<D: Disk>(disk: &D, dir: &Path) -> io::Result<StoreVerdict> {
    let _lock = disk.lock(&dir.join(LOCK)).await?;
    let mut verdict = StoreVerdict::default();
    let fault = |name: &str, kind| Fault { path: dir.join(name), kind };
    match DiskMeta::read(disk, dir).await? {
        FoundMeta::Known(_) => {}
        FoundMeta::Missing => verdict.faults.push(fault(crate::files::DISK_META, FaultKind::NoFile)),
        FoundMeta::Damaged => verdict.faults.push(fault(crate::files::DISK_META, FaultKind::File)),
        FoundMeta::Newer(found) => {
            let text = format!("{} has format {found}, which is of a later version", dir.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
    }
    let mut marks = None;
    for name in [MARKS, PREVIOUS_MARKS] {
        // A crash between two renames leaves one of them.
        match read_small(disk, &dir.join(name), Marks::FILE_LIMIT_BYTES).await? {
            Some(bytes) => match Marks::decode(&bytes) {
                Some(found) => marks = marks.or(Some(found)),
                None => verdict.faults.push(fault(name, FaultKind::File)),
            },
            None if name == PREVIOUS_MARKS && marks.is_none() => {
                verdict.faults.push(fault(MARKS, FaultKind::NoFile));
            }
            None => {}
        }
    }
    let marks_lost = marks.is_none();
    let mut logs: BTreeMap<LogId, Option<Mark>> =
        marks.unwrap_or_default().logs.into_iter().map(|(id, mark)| (id, Some(mark))).collect();
    let mut there = Vec::new();
    for entry in disk.list(&dir.join(LOGS)).await? {
        if let Some(id) = parse_log_id(&entry.name) {
            there.push(id);
            logs.entry(id).or_default();
        }
    }
    for (id, mark) in logs {
        let dir = dir.join(LOGS).join(id.to_string());
        let found = Look { disk, dir, verdict: LogVerdict::new(id, mark), marks_lost, torn_from: None };
        verdict.logs.push(if there.contains(&id) { found.through().await? } else { found.at_nothing() });
    }
    Ok(verdict)
}

impl LogVerdict {
    fn new(id: LogId, mark: Option<Mark>) -> Self {
        let Mark { start, proven, .. } = mark.unwrap_or_default();
        let (segments, batches, bytes, torn_bytes, stale_indexes) = (0, 0, 0, 0, 0);
        Self {
            id,
            start,
            end: proven,
            segments,
            batches,
            bytes,
            torn_bytes,
            stale_indexes,
            faults: Vec::new(),
        }
    }
}

/// A look at one log.
struct Look<'a, D> {
    disk: &'a D,
    dir: PathBuf,
    verdict: LogVerdict,
    marks_lost: bool,
    /// The first offset beyond the proven ones that does not check out.
    torn_from: Option<Offset>,
}

impl<D: Disk> Look<'_, D> {
    /// The log's directory is gone.
    fn at_nothing(mut self) -> LogVerdict {
        let all = self.verdict.start..self.verdict.end;
        self.fault("", FaultKind::NoFile);
        self.missing(all);
        self.verdict
    }

    async fn through(mut self) -> io::Result<LogVerdict> {
        if is_restarting(self.disk, &self.dir).await? {
            // Everything in it is void: the next start empties it.
            return Ok(self.verdict);
        }
        let listing = Listing::read(self.disk, &self.dir).await?;
        let epochs = self.epochs().await?;
        for &offset in &listing.snapshots {
            let name = producers_name(offset);
            let limit = Producers::SNAPSHOT_LIMIT_BYTES;
            let bytes = read_small(self.disk, &self.dir.join(&name), limit).await?;
            if bytes.and_then(|bytes| Producers::decode(&bytes)).is_none_or(|(end, _)| end != offset) {
                self.fault(&name, FaultKind::File);
            }
        }
        if self.marks_lost {
            // As a start guesses then: all but the last segment is proven.
            self.verdict.start = listing.segments.first().copied().unwrap_or_default();
            self.verdict.end = listing.segments.last().copied().unwrap_or_default();
        }
        let (start, proven) = (self.verdict.start, self.verdict.end);
        // A crash in the middle of a removal leaves segments that end before the log's start.
        let first = listing.segments.partition_point(|&base| base <= start).saturating_sub(1);
        let live = &listing.segments[first..];
        match live.first() {
            Some(&base) if base > start => self.missing(start..base.min(proven)),
            None => self.missing(start..proven),
            Some(_) => {}
        }
        let epochs_missing = epochs.is_none();
        let epochs = epochs.unwrap_or_default();
        for (number, &base) in live.iter().enumerate() {
            match live.get(number + 1) {
                Some(&next) => self.closed(base, next, proven, &epochs).await?,
                None => self.last(base, proven, &epochs).await?,
            }
        }
        if epochs_missing && self.verdict.batches > 0 {
            self.fault(LEADER_EPOCHS, FaultKind::NoFile);
        }
        self.verdict.segments = live.len();
        self.verdict.end = self.torn_from.unwrap_or(proven).max(proven);
        Ok(self.verdict)
    }

    /// The leader epochs; None without a file. Whoever has a batch has one.
    async fn epochs(&mut self) -> io::Result<Option<Epochs>> {
        let path = self.dir.join(LEADER_EPOCHS);
        let Some(bytes) = read_small(self.disk, &path, Epochs::FILE_LIMIT_BYTES).await? else {
            return Ok(None);
        };
        let found = Epochs::decode(&bytes);
        if found.is_none() {
            self.fault(LEADER_EPOCHS, FaultKind::File);
        }
        Ok(Some(found.unwrap_or_default()))
    }

    /// Looks through a segment that another one follows.
    async fn closed(&mut self, base: Offset, end: Offset, proven: Offset, epochs: &Epochs) -> io::Result<()> {
        let scan = self.segment(base..end, proven, epochs).await?;
        self.damaged(base, &scan, proven, end);
        let path = self.dir.join(index_name(base));
        let index = read_index(self.disk, &path).await?.filter(|index| {
            let Index { summary, entries } = index;
            (summary.base, summary.end) == (base, end)
                && u64::from(summary.size) == scan.length
                && entries.iter().all(|entry| {
                    let offset = base.plus(i64::from(entry.relative));
                    scan.places.binary_search(&(offset, entry.position)).is_ok()
                })
        });
        self.verdict.stale_indexes += usize::from(index.is_none());
        Ok(())
    }

    /// Looks through the last segment.
    async fn last(&mut self, base: Offset, proven: Offset, epochs: &Epochs) -> io::Result<()> {
        let end = Offset(i64::MAX);
        let scan = self.segment(base..end, proven, epochs).await?;
        self.damaged(base, &scan, proven, end);
        Ok(())
    }

    async fn segment(&mut self, offsets: Range<Offset>, proven: Offset, epochs: &Epochs) -> io::Result<Scan> {
        let Range { start: base, end } = offsets;
        let name = segment_name(base);
        let file = self.disk.open(&self.dir.join(&name), OpenMode::Read).await?;
        let length = file.len().await?;
        let head = file.read_at(0, SEGMENT_HEADER_BYTES as usize).await?;
        let id = self.verdict.id;
        let is_header = |header: SegmentHeader| (header.base, header.log) == (base, id);
        // Of a segment that was just begun nothing need be on disk.
        if base < proven && !SegmentHeader::decode(&head).is_some_and(is_header) {
            self.fault(&name, FaultKind::SegmentHeader);
        }
        let limit = u32::try_from(length.min(i32::MAX as u64)).expect("bounded");
        let mut places = Vec::new();
        let keep = |header: &highwater_records::BatchHeader, position| {
            places.push((header.base_offset, position));
        };
        let scan = scan_segment(&file, base, end, limit, u32::MAX, epochs, keep).await;
        self.verdict.bytes += length;
        self.verdict.batches += places.len() as u64;
        Ok(Scan { length, size: scan.index.summary().size, damaged: scan.damaged, places })
    }

    /// Sorts what does not check out in a segment that goes up to `end`.
    fn damaged(&mut self, base: Offset, scan: &Scan, proven: Offset, end: Offset) {
        for range in &scan.damaged {
            if range.end > proven {
                let torn = range.start.max(proven);
                self.torn_from = Some(self.torn_from.map_or(torn, |known| known.min(torn)));
            }
            if range.start >= proven && range.end == end {
                self.verdict.torn_bytes += scan.length.saturating_sub(u64::from(scan.size));
            }
            // What lies before the log's start does not matter any more.
            let range_start = range.start.max(self.verdict.start);
            let proven_part = range_start..range.end.min(proven);
            // Where the file ends with a batch that checks out, nothing of what follows was ever in it.
            if range.end == end && scan.length <= u64::from(scan.size) {
                self.missing(proven_part);
            } else if !proven_part.is_empty() {
                self.fault(&segment_name(base), FaultKind::Batches(proven_part));
            }
        }
    }

    fn missing(&mut self, range: Range<Offset>) {
        if range.start < range.end {
            self.fault("", FaultKind::Missing(range));
        }
    }

    fn fault(&mut self, name: &str, kind: FaultKind) {
        let path = if name.is_empty() { self.dir.clone() } else { self.dir.join(name) };
        self.verdict.faults.push(Fault { path, kind });
    }
}

/// What a look through one segment found.
struct Scan {
    length: u64,
    /// Where the last batch ends that checks out.
    size: u32,
    damaged: Vec<Range<Offset>>,
    /// Where batches stand that check out.
    places: Vec<(Offset, u32)>,
}
