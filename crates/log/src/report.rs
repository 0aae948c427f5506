//! What the store tells its users.

use bytes::Bytes;
use highwater_types::{LeaderEpoch, LogId, Offset, Timestamp};
use std::ops::Range;

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The batch's first offset.
    pub base_offset: Offset,
    /// The offset after the batch's last: durable once the log is synced up to this.
    pub end_offset: Offset,
    /// The batch had been appended before (an idempotent producer's repeat), and nothing was written.
    pub duplicate: bool,
    /// The time of the append, where the log's timestamps are those of appends.
    pub append_time: Option<Timestamp>,
}

/// What one pass of compaction over a log did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// The log.
    pub log: LogId,
    /// Up to here it was compacted before.
    pub from: Offset,
    /// Up to here it is now.
    pub up_to: Offset,
    /// How many bytes the segments had that it looked at.
    pub before_bytes: u64,
    /// How many of them are gone.
    pub saved_bytes: u64,
}

/// Whole batches from one segment.
#[derive(Clone, Debug)]
pub enum ReadSlice<F> {
    /// Bytes of a file that this process appended itself a short while ago: may be sent without another look.
    Verified {
        /// The segment's file.
        file: F,
        /// Where the batches start.
        position: u64,
        /// How many bytes they have.
        length: usize,
    },
    /// Bytes that were read and checked just now.
    Checked(Bytes),
}

impl<F> ReadSlice<F> {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Verified { length, .. } => *length,
            Self::Checked(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The record's offset.
    pub offset: Offset,
    /// The leader epoch of its batch.
    pub epoch: LeaderEpoch,
}

/// Learns what happens to a log. Called from the store's own tasks: must return at once.
pub trait LogObserver: Send + Sync + 'static {
    /// The log grew to `end`, and is on disk up to `synced`. Called once per group commit, not per append.
    fn advanced(&self, log: LogId, end: Offset, synced: Offset);

    /// The log failed: see [`LogError::Poisoned`](crate::LogError::Poisoned).
    fn failed(&self, log: LogId);

    /// Offsets were found damaged that were not known to be: see [`Log::damaged`](crate::Log::damaged).
    fn damaged(&self, log: LogId);
}

/// What opening a log found, and what earlier openings had found of marks, cuts and epochs that were not told of: see
/// [`Log::losses_told`](crate::Log::losses_told).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The log.
    pub log: LogId,
    /// Its first offset.
    pub start: Offset,
    /// Its end offset, all of it durable.
    pub end: Offset,
    /// The mark below which everything was proven durable.
    pub proven: Offset,
    /// Which marks there were.
    pub marks: MarksFound,
    /// Whether the store had been closed cleanly.
    pub clean: bool,
    /// A restart ([`Log::restart_at`](crate::Log::restart_at)) had not ended: it was completed, and the log is empty.
    pub restarted: bool,
    /// How many valid bytes beyond the mark were written anew.
    pub rewritten_bytes: u64,
    /// How many bytes beyond the mark were cut off because they do not check out.
    pub cut_bytes: u64,
    /// Valid-looking batches stood behind the cut: what was cut may be damage rather than a torn write.
    pub batches_behind_cut: bool,
    /// Offsets below the mark that do not check out; none of them is served.
    pub damaged: Vec<Range<Offset>>,
    /// The leader epochs had to be gathered from the batches, because their file was damaged or gone.
    pub epochs_lost: bool,
    /// Segments whose header is damaged; their batches are checked one by one as ever.
    pub bad_segment_headers: usize,
    /// Why the log could not be opened. It takes no appends until the store is opened anew.
    pub failure: Option<String>,
}

impl RecoveryReport {
    /// Whether a person should know of this.
    pub fn is_alarming(&self) -> bool {
        self.batches_behind_cut
            || !self.damaged.is_empty()
            || self.bad_segment_headers > 0
            || self.failure.is_some()
            || self.epochs_lost
            || self.marks != MarksFound::Current
    }
}

impl RecoveryReport {
    /// Whether the log may end before what it once reported as synced, or not know where the histories of replicas
    /// part: files that tell these things were damaged. It is no complete replica before it has caught up with one.
    pub fn may_be_incomplete(&self) -> bool {
        let cut = self.marks == MarksFound::Previous && self.cut_bytes > 0;
        self.epochs_lost || cut || self.marks == MarksFound::Lost
    }
}

/// Which proven marks an opened store had, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarksFound {
    /// The latest ones.
    Current,
    /// The latest ones were damaged, those before them were not.
    Previous,
    /// None that could be read: damage can only be guessed at.
    Lost,
}

/// What a pass of retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanUp {
    /// How many segments.
    pub segments: usize,
    /// How many bytes.
    pub bytes: u64,
    /// How many logs failed on the way; they are tried again in the next pass.
    pub failures: usize,
}
