//! Putting back what is damaged, from another replica.
//!
//! The segment is written anew beside the old file: what checks out of it, and in between what the other replica has.
//! The new file takes the old one's place by a rename. A crash leaves one or the other, and readers have one or the
//! other, with the index that belongs to it.

use crate::checkpoint::create;
use crate::core::{FileOf, lock};
use crate::epochs::Epochs;
use crate::error::LogError;
use crate::files::{SEGMENT_HEADER_BYTES, SegmentHeader, TEMPORARY, index_name, segment_name};
use crate::index::Index;
use crate::log::{Log, View};
use crate::replica::check;
use crate::scan::{copy_batches, scan_segment};
use crate::segment::Sealed;
use bytes::Bytes;
use highwater_env::{Disk, Env, Event, File};
use highwater_records::BatchHeader;
use highwater_types::{Offset, Timestamp, mutant};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What stands for offsets that stay damaged: bytes that are no batch.
const HOLE: &[u8] = &[0; 64];

/// What is to be put back.
struct Patch {
    range: Range<Offset>,
    bytes: Bytes,
    /// The segment that lacks it; None if there is no file for these offsets.
    segment: Option<Arc<Sealed>>,
    /// The offsets that belong into that file.
    room: Range<Offset>,
    epochs: Epochs,
}

/// Batches of the old file that follow each other.
struct Piece {
    offsets: Range<Offset>,
    positions: Range<u32>,
}

/// A segment file in the making.
struct Writer<F> {
    file: F,
    position: u64,
    at: Offset,
}

impl<E: Env> Log<E> {
    /// Puts back batches that are damaged here, as another replica has them; returns their offsets. They are durable,
    /// are served, and count as damaged no more.
    ///
    /// They must be whole and check out, follow each other, and lie within one range of [`Log::damaged`] and one
    /// segment, at either end of that part: a batch with damage on both sides would not be found again. Those that
    /// come behind that part are left out. Their epochs must be those that this log has noted. Otherwise, with
    /// [`LogError::DoesNotFit`], nothing is changed. The whole segment is written anew: better few large repairs than
    /// many small ones.
    pub async fn repair(&self, batches: Bytes) -> Result<Range<Offset>, LogError> {
        let mut headers = check(&batches).map_err(|error| LogError::DoesNotFit(error.to_string()))?;
        let accepted = lock(&self.0.view).accepts(&headers, self.start_offset())?;
        headers.truncate(accepted);
        let range = offsets_of(&headers)?;
        let size: usize = headers.iter().map(|&(_, size)| size as usize).sum();
        let batches = batches.slice(..size);
        self.close_segment_of(range.start).await?;
        self.sync().await?;
        let now = self.0.core.env.clock().wall();
        {
            let _files = self.0.files_turn.lock().await;
            self.ensure_open()?;
            // What is rewritten must lie below the marks on disk: above them, a hole would be the log's end.
            self.0.core.write_marks().await?;
            let patch = {
                let view = lock(&self.0.view);
                if view.accepts(&headers, self.start_offset())? < headers.len() {
                    return Err(LogError::DoesNotFit("they were put back meanwhile, in part".to_owned()));
                }
                view.prepare(&range, batches)
            };
            // What the other replica has may not be compacted as far, and a tombstone here must not go before it.
            self.lower_cleaned(range.start).await?;
            self.apply(patch).await?;
        }
        self.0.core.env.observe(&Event::Reached("log: damage repaired"));
        let Range { start: from, end: to } = range;
        tracing::info!(log = %self.id(), %from, %to, "damaged batches were restored from another replica");
        self.0.core.env.observe(&Event::Repaired { log: self.id(), from, to });
        self.restore_producers(&headers, now).await;
        Ok(range)
    }

    /// Closes the active segment if the offset lies in it.
    async fn close_segment_of(&self, offset: Offset) -> Result<(), LogError> {
        let mut appender = self.0.appender.lock().await;
        self.ensure_open()?;
        if offset >= appender.base && offset < self.end_offset() {
            self.mend(&mut appender).await?;
            let now = self.0.core.env.clock().wall();
            self.roll(&mut appender, now).await?;
        }
        Ok(())
    }

    async fn apply(&self, patch: Patch) -> Result<(), LogError> {
        let disk = self.0.core.env.disk();
        let base = patch.room.start;
        let temporary = self.0.dir.join(format!("{}{TEMPORARY}", segment_name(base)));
        let made = create(disk, &temporary).await?;
        let (index, damaged) = match self.write(made, &patch).await {
            Ok(written) => written,
            Err(error) => {
                let _ = disk.remove_file(&temporary).await;
                return Err(error);
            }
        };
        // Of the old file, whose batches stand elsewhere, or with other times.
        match disk.remove_file(&self.0.dir.join(index_name(base))).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => disk.sync_dir(&self.0.dir).await?,
        }
        if let Some(old) = &patch.segment {
            // Who opens the file of that name from here on must not take what it finds for damage.
            old.mark_removed();
        }
        let placed = async {
            disk.rename(&temporary, &self.0.dir.join(segment_name(base))).await?;
            disk.sync_dir(&self.0.dir).await
        };
        if let Err(error) = placed.await {
            self.poison("put a repaired segment in its place", &error);
            return Err(LogError::Poisoned);
        }
        let stored = self.store_index(&index).await;
        let summary = index.summary;
        let unstored = stored.is_err().then_some(index);
        let sealed = Sealed::new(self.0.core.next_key(), summary, unstored);
        lock(&self.0.view).patch(sealed, &patch.range);
        self.note_damage(&damaged);
        if let Some(old) = patch.segment {
            lock(&self.0.core.files).remove(old.key);
            lock(&self.0.core.indexes).remove(old.key);
        }
        Ok(())
    }

    /// Writes the new file, and looks whether all of it checks out that should.
    /// Returns the file's index, and what is damaged still.
    async fn write(&self, made: FileOf<E>, patch: &Patch) -> Result<(Index, Vec<Range<Offset>>), LogError> {
        let Range { start: base, end } = patch.room;
        let mut created = self.0.core.env.clock().wall();
        let mut writer = Writer { file: made.clone(), position: u64::from(SEGMENT_HEADER_BYTES), at: base };
        let mut pieces = Vec::new();
        let mut source = None;
        if let Some(segment) = &patch.segment {
            let file = self.sealed_file(segment).await?.ok_or_else(gone)?;
            let head = file.read_at(0, SEGMENT_HEADER_BYTES as usize).await?;
            created = SegmentHeader::decode(&head).map_or(created, |header| header.created);
            pieces = self.kept_pieces(segment, &file, patch).await?;
            source = Some(file);
        }
        let header = SegmentHeader { log: self.id(), base, created };
        made.write_at(0, vec![header.encode()]).await?;
        let behind = pieces.iter().position(|piece| piece.offsets.start >= patch.range.end);
        let behind = pieces.split_off(behind.unwrap_or(pieces.len()));
        if let Some(file) = &source {
            writer.copy(file, &pieces).await?;
        }
        writer.put(&patch.range, &patch.bytes).await?;
        if let Some(file) = &source {
            writer.copy(file, &behind).await?;
        }
        made.sync_data().await?;
        let size = u32::try_from(writer.position).ok().filter(|&size| size <= i32::MAX as u32);
        let size = size.ok_or_else(|| LogError::DoesNotFit("the segment would grow too large".to_owned()))?;
        let interval = self.config().index_interval_bytes;
        let scan = scan_segment(&made, base, end, size, interval, &patch.epochs, |_, _| {}).await;
        if scan.damaged.iter().any(|damaged| overlap(damaged, &patch.range)) {
            return Err(
                io::Error::new(io::ErrorKind::InvalidData, "a repaired segment cannot be read").into()
            );
        }
        let mut index = scan.index.finish();
        index.summary.end = end;
        Ok((index, scan.damaged))
    }

    /// The batches of the old file that check out, but for those in whose place others come.
    async fn kept_pieces(
        &self,
        segment: &Sealed,
        file: &FileOf<E>,
        patch: &Patch,
    ) -> Result<Vec<Piece>, LogError> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut straddles = false;
        let summary = &segment.summary;
        let interval = self.config().index_interval_bytes;
        let keep = |header: &BatchHeader, position: u32| {
            let offsets = header.base_offset..header.next_offset();
            if overlap(&offsets, &patch.range) {
                straddles |= offsets.start < patch.range.start || patch.range.end < offsets.end;
                return;
            }
            let end = position + header.size_bytes() as u32;
            match pieces.last_mut() {
                Some(last) if last.offsets.end == offsets.start && last.positions.end == position => {
                    last.offsets.end = offsets.end;
                    last.positions.end = end;
                }
                _ => pieces.push(Piece { offsets, positions: position..end }),
            }
        };
        scan_segment(file, summary.base, summary.end, summary.size, interval, &patch.epochs, keep).await;
        if straddles {
            return Err(LogError::DoesNotFit("batches begin elsewhere here".to_owned()));
        }
        Ok(pieces)
    }

    /// What batches tell of their producers, who may send them again.
    async fn restore_producers(&self, headers: &[(BatchHeader, u32)], now: Timestamp) {
        let produced = || headers.iter().map(|(header, _)| header).filter(|header| header.has_producer());
        if produced().next().is_none() {
            return;
        }
        let snapshot = {
            let mut appender = self.0.appender.lock().await;
            produced().for_each(|header| appender.producers.restore(header, now));
            self.snapshot(&appender.producers, self.end_offset())
        };
        if let Err(error) = self.store_snapshot(snapshot).await {
            tracing::warn!(log = %self.id(), %error, "cannot write a producer snapshot");
        }
    }
}

impl<F> View<F> {
    /// How many of these batches can take the place of what is damaged. Fails if none can.
    fn accepts(&self, headers: &[(BatchHeader, u32)], log_start: Offset) -> Result<usize, LogError> {
        if mutant!("repair-unchecked") {
            return Ok(headers.len());
        }
        let refused = |reason: &str| Err(LogError::DoesNotFit(reason.to_owned()));
        let Range { start, end } = offsets_of(headers)?;
        // The batch that holds the log's start may begin before it.
        let from = start.max(log_start);
        let Some(known) = self.damaged.iter().find(|known| known.contains(&from)) else {
            return refused("these offsets are not damaged");
        };
        let segment = self.segment_of(start);
        let limit = known.end.min(segment.end);
        let count = headers.partition_point(|(header, _)| header.next_offset() <= limit);
        if count == 0 {
            return refused("they reach beyond what is damaged, or into another segment");
        }
        if !headers[..count].iter().all(|(header, _)| self.epochs.admits(header)) {
            return refused("other leader epochs are noted for these offsets");
        }
        let end = headers.get(count).map_or(end, |(header, _)| header.base_offset);
        if start > known.start.max(segment.start) && end < limit {
            return refused("there is damage on both sides");
        }
        Ok(count)
    }

    /// The offsets of the segment that an offset lies in, or of the room for one before the first.
    fn segment_of(&self, offset: Offset) -> Range<Offset> {
        let active = self.active.index.summary();
        if offset >= active.base {
            return active.base..active.end;
        }
        let after = self.sealed.partition_point(|segment| segment.summary.base <= offset);
        match after.checked_sub(1).and_then(|found| self.sealed.get(found)) {
            Some(segment) => segment.summary.base..segment.summary.end,
            None => offset..self.sealed.first().map_or(active.base, |first| first.summary.base),
        }
    }

    /// What is to be done with batches that are accepted and lie in a closed segment.
    fn prepare(&self, range: &Range<Offset>, bytes: Bytes) -> Patch {
        let after = self.sealed.partition_point(|segment| segment.summary.base <= range.start);
        let segment = after.checked_sub(1).map(|found| Arc::clone(&self.sealed[found]));
        let room = self.segment_of(range.start);
        Patch { range: range.clone(), bytes, segment, room, epochs: self.epochs.clone() }
    }

    /// Puts a segment in the place of the one with its base, or before the one that follows it.
    fn patch(&mut self, sealed: Arc<Sealed>, restored: &Range<Offset>) {
        self.generation += 1;
        let at = self.sealed.partition_point(|segment| segment.summary.base < sealed.summary.base);
        match self.sealed.get_mut(at) {
            Some(old) if old.summary.base == sealed.summary.base => *old = sealed,
            _ => self.sealed.insert(at, sealed),
        }
        let damaged = std::mem::take(&mut self.damaged);
        for known in damaged {
            let parts =
                [known.start..known.end.min(restored.start), known.start.max(restored.end)..known.end];
            self.damaged.extend(parts.into_iter().filter(|part| part.start < part.end));
        }
    }
}

impl<F: File> Writer<F> {
    async fn copy(&mut self, from: &F, pieces: &[Piece]) -> io::Result<()> {
        for Piece { offsets, positions } in pieces {
            self.skip_to(offsets.start).await?;
            let to = (&self.file, self.position);
            self.position = copy_batches((from, positions.clone()), offsets.clone(), to).await?;
            self.at = offsets.end;
        }
        Ok(())
    }

    async fn put(&mut self, offsets: &Range<Offset>, bytes: &Bytes) -> io::Result<()> {
        self.skip_to(offsets.start).await?;
        self.file.write_at(self.position, vec![bytes.clone()]).await?;
        self.position += bytes.len() as u64;
        self.at = offsets.end;
        Ok(())
    }

    /// Leaves room for offsets that are damaged still.
    async fn skip_to(&mut self, offset: Offset) -> io::Result<()> {
        if offset > self.at {
            self.file.write_at(self.position, vec![Bytes::from_static(HOLE)]).await?;
            self.position += HOLE.len() as u64;
        }
        Ok(())
    }
}

/// The offsets of batches, if they follow each other.
fn offsets_of(headers: &[(BatchHeader, u32)]) -> Result<Range<Offset>, LogError> {
    let Some((first, _)) = headers.first() else {
        return Err(LogError::DoesNotFit("there is nothing".to_owned()));
    };
    let mut end = first.base_offset;
    for (header, _) in headers {
        if header.base_offset != end || end.0 < 0 {
            return Err(LogError::DoesNotFit("they do not follow each other".to_owned()));
        }
        end = header.next_offset();
    }
    Ok(first.base_offset..end)
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn overlap(one: &Range<Offset>, other: &Range<Offset>) -> bool {
    one.start < other.end && other.start < one.end
}
