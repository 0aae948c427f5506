//! Reading a closed segment piece by piece, all of it checked.

use crate::core::{FileOf, lock};
use crate::epochs::Epochs;
use crate::error::LogError;
use crate::files::SEGMENT_HEADER_BYTES;
use crate::log::Log;
use crate::scan::{CHUNK_BYTES, Prefix, Stop, check_prefix};
use crate::segment::Sealed;
use bytes::Bytes;
use highwater_env::{Env, File};
use highwater_records::{BatchHeader, HEADER_BYTES};
use highwater_types::{Offset, Timestamp};
use std::io;
use std::sync::Arc;

/// The batches of a closed segment, in pieces of whole batches.
pub(super) struct Chunks<'a, E: Env> {
    log: &'a Log<E>,
    segment: Arc<Sealed>,
    pub(super) file: FileOf<E>,
    epochs: Epochs,
    position: u32,
    at: Offset,
}

impl<'a, E: Env> Chunks<'a, E> {
    pub(super) async fn open(log: &'a Log<E>, segment: Arc<Sealed>) -> Result<Self, LogError> {
        let file = log.sealed_file(&segment).await?.ok_or(io::ErrorKind::NotFound);
        let file = file.map_err(io::Error::from)?;
        let summary = &segment.summary;
        let epochs = lock(&log.0.view).epochs.within(summary.base, summary.end);
        let at = summary.base;
        Ok(Self { log, segment, file, epochs, position: SEGMENT_HEADER_BYTES, at })
    }

    /// The next piece; None at the segment's end.
    ///
    /// What does not check out is noted as damage, and ends it all: compaction goes on when it was put back.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, LogError> {
        let size = self.segment.summary.size;
        let end = self.segment.summary.end;
        let mut wanted = CHUNK_BYTES;
        while self.at < end {
            let length = wanted.min(size.saturating_sub(self.position));
            let bytes = self.file.read_at(u64::from(self.position), length as usize).await?;
            let admits = |header: &BatchHeader| self.epochs.admits(header);
            let Prefix { length: whole, next, stop, .. } =
                check_prefix(&bytes, self.at, end, usize::MAX, true, admits);
            if whole > 0 {
                self.position += u32::try_from(whole).expect("no more than was asked for");
                self.at = next;
                return Ok(Some(bytes.slice(..whole)));
            }
            match stop {
                Stop::Partial(needed) if needed > bytes.len() && length == wanted => {
                    wanted = u32::try_from(needed).unwrap_or(u32::MAX);
                }
                _ => {
                    self.log.rescan_sealed(&self.segment, &self.file).await?;
                    let text = format!("the batch at {} does not check out", self.at);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text).into());
                }
            }
        }
        Ok(None)
    }
}

impl<E: Env> Log<E> {
    /// The time of a segment's first batch; None if it cannot be read.
    pub(super) async fn first_time_of(&self, segment: &Sealed) -> Option<Timestamp> {
        let file = self.sealed_file(segment).await.ok().flatten()?;
        let head = file.read_at(u64::from(SEGMENT_HEADER_BYTES), HEADER_BYTES).await.ok()?;
        BatchHeader::parse(&head).ok().map(|header| header.max_timestamp)
    }
}
