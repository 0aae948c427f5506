//! Looking through the segments in which the mark lies and that follow it.

use super::fold::Fold;
use super::{Recovery, bounded_length};
use crate::core::FileOf;
use crate::files::{SEGMENT_HEADER_BYTES, segment_name};
use crate::index::IndexBuilder;
use crate::scan::{Scanned, Scanner, TAIL_SEARCH_BYTES, find_batch, follows};
use highwater_env::{Disk, Env, File, OpenMode};
use highwater_types::{LeaderEpoch, Offset, Timestamp};
use std::io;

/// What was found from the segment of the mark on.
pub(super) struct TailScan<F> {
    /// Where the log ends: behind the last batch that checks out, and not before the mark.
    pub end: Offset,
    /// The segment that holds the end of the proven part.
    pub proven: Option<ProvenPart<F>>,
    /// What lies beyond the mark and checks out, per segment.
    pub pieces: Vec<Piece<F>>,
    /// Segments that belong to the log no more.
    pub dropped: Vec<Offset>,
}

/// The proven batches of the segment in which the mark lies.
pub(super) struct ProvenPart<F> {
    pub base: Offset,
    pub file: F,
    pub created: Timestamp,
    pub length: u32,
    pub index: IndexBuilder,
    /// The batches reach the mark, and the file was proven to exist: appending can go on in it.
    pub usable: bool,
}

/// Unproven batches of one segment that check out.
pub(super) struct Piece<F> {
    pub base: Offset,
    pub file: F,
    pub created: Timestamp,
    /// Where they stand in the file.
    pub from: u32,
    pub to: u32,
    /// Their index in a segment of their own.
    pub index: IndexBuilder,
}

/// How far the scan has come.
struct Progress {
    at: Offset,
    epoch: LeaderEpoch,
    /// The tail was cut.
    cut: bool,
}

impl<E: Env> Recovery<'_, E> {
    /// Looks through the segments `bases`, of which the first may have proven batches.
    pub(super) async fn scan_tail(
        &mut self,
        bases: &[Offset],
        base: Offset,
        fold: &mut Fold,
    ) -> io::Result<TailScan<FileOf<E>>> {
        let mut scan = TailScan { end: base, proven: None, pieces: Vec::new(), dropped: Vec::new() };
        // Behind a gap at the mark nothing can be told from leftovers.
        let at = base.min(self.mark.proven);
        let mut progress = Progress { at, epoch: LeaderEpoch::NONE, cut: false };
        if base > self.mark.start && self.listing.segments.first().is_none_or(|&first| first >= base) {
            self.damage(self.mark.start..base.min(self.mark.proven));
        }
        for (number, &base) in bases.iter().enumerate() {
            let next = bases.get(number + 1).copied().unwrap_or(Offset(i64::MAX));
            if progress.cut || base != progress.at {
                self.drop_segment(base, progress.at).await?;
                scan.dropped.push(base);
                progress.cut = true;
            } else {
                self.scan_tail_segment(base, next, &mut progress, &mut scan, fold).await?;
            }
            if progress.at < self.mark.proven {
                // The file ends before the mark, or nothing that checks out follows in it.
                self.damage(progress.at..self.mark.proven.min(next));
                progress.at = self.mark.proven.min(next);
            }
        }
        if progress.at < self.mark.proven {
            self.damage(progress.at..self.mark.proven);
            progress.at = self.mark.proven;
        }
        scan.end = progress.at;
        Ok(scan)
    }

    /// Looks through one segment up to the offset `next`, where the next segment begins.
    async fn scan_tail_segment(
        &mut self,
        base: Offset,
        next: Offset,
        progress: &mut Progress,
        scan: &mut TailScan<FileOf<E>>,
        fold: &mut Fold,
    ) -> io::Result<()> {
        let mark = self.mark;
        let file = self.disk().open(&self.dir.join(segment_name(base)), OpenMode::Write).await?;
        let length = bounded_length(file.len().await?)?;
        let header = self.read_header(&file, base).await?;
        let file_proven = base < mark.proven || (base == mark.proven && base == mark.segment);
        if header.is_none() && file_proven && length > 0 {
            self.report.bad_segment_headers += 1;
        }
        let created = header.map_or_else(|| self.core.env.clock().wall(), |header| header.created);
        let mut proven = IndexBuilder::new(base);
        let mut piece: Option<Piece<FileOf<E>>> = None;
        let mut landmark = false;
        let mut scanner = Scanner::new(file.clone(), SEGMENT_HEADER_BYTES.min(length), length);
        loop {
            let position = scanner.position();
            let found = scanner.next(true).await;
            match found {
                Scanned::End => break,
                Scanned::Batch(batch) if batch.base_offset >= next => break,
                Scanned::Batch(batch)
                    if follows(&batch, progress.at, next, progress.epoch) && fold.epoch_fits(&batch) =>
                {
                    if batch.next_offset() <= mark.proven {
                        proven.push_at(&batch, position, self.hint.interval, landmark);
                    } else {
                        let piece = piece.get_or_insert_with(|| Piece {
                            base: batch.base_offset,
                            file: file.clone(),
                            created,
                            from: position,
                            to: position,
                            index: IndexBuilder::new(batch.base_offset),
                        });
                        piece.index.push(&batch, self.hint.interval, false);
                        piece.to = scanner.position();
                    }
                    (progress.at, progress.epoch, landmark) =
                        (batch.next_offset(), batch.leader_epoch, false);
                    fold.take(&batch);
                }
                _ if progress.at < mark.proven => {
                    let wanted = progress.at.next()..mark.proven.next().min(next);
                    match find_batch(&file, position, length, wanted, length).await {
                        Some((position, base)) => {
                            self.damage(progress.at..base);
                            scanner.seek(position);
                            (progress.at, landmark) = (base, true);
                        }
                        None => break,
                    }
                }
                // What cannot be read may be what was acknowledged last: no reason to cut it.
                Scanned::Unreadable => return Err(unreadable(base, position)),
                _ => {
                    self.cut_tail(&file, position, length, progress.at).await;
                    progress.cut = true;
                    break;
                }
            }
        }
        if file_proven {
            let reached = piece.is_some() || progress.at == mark.proven;
            let whole = proven.summary().end == piece.as_ref().map_or(mark.proven, |piece| piece.base);
            let usable = reached && whole && header.is_some();
            scan.proven = Some(ProvenPart { base, file, created, length, index: proven, usable });
        } else if piece.is_none() {
            // Begun, but without a batch: the log's next segment is made anew.
            scan.dropped.push(base);
        }
        scan.pieces.extend(piece);
        Ok(())
    }

    /// Notes a cut, and whether what stands behind it looks like batches of this log.
    async fn cut_tail(&mut self, file: &FileOf<E>, position: u32, length: u32, at: Offset) {
        self.report.cut_bytes += u64::from(length - position);
        let wanted = at.next()..Offset(at.0.saturating_add(i64::from(i32::MAX)));
        if find_batch(file, position, length, wanted, TAIL_SEARCH_BYTES).await.is_some() {
            self.report.batches_behind_cut = true;
        }
    }

    /// Notes that a whole segment is cut, because what came before it is missing.
    async fn drop_segment(&mut self, base: Offset, at: Offset) -> io::Result<()> {
        let file = self.disk().open(&self.dir.join(segment_name(base)), OpenMode::Read).await?;
        let length = bounded_length(file.len().await?)?;
        self.report.cut_bytes += u64::from(length.saturating_sub(SEGMENT_HEADER_BYTES));
        let mut scanner = Scanner::new(file, SEGMENT_HEADER_BYTES.min(length), length);
        if let Scanned::Batch(batch) = scanner.next(true).await {
            self.report.batches_behind_cut |= batch.base_offset >= at;
        }
        Ok(())
    }
}

fn unreadable(base: Offset, position: u32) -> io::Error {
    let text = format!("position {position} of segment {base}, beyond the proven mark, cannot be read");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
