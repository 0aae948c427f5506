//! Looking for damage before a reader meets it.

use crate::core::lock;
use crate::error::ReadError;
use crate::log::Log;
use crate::scan::check_prefix;
use highwater_env::Env;
use highwater_records::BatchHeader;
use highwater_types::Offset;

/// How much is read at a time.
const PIECE_BYTES: usize = 1 << 20;

impl<E: Env> Log<E> {
    /// Checks closed segments against their checksums, from the batch that holds `from` on and about as many bytes as
    /// said. What does not check out is noted and told as after any other read: see [`Log::damaged`].
    ///
    /// Returns where to go on, or None when all closed segments have been gone through. Bytes that are in the page
    /// cache are taken from there, whatever became of them on the disk.
    pub async fn scrub(&self, from: Offset, bytes: usize) -> Result<Option<Offset>, ReadError> {
        let mut at = from.max(self.start_offset());
        let mut left = bytes;
        while left > 0 {
            let closed = lock(&self.0.view).active.index.summary().base;
            if at >= closed {
                return Ok(None);
            }
            let pieces = match self.read_bytes(at, closed, left.min(PIECE_BYTES)).await {
                Ok(pieces) => pieces,
                Err(ReadError::Damaged { to, .. }) => {
                    at = to;
                    continue;
                }
                Err(ReadError::OutOfRange { start, .. }) if at < start => {
                    at = start;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let first = BatchHeader::parse(&pieces).map_or(at, |header| header.base_offset);
            let next = check_prefix(&pieces, first, closed, usize::MAX, false, |_| None).next;
            if next <= at {
                return Ok(None);
            }
            at = next;
            left = left.saturating_sub(pieces.len());
        }
        Ok(Some(at))
    }
}
