//! Reading.
//!
//! Two ways lead to a reader. What this process appended a short while ago is named as a range of its file, found in
//! memory, and may be sent from the page cache as it is. Everything else is read and checked, and the reader gets
//! the very bytes that were checked.

use crate::core::{FileOf, lock};
use crate::epochs::Epochs;
use crate::error::ReadError;
use crate::files::{DELETED, index_name, segment_name};
use crate::index::{Index, Span, Summary};
use crate::log::{Log, View};
use crate::recovery::read_index;
use crate::report::ReadSlice;
use crate::scan::{Prefix, Stop, check_prefix, scan_segment};
use crate::segment::Sealed;
use crate::window::WindowQuery;
use bytes::Bytes;
use highwater_env::{Disk, Env, Event, File, OpenMode};
use highwater_records::BatchHeader;
use highwater_types::{Offset, mutant};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How often a read starts over because a segment was removed, truncated or found damaged meanwhile.
const ATTEMPTS: usize = 4;

/// What a reader asks for.
#[derive(Clone, Copy, Debug)]
struct Query {
    from: Offset,
    up_to: Offset,
    max_bytes: usize,
    at_least_one: bool,
    /// What was appended a short while ago need not be checked again.
    trusting: bool,
}

/// Where the answer is.
enum Plan<F> {
    Nothing,
    Window { file: F, position: u32, length: u32 },
    Active(Source<F>),
    Sealed { segment: Arc<Sealed>, up_to: Offset, epochs: Epochs, generation: u64 },
}

/// A part of a file in which the answer is.
struct Source<F> {
    file: F,
    /// None for the active segment.
    sealed: Option<Arc<Sealed>>,
    base: Offset,
    span: Span,
    /// Where the segment's batches end, as an offset and a position.
    end: Offset,
    size: u32,
    up_to: Offset,
    epochs: Epochs,
    generation: u64,
}

/// What came of reading a source.
enum Outcome {
    Found(Bytes),
    /// Something there does not check out.
    Broken,
}

impl<E: Env> Log<E> {
    /// Reads whole batches of one segment: from the one that holds `from`, none reaching beyond `up_to`, and at most
    /// `max_bytes`; with `at_least_one`, the first batch even if it is larger. Empty if there is nothing (yet).
    ///
    /// Offsets that are damaged end the answer; a read that starts at one fails with [`ReadError::Damaged`].
    pub async fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<ReadSlice<FileOf<E>>, ReadError> {
        self.answer(&Query { from, up_to, max_bytes, at_least_one, trusting: true }).await
    }

    /// [`Log::read`] of bytes that are all checked now, and at least one batch.
    pub(crate) async fn read_checked(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
    ) -> Result<Bytes, ReadError> {
        let query = Query { from, up_to, max_bytes, at_least_one: true, trusting: false };
        match self.answer(&query).await? {
            ReadSlice::Checked(bytes) => Ok(bytes),
            ReadSlice::Verified { .. } => unreachable!("only a reader that trusts is given a range"),
        }
    }

    async fn answer(&self, query: &Query) -> Result<ReadSlice<FileOf<E>>, ReadError> {
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            let source = match self.plan(query)? {
                Plan::Nothing => return Ok(ReadSlice::Checked(Bytes::new())),
                Plan::Window { file, position, length } => {
                    let (position, length) = (u64::from(position), length as usize);
                    return Ok(ReadSlice::Verified { file, position, length });
                }
                Plan::Active(source) => source,
                Plan::Sealed { segment, up_to, epochs, generation } => {
                    match self.sealed_source(query, segment, up_to, epochs, generation).await? {
                        Some(source) => source,
                        None => continue,
                    }
                }
            };
            match self.read_source(query, &source).await {
                Ok(Outcome::Found(bytes)) => return Ok(ReadSlice::Checked(bytes)),
                Ok(Outcome::Broken) => self.examine(&source).await?,
                Err(error) => {
                    // A bad sector is damage like any other, if it stays bad.
                    tracing::warn!(log = %self.id(), %error, "cannot read a segment");
                    self.examine(&source).await?;
                    failure = Some(error);
                }
            }
        }
        Err(ReadError::Io(failure.unwrap_or_else(|| {
            let text = "the segment does not check out, though another look found no damage";
            io::Error::new(io::ErrorKind::InvalidData, text)
        })))
    }

    /// [`Log::read`] where the answer needs no look at the disk; None where it does.
    pub fn read_at_once(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Option<Result<ReadSlice<FileOf<E>>, ReadError>> {
        match self.plan(&Query { from, up_to, max_bytes, at_least_one, trusting: true }) {
            Ok(Plan::Nothing) => Some(Ok(ReadSlice::Checked(Bytes::new()))),
            Ok(Plan::Window { file, position, length }) => {
                Some(Ok(ReadSlice::Verified { file, position: u64::from(position), length: length as usize }))
            }
            Ok(Plan::Active(_) | Plan::Sealed { .. }) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// [`Log::read`] that always gives bytes.
    pub(crate) async fn read_bytes(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
    ) -> Result<Bytes, ReadError> {
        match self.read(from, up_to, max_bytes, true).await? {
            ReadSlice::Checked(bytes) => Ok(bytes),
            ReadSlice::Verified { file, position, length } => Ok(file.read_at(position, length).await?),
        }
    }

    /// Finds where the answer is, in memory.
    fn plan(&self, query: &Query) -> Result<Plan<FileOf<E>>, ReadError> {
        if self.is_deleted() {
            return Err(ReadError::Closed);
        }
        let poisoned = self.is_poisoned();
        let view = lock(&self.0.view);
        let (start, end) = (self.start_offset(), self.end_offset());
        let from = query.from;
        if from < start || from > end {
            return Err(ReadError::OutOfRange { start, end });
        }
        let up_to = view.undamaged(from, query.up_to.min(end))?;
        if from >= up_to {
            return Ok(Plan::Nothing);
        }
        let active = &view.active;
        let summary = *active.index.summary();
        if from < summary.base {
            let after = view.sealed.partition_point(|segment| segment.summary.base <= from);
            let Some(segment) = after.checked_sub(1).and_then(|found| view.sealed.get(found)) else {
                return Err(ReadError::OutOfRange { start, end });
            };
            let up_to = up_to.min(segment.summary.end);
            let epochs = view.epochs.within(from, up_to);
            let (segment, generation) = (Arc::clone(segment), view.generation);
            return Ok(Plan::Sealed { segment, up_to, epochs, generation });
        }
        let window = WindowQuery {
            from,
            up_to,
            max_bytes: query.max_bytes,
            at_least_one: query.at_least_one,
            oldest_stamp: self.oldest_stamp(),
        };
        // After a failed sync the page cache may no longer hold what was written.
        if let Some((position, length)) = active.window.find(&window).filter(|_| query.trusting && !poisoned)
        {
            return Ok(match length {
                0 => Plan::Nothing,
                _ => Plan::Window { file: active.file.clone(), position, length },
            });
        }
        let Some(span) = active.index.span(from) else { return Ok(Plan::Nothing) };
        Ok(Plan::Active(Source {
            file: active.file.clone(),
            sealed: None,
            base: summary.base,
            span,
            end: summary.end,
            size: summary.size,
            up_to,
            epochs: view.epochs.within(span.offset, up_to),
            generation: view.generation,
        }))
    }

    /// The stamp from which on batches can be expected in the page cache.
    fn oldest_stamp(&self) -> u64 {
        let core = &self.0.core;
        core.cached_bytes.load(Ordering::Relaxed).saturating_sub(core.options.verified_window_bytes)
    }

    /// Opens the file of a sealed segment and looks into its index. None to start over.
    async fn sealed_source(
        &self,
        query: &Query,
        sealed: Arc<Sealed>,
        up_to: Offset,
        epochs: Epochs,
        generation: u64,
    ) -> Result<Option<Source<FileOf<E>>>, ReadError> {
        let Some(file) = self.sealed_file(&sealed).await? else { return Ok(None) };
        let index = self.sealed_index(&sealed, &file).await?;
        let Some(span) = index.span(query.from) else {
            // Nothing in the segment checks out up to there; the next attempt finds that noted.
            return Ok(None);
        };
        let Summary { base, end, size, .. } = sealed.summary;
        let sealed = Some(sealed);
        Ok(Some(Source { file, sealed, base, span, end, size, up_to, epochs, generation }))
    }

    /// The file of a sealed segment; None if the segment is gone.
    pub(crate) async fn sealed_file(&self, sealed: &Sealed) -> io::Result<Option<FileOf<E>>> {
        if let Some(file) = lock(&self.0.core.files).get(sealed.key) {
            return Ok(Some(file));
        }
        let path = sealed.path(&self.0.dir);
        let disk = self.0.core.env.disk();
        let file = match disk.open(&path, OpenMode::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound && sealed.is_removed() => {
                let name = format!("{}{DELETED}", segment_name(sealed.summary.base));
                match disk.open(&self.0.dir.join(name), OpenMode::Read).await {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    result => result?,
                }
            }
            result => result?,
        };
        lock(&self.0.core.files).insert(sealed.key, file.clone(), 1);
        Ok(Some(file))
    }

    /// The index of a sealed segment: from memory, from its file, or made anew.
    pub(crate) async fn sealed_index(
        &self,
        sealed: &Arc<Sealed>,
        file: &FileOf<E>,
    ) -> io::Result<Arc<Index>> {
        if let Some(index) = sealed.pinned() {
            return Ok(index);
        }
        if let Some(index) = lock(&self.0.core.indexes).get(sealed.key) {
            return Ok(index);
        }
        let path = self.0.dir.join(index_name(sealed.summary.base));
        let found = read_index(self.0.core.env.disk(), &path).await?;
        match found.filter(|index| index.summary == sealed.summary) {
            Some(index) => {
                let index = Arc::new(index);
                let weight = index.memory_bytes();
                lock(&self.0.core.indexes).insert(sealed.key, Arc::clone(&index), weight);
                Ok(index)
            }
            None => {
                self.0.core.env.observe(&Event::Reached("log: index made anew"));
                self.rescan_sealed(sealed, file).await
            }
        }
    }

    /// Reads a sealed segment through: notes what is damaged, and makes the index anew.
    pub(crate) async fn rescan_sealed(
        &self,
        sealed: &Arc<Sealed>,
        file: &FileOf<E>,
    ) -> io::Result<Arc<Index>> {
        let summary = &sealed.summary;
        let interval = self.config().index_interval_bytes;
        let (epochs, generation) = {
            let view = lock(&self.0.view);
            (view.epochs.within(summary.base, summary.end), view.generation)
        };
        let scan =
            scan_segment(file, summary.base, summary.end, summary.size, interval, &epochs, |_, _| {}).await;
        let index = Arc::new(Index { summary: *summary, entries: scan.index.finish().entries });
        if lock(&self.0.view).generation != generation || sealed.is_removed() {
            return Ok(index);
        }
        self.note_damage(&scan.damaged);
        if let Err(error) = self.store_index(&index).await {
            tracing::warn!(log = %self.id(), %error, "cannot write an index");
        }
        let weight = index.memory_bytes();
        lock(&self.0.core.indexes).insert(sealed.key, Arc::clone(&index), weight);
        // The one that has no file yet was found wanting.
        sealed.unpin();
        Ok(index)
    }

    /// Reads and checks the batches of a source.
    async fn read_source(&self, query: &Query, source: &Source<FileOf<E>>) -> io::Result<Outcome> {
        let check = !mutant!("read-rot");
        let admits = |header: &BatchHeader| source.epochs.admits(header);
        let Span { offset, position, next } = source.span;
        // The batch that holds the wanted offset begins before the next one that the index knows.
        let lead = (next - position) as usize;
        let room = (source.size - position) as usize;
        let buffer = self.read_file(source, position, lead.saturating_add(query.max_bytes).min(room)).await?;
        let skipped = check_prefix(&buffer, offset, query.from, usize::MAX, check, admits);
        if skipped.stop != Stop::Bound || skipped.next > query.from {
            return Ok(Outcome::Broken);
        }
        let start = position + skipped.length as u32;
        let mut rest = buffer.slice(skipped.length..);
        loop {
            let first = BatchHeader::parse(&rest).map_or(0, |header| header.size_bytes());
            let limit = if query.at_least_one { query.max_bytes.max(first) } else { query.max_bytes };
            let found = check_prefix(&rest, skipped.next, source.up_to, limit, check, admits);
            let Prefix { length, mut stop, .. } = found;
            if length > 0 {
                return Ok(Outcome::Found(rest.slice(..length)));
            }
            if stop == Stop::Bound {
                // A damaged header may claim any end: only a batch that checks out is beyond the caller's bounds.
                let alone = check_prefix(&rest, skipped.next, source.end, first, check, admits);
                if alone.length > 0 {
                    return Ok(Outcome::Found(Bytes::new()));
                }
                stop = alone.stop;
            }
            match stop {
                Stop::Partial(needed) if needed > rest.len() && needed <= (source.size - start) as usize => {
                    let before = rest.len();
                    rest = self.read_file(source, start, needed).await?;
                    if rest.len() <= before {
                        return Ok(Outcome::Broken);
                    }
                }
                Stop::Partial(_) | Stop::Broken | Stop::Bound => return Ok(Outcome::Broken),
            }
        }
    }

    async fn read_file(&self, source: &Source<FileOf<E>>, position: u32, length: usize) -> io::Result<Bytes> {
        let bytes = source.file.read_at(u64::from(position), length).await?;
        self.0.core.cached_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Finds out why a source does not check out: the log may have been truncated, the index wrong, or bytes damaged.
    async fn examine(&self, source: &Source<FileOf<E>>) -> io::Result<()> {
        let _turn = self.0.examine_turn.lock().await;
        if lock(&self.0.view).generation != source.generation {
            return Ok(());
        }
        if let Some(sealed) = &source.sealed {
            self.rescan_sealed(sealed, &source.file).await?;
            return Ok(());
        }
        let interval = self.config().index_interval_bytes;
        let epochs = lock(&self.0.view).epochs.within(source.base, source.end);
        let scan =
            scan_segment(&source.file, source.base, source.end, source.size, interval, &epochs, |_, _| {})
                .await;
        let mut view = lock(&self.0.view);
        if view.generation == source.generation {
            if view.active.index.summary().base == source.base {
                view.active.index.correct(scan.index.entries(), source.end);
            }
            drop(view);
            self.note_damage(&scan.damaged);
        }
        Ok(())
    }

    /// Quarantines damaged offsets.
    pub(crate) fn note_damage(&self, damaged: &[Range<Offset>]) {
        if self.0.half_way.load(Ordering::Acquire) {
            return;
        }
        let start = self.start_offset();
        // After a failed sync nobody knows what became of the bytes that it was for. They were promised to nobody, and
        // the next recovery drops them: that is no damage.
        let end = if self.is_poisoned() { self.synced_end() } else { self.end_offset() };
        for range in damaged {
            let range = range.start..range.end.min(end);
            if range.is_empty() || range.end <= start {
                continue;
            }
            let new = lock(&self.0.view).quarantine(range.clone());
            if new {
                let Range { start: from, end: to } = range;
                tracing::error!(log = %self.id(), %from, %to, "stored batches are damaged; they are not served");
                self.0.core.env.observe(&Event::Damaged { log: self.id(), from, to });
                if let Some(observer) = self.observer() {
                    observer.damaged(self.id());
                }
            }
        }
    }
}

impl<F> View<F> {
    /// The offset up to which the log is undamaged from `from` on, at most `up_to`.
    fn undamaged(&self, from: Offset, up_to: Offset) -> Result<Offset, ReadError> {
        let after = self.damaged.partition_point(|range| range.end <= from);
        match self.damaged.get(after) {
            Some(range) if range.start <= from => {
                Err(ReadError::Damaged { from: range.start, to: range.end })
            }
            Some(range) => Ok(up_to.min(range.start)),
            None => Ok(up_to),
        }
    }

    /// Notes damaged offsets; returns whether any of them is new. Ranges that touch are joined.
    fn quarantine(&mut self, range: Range<Offset>) -> bool {
        if self.damaged.iter().any(|known| known.start <= range.start && range.end <= known.end) {
            return false;
        }
        let mut joined = range;
        self.damaged.retain(|known| {
            let apart = known.end < joined.start || joined.end < known.start;
            if !apart {
                joined = known.start.min(joined.start)..known.end.max(joined.end);
            }
            apart
        });
        let at = self.damaged.partition_point(|known| known.start < joined.start);
        self.damaged.insert(at, joined);
        true
    }
}
