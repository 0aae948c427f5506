//! Whether two logs agree.
//!
//! Two records with the same offset and the same leader epoch are the same record, and so are all before them, because
//! one leader of one epoch wrote them. So the epochs of a log and where each began tell up to where two logs agree
//! (KIP-101, KIP-279, KIP-320), without a look at any record.

use highwater_types::{LeaderEpoch, Offset, mutant};

/// What is known of a log without reading it.
pub trait History {
    /// The first offset that can be read.
    fn start(&self) -> Offset;

    /// The offset that the next record gets.
    fn end(&self) -> Offset;

    /// The epoch of the record at an offset; None if the log has none there.
    fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch>;

    /// The largest epoch of the log that is not above `epoch`, and the offset where it ended; None if there is none.
    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;

    /// The epoch of the last record; [`LeaderEpoch::NONE`] if there is no record.
    fn last_epoch(&self) -> LeaderEpoch {
        // Not the latest epoch that the log knows of: a leader notes its epoch before it has written anything.
        match self.end().0.checked_sub(1).map(Offset) {
            Some(last) if last >= self.start() => self.epoch_at(last).unwrap_or(LeaderEpoch::NONE),
            _ => LeaderEpoch::NONE,
        }
    }
}

/// How a reader's log and this one fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Everything that the reader has is the same here.
    Agrees,
    /// They part: here, the largest epoch that is not above the reader's last one is `epoch`, and it ends at `end`.
    Diverges {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The offset after its last record.
        end: Offset,
    },
    /// Nothing can be said, because what the reader has or wants is not in this log, neither before nor behind.
    OutOfRange,
}

/// Compares the log of a reader, which ends at `offset` with a record of the epoch `last_epoch`, with this one. One
/// that has no record, or does not say, is taken at its word ([`LeaderEpoch::NONE`]).
pub fn compare(history: &impl History, offset: Offset, last_epoch: LeaderEpoch) -> Agreement {
    if offset < history.start() {
        return Agreement::OutOfRange;
    }
    if last_epoch == LeaderEpoch::NONE {
        return if offset > history.end() { Agreement::OutOfRange } else { Agreement::Agrees };
    }
    match history.epoch_end(last_epoch) {
        Some((epoch, end)) if epoch < last_epoch || end < offset => {
            if mutant!("trunc-single-step") {
                let end = history.end();
                // Without the epoch, the reader can cut only once, and what it keeps below the end may differ.
                return if end < offset {
                    Agreement::Diverges { epoch: last_epoch, end }
                } else {
                    Agreement::Agrees
                };
            }
            Agreement::Diverges { epoch, end }
        }
        Some(_) => Agreement::Agrees,
        // All that is here is younger than all that the reader has.
        None => Agreement::OutOfRange,
    }
}
