//! What can go wrong in a store.

use highwater_records::BatchError;
use highwater_types::{BrokerId, ClusterId, LeaderEpoch, LogId, Offset, ProducerEpoch};
use std::io;
use std::path::PathBuf;

/// Why a store could not be opened or closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the directory open.
    #[error("{dir} is in use by another process; stop it, or name another data directory")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// A later version of the program wrote the directory.
    #[error(
        "{dir} has format {found}, and this program knows formats up to {known}; run the newer version that wrote it"
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u16,
        /// The latest format that is known.
        known: u16,
    },
    /// The directory belongs to another cluster.
    #[error(
        "{dir} belongs to cluster {found}, not {expected}; name the data directory of this cluster, or an empty one"
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// The directory belongs to another node.
    #[error(
        "{dir} belongs to node {found}, not node {expected}; correct node_id (node.id in Kafka), or name the data directory of this node"
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: BrokerId,
        /// Whose it should be.
        expected: BrokerId,
    },
    /// The directory holds logs, but the file that says whose they are is missing or damaged.
    #[error("{dir} holds logs, but its disk.meta is {state}; restore that file, or name an empty directory")]
    NoIdentity {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with the file.
        state: &'static str,
    },
    /// The store was closed, but some of its logs had failed, so that the next start has to recover them.
    #[error("logs that had failed were closed without a sync: {0:?}")]
    Unclean(Vec<LogId>),
    /// The operating system failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Why something other than an append or a read failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A write or sync of this log failed earlier. Only opening the store anew heals that.
    #[error("the log failed earlier and takes nothing more until it is reopened")]
    Poisoned,
    /// The store is closed, or the log was deleted.
    #[error("the log is closed")]
    Closed,
    /// There is such a log already.
    #[error("log {0} exists already")]
    Exists(LogId),
    /// There is no such log.
    #[error("there is no log {0}")]
    NotFound(LogId),
    /// The offset lies outside of the log.
    #[error("the offset is outside of the log, which has {start} to {end}")]
    OutOfRange {
        /// The first offset.
        start: Offset,
        /// The end offset.
        end: Offset,
    },
    /// What another replica has cannot take the place of what is damaged: see [`Log::repair`](crate::Log::repair).
    #[error("what another replica has does not fit: {0}")]
    DoesNotFit(String),
    /// The disk is full.
    #[error("the disk is full")]
    StorageFull,
    /// The operating system failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::StorageFull,
            _ => Self::Io(error),
        }
    }
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The producer's sequence number does not follow its last one.
    #[error("sequence number {found} does not follow: {expected} is next")]
    OutOfOrderSequence {
        /// The next sequence number.
        expected: i32,
        /// That of the batch.
        found: i32,
    },
    /// The producer has been fenced by a later incarnation.
    #[error("producer epoch {found} was fenced by {current}")]
    StaleProducerEpoch {
        /// The latest epoch.
        current: ProducerEpoch,
        /// That of the batch.
        found: ProducerEpoch,
    },
    /// The leader epoch is older than the log's last one.
    #[error("leader epoch {found} is older than the log's {current}")]
    StaleLeaderEpoch {
        /// The log's last epoch.
        current: LeaderEpoch,
        /// What the caller gave.
        found: LeaderEpoch,
    },
    /// What another replica has does not continue this log: see [`Log::append_replica`](crate::Log::append_replica).
    #[error("a batch has offset {found}, where {expected} is next")]
    NotNext {
        /// The offset that is next.
        expected: Offset,
        /// That of the batch.
        found: Offset,
    },
    /// The bytes are not whole batches that check out.
    #[error(transparent)]
    Invalid(BatchError),
    /// The batch does not fit into a segment.
    #[error("the batch has {size} bytes, more than fit into a segment ({limit})")]
    LargerThanSegment {
        /// The batch's bytes.
        size: usize,
        /// What fits.
        limit: usize,
    },
    /// The log has no offsets left for the batch.
    #[error("the log has no offsets left")]
    OffsetsExhausted,
    /// The disk is full. The log is as it was.
    #[error("the disk is full")]
    StorageFull,
    /// A write or sync of this log failed. Only opening the store anew heals that.
    #[error("the log failed and takes nothing more until it is reopened")]
    Poisoned,
    /// The store is closed, or the log was deleted.
    #[error("the log is closed")]
    Closed,
    /// The operating system failed before anything was written.
    #[error(transparent)]
    Io(io::Error),
}

impl AppendError {
    /// The same for another batch of the same write.
    pub(crate) fn for_another(&self) -> Self {
        match self {
            Self::StorageFull => Self::StorageFull,
            Self::Closed => Self::Closed,
            Self::Io(error) => Self::Io(error.kind().into()),
            _ => Self::Poisoned,
        }
    }
}

/// Why a range could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset lies outside of the log.
    #[error("the offset is outside of the log, which has {start} to {end}")]
    OutOfRange {
        /// The first offset.
        start: Offset,
        /// The end offset.
        end: Offset,
    },
    /// What stood at the offset is no longer what was written.
    #[error("offsets {from} to {to} are damaged")]
    Damaged {
        /// The first damaged offset.
        from: Offset,
        /// The end of the damaged offsets.
        to: Offset,
    },
    /// The log was deleted.
    #[error("the log is closed")]
    Closed,
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
