//! Making the log what recovery found: the tail written anew, everything else cut.

use super::tail::{Piece, TailScan};
use super::{Recovery, read_index, remove_segment};
use crate::checkpoint::create;
use crate::core::FileOf;
use crate::files::{SEGMENT_HEADER_BYTES, SegmentHeader, TEMPORARY, index_name, segment_name};
use crate::index::IndexBuilder;
use crate::scan::copy_batches;
use crate::segment::{Active, Sealed};
use highwater_env::{Disk, Env, Event, File, OpenMode};
use highwater_types::{Offset, Timestamp, mutant};
use std::io;
use std::sync::Arc;

impl<E: Env> Recovery<'_, E> {
    /// Brings the files in line with the scan, durably, and returns the segment that is appended to.
    ///
    /// The order matters. First the tail is copied, then the copies take their places, then what they replace is
    /// cut. A crash between two of these steps leaves the batches in both files, and the next recovery believes the
    /// later segment.
    pub(super) async fn settle(
        &mut self,
        scan: TailScan<FileOf<E>>,
        sealed: &mut Vec<Arc<Sealed>>,
    ) -> io::Result<Active<FileOf<E>>> {
        let TailScan { end, proven, pieces, dropped } = scan;
        for piece in &pieces {
            self.copy(piece).await?;
        }
        for &base in &dropped {
            remove_segment(self.disk(), &self.dir, base).await?;
        }
        for piece in &pieces {
            let name = segment_name(piece.base);
            self.disk().rename(&self.dir.join(format!("{name}{TEMPORARY}")), &self.dir.join(name)).await?;
            self.forget_index(piece.base).await?;
        }
        if !(pieces.is_empty() && dropped.is_empty()) {
            self.disk().sync_dir(&self.dir).await?;
        }
        let mut usable = None;
        if let Some(part) = proven {
            let summary = *part.index.summary();
            // The rewritten tail may have taken the place of this file.
            let replaced = pieces.first().is_some_and(|piece| piece.base == part.base);
            if !replaced && summary.size < part.length && part.usable {
                part.file.set_len(u64::from(summary.size)).await?;
                part.file.sync_data().await?;
            }
            if pieces.is_empty() && part.usable {
                let index = self.active_index(part.index).await?;
                usable = Some(self.active(part.file, part.created, index));
            } else if part.base < end && !replaced {
                let mut index = self.stale_index(part.index).await?.finish();
                index.summary.end = pieces.first().map_or(end, |piece| piece.base);
                sealed.push(Sealed::new(self.core.next_key(), index.summary, Some(index)));
            }
        }
        if let Some(active) = usable {
            return Ok(active);
        }
        self.begin_active(end, pieces, sealed).await
    }

    /// The index of the segment that is appended to: the one just made. Its file, if there is one, is of an earlier
    /// time, and says nothing of the batches since.
    async fn active_index(&self, made: IndexBuilder) -> io::Result<IndexBuilder> {
        let base = made.summary().base;
        let made = self.stale_index(made).await?;
        self.forget_index(base).await?;
        Ok(made)
    }

    /// The planted bug `index-trusted`: the index as a file has it that was written before the unclean stop.
    async fn stale_index(&self, made: IndexBuilder) -> io::Result<IndexBuilder> {
        if !mutant!("index-trusted") {
            return Ok(made);
        }
        let path = self.dir.join(index_name(made.summary().base));
        Ok(match read_index(self.disk(), &path).await? {
            Some(stale) => made.with_stale(stale),
            None => made,
        })
    }

    /// The last piece is appended to; without any, a new segment is.
    async fn begin_active(
        &mut self,
        end: Offset,
        pieces: Vec<Piece<FileOf<E>>>,
        sealed: &mut Vec<Arc<Sealed>>,
    ) -> io::Result<Active<FileOf<E>>> {
        let mut last = None;
        let count = pieces.len();
        for (number, piece) in pieces.into_iter().enumerate() {
            if number + 1 < count {
                let index = piece.index.finish();
                sealed.push(Sealed::new(self.core.next_key(), index.summary, Some(index)));
            } else {
                last = Some(piece);
            }
        }
        if let Some(piece) = last {
            let path = self.dir.join(segment_name(piece.base));
            let file = self.disk().open(&path, OpenMode::Write).await?;
            return Ok(self.active(file, piece.created, piece.index));
        }
        let created = self.core.env.clock().wall();
        let file = self.new_segment(end, created).await?;
        let name = segment_name(end);
        file.sync_data().await?;
        self.disk().rename(&self.dir.join(format!("{name}{TEMPORARY}")), &self.dir.join(&name)).await?;
        self.forget_index(end).await?;
        self.disk().sync_dir(&self.dir).await?;
        let file = self.disk().open(&self.dir.join(&name), OpenMode::Write).await?;
        Ok(self.active(file, created, IndexBuilder::new(end)))
    }

    /// A new segment file under a temporary name, with its header.
    async fn new_segment(&self, base: Offset, created: Timestamp) -> io::Result<FileOf<E>> {
        let path = self.dir.join(format!("{}{TEMPORARY}", segment_name(base)));
        let file = create(self.disk(), &path).await?;
        let header = SegmentHeader { log: self.id, base, created };
        file.write_at(0, vec![header.encode()]).await?;
        Ok(file)
    }

    /// Copies a piece of the tail into a file of its own, and syncs that.
    async fn copy(&mut self, piece: &Piece<FileOf<E>>) -> io::Result<()> {
        self.core.env.observe(&Event::Reached("log: unproven tail rewritten"));
        let copy = self.new_segment(piece.base, piece.created).await?;
        let offsets = piece.base..piece.index.summary().end;
        let first = u64::from(SEGMENT_HEADER_BYTES);
        let end = copy_batches((&piece.file, piece.from..piece.to), offsets, (&copy, first)).await?;
        self.report.rewritten_bytes += end - first;
        copy.sync_data().await
    }

    /// Removes the index file of a segment that changes.
    async fn forget_index(&self, base: Offset) -> io::Result<()> {
        match self.disk().remove_file(&self.dir.join(index_name(base))).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
