//! Looking for damage before a reader meets it.

use crate::error::ReadError;
use crate::log::Log;
use crate::scan::check_prefix;
use highwater_env::Env;
use highwater_records::BatchHeader;
use highwater_types::Offset;

/// How much is read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What a part of a scrub did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// Where to go on; None when all of the log has been gone through.
    pub next: Option<Offset>,
    /// How many bytes check out.
    pub bytes: usize,
}

impl<E: Env> Log<E> {
    /// Checks what is on disk against its checksums, from the batch that holds `from` on and about as many bytes as
    /// said. What does not check out is noted and told as after any other read: see [`Log::damaged`].
    ///
    /// Bytes that are in the page cache are taken from there, whatever became of them on the disk.
    pub async fn scrub(&self, from: Offset, bytes: usize) -> Result<Scrubbed, ReadError> {
        let mut at = from.max(self.start_offset());
        let mut done = 0;
        while done < bytes {
            let end = self.synced_end();
            if at >= end {
                return Ok(Scrubbed { next: None, bytes: done });
            }
            let pieces = match self.read_checked(at, end, (bytes - done).min(PIECE_BYTES)).await {
                Ok(pieces) => pieces,
                Err(ReadError::Damaged { to, .. }) => {
                    at = to;
                    continue;
                }
                Err(ReadError::OutOfRange { start, .. }) if at < start => {
                    at = start;
                    continue;
                }
                // It was cut back meanwhile.
                Err(ReadError::OutOfRange { .. }) => return Ok(Scrubbed { next: None, bytes: done }),
                Err(error) => return Err(error),
            };
            let first = BatchHeader::parse(&pieces).map_or(at, |header| header.base_offset);
            let next = check_prefix(&pieces, first, end, usize::MAX, false, |_| true).next;
            if next <= at {
                return Ok(Scrubbed { next: None, bytes: done });
            }
            at = next;
            done += pieces.len();
        }
        Ok(Scrubbed { next: Some(at), bytes: done })
    }
}
