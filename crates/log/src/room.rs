//! Room on the disk ahead of a log's end.
//!
//! A file system that gives out room while it is written to does so page by page, which takes a third of the time of
//! a write into its cache. Room that was reserved before is found at once. How much is reserved grows with the
//! segment, so that a small log takes no more of the disk than its records.

use crate::append::Appender;
use highwater_env::File;

/// As much is reserved as this part of what the segment holds: one part in so many.
const SHARE: u32 = 4;
/// Less is not worth a call.
const LEAST_BYTES: u32 = 1 << 20;
/// More is not reserved at once.
const MOST_BYTES: u32 = 16 << 20;

impl<F: File> Appender<F> {
    /// Sees that there is room for what is going to be written up to `end`, and for some more, if it is that time.
    pub(crate) async fn reserve(&mut self, end: u32) {
        if end <= self.reserved {
            return;
        }
        let ahead = (end / SHARE).min(MOST_BYTES).min(self.config.segment_bytes.saturating_sub(end));
        if ahead < LEAST_BYTES {
            return;
        }
        let from = self.position.max(self.reserved);
        // Only makes writes cheaper: if it fails, it is tried again further on.
        self.reserved = end + ahead;
        let _ = self.file.allocate(from.into(), (self.reserved - from).into()).await;
    }

    /// Gives back what was reserved behind the end of a segment that is to be closed.
    pub(crate) async fn release(&mut self) {
        if self.reserved > self.position {
            self.reserved = self.position;
            // Not needed for anything but room: the file keeps its length.
            let _ = self.file.set_len(self.position.into()).await;
        }
    }
}
