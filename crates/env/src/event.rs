//! What a node tells of itself.

use highwater_types::{LeaderEpoch, LogId, Offset, ProducerEpoch, ProducerId, TopicId};

/// Something that happened inside a node. Checkers, traces and reach marks hang on these; production ignores them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A batch stands in a log's page cache.
    Appended {
        /// Which log.
        log: LogId,
        /// The batch's first offset.
        base: Offset,
        /// The batch's last offset.
        last: Offset,
        /// The leader epoch it carries.
        epoch: LeaderEpoch,
        /// Its checksum (CRC-32C of the batch from its attributes on).
        checksum: u32,
        /// Who produced it, if idempotent, with the first sequence number.
        producer: Option<(ProducerId, ProducerEpoch, i32)>,
    },
    /// A log is durable up to an end offset.
    Synced {
        /// Which log.
        log: LogId,
        /// Everything before it is on disk.
        end: Offset,
    },
    /// The high watermark moved.
    HighWatermark {
        /// Which log.
        log: LogId,
        /// Its new value.
        end: Offset,
    },
    /// The first offset that can be read moved: retention or deletion of records.
    LogStart {
        /// Which log.
        log: LogId,
        /// Its new value.
        start: Offset,
    },
    /// A log's end was moved back.
    Truncated {
        /// Which log.
        log: LogId,
        /// The new end.
        end: Offset,
    },
    /// A log was opened.
    Recovered {
        /// Which log.
        log: LogId,
        /// Its first offset.
        start: Offset,
        /// Its end, all of it durable.
        end: Offset,
        /// The durable mark that recovery started from: everything before it was proven synced.
        proven: Offset,
        /// Bytes of an unproven tail that were cut off.
        cut_bytes: u64,
    },
    /// The marks that say how far the logs of a disk were synced cannot be read: what is proven is guessed.
    MarksLost,
    /// Bytes that were proven durable are no longer what was written. They are never served.
    Damaged {
        /// Which log.
        log: LogId,
        /// First offset that is affected.
        from: Offset,
        /// End of the affected offsets.
        to: Offset,
    },
    /// A write or sync of a log failed; nothing more is acknowledged from it.
    Poisoned {
        /// Which log.
        log: LogId,
    },
    /// A client was told that its records are durable as it asked.
    Acknowledged {
        /// Which log.
        log: LogId,
        /// The first offset.
        base: Offset,
        /// The last offset.
        last: Offset,
        /// What the client asked for: -1 (all), 1 or 0.
        acks: i16,
    },
    /// A topic was made.
    TopicCreated {
        /// Its id.
        topic: TopicId,
        /// Its name.
        name: String,
    },
    /// A topic was deleted.
    TopicDeleted {
        /// Its id.
        topic: TopicId,
    },
    /// A rare branch was taken. Counted over all seeds; one that is never reached is reported.
    Reached(&'static str),
}
