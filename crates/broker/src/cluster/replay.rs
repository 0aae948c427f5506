//! Reading the metadata log.

use super::ClusterError;
use crate::response::FileOf;
use bytes::Bytes;
use highwater_env::{Env, File};
use highwater_log::{CleanupPolicy, Log, LogConfig, ReadSlice, Store};
use highwater_metadata::{Change, Image, METADATA_LOG, decode};
use highwater_records::Batches;
use highwater_types::{LogId, Offset};
use std::collections::BTreeSet;

/// How much of the log is read at once.
const READ_BYTES: usize = 1 << 20;

/// What the metadata log leads to.
pub(super) struct Replayed {
    pub(super) image: Image,
    /// The logs of topics that were deleted: they may go.
    pub(super) removed: BTreeSet<LogId>,
}

/// The metadata log of a store, made if the store is new.
pub(super) async fn metadata_log<E: Env>(store: &Store<E>) -> Result<Log<E>, ClusterError> {
    if let Some(log) = store.log(METADATA_LOG) {
        log.set_config(metadata_config()).await;
        return Ok(log);
    }
    if !store.logs().is_empty() {
        return Err(ClusterError::MetadataLost);
    }
    let made = store.create_log(METADATA_LOG, metadata_config()).await;
    made.map_err(|error| ClusterError::Create(METADATA_LOG, error))
}

/// Applies every record of the log.
pub(super) async fn replay<E: Env>(log: &Log<E>) -> Result<Replayed, ClusterError> {
    let mut replayed = Replayed { image: Image::new(), removed: BTreeSet::new() };
    let (mut next, end) = (log.start_offset(), log.end_offset());
    if next > Offset::ZERO {
        return Err(ClusterError::MetadataCut(next));
    }
    while next < end {
        let slice = log.read(next, end, READ_BYTES, true).await?;
        let bytes = bytes_of::<E>(slice).await?;
        let before = next;
        for batch in Batches::new(bytes) {
            let batch = batch?;
            let index = u64::try_from(batch.header().base_offset.0).expect("offsets are not negative");
            for record in batch.records()? {
                let record = record?;
                let value = record.value.ok_or(ClusterError::Empty(record.offset))?;
                if let Change::TopicDeleted(topic) = replayed.image.apply(&decode(&value)?, index)? {
                    replayed.removed.extend(topic.logs());
                }
            }
            next = batch.header().next_offset();
        }
        if next == before {
            return Err(ClusterError::MetadataCut(end));
        }
    }
    Ok(replayed)
}

async fn bytes_of<E: Env>(slice: ReadSlice<FileOf<E>>) -> Result<Bytes, ClusterError> {
    match slice {
        ReadSlice::Checked(bytes) => Ok(bytes),
        ReadSlice::Verified { file, position, length } => file
            .read_at(position, length)
            .await
            .map_err(|error| ClusterError::Read(highwater_log::ReadError::Io(error))),
    }
}

/// Nothing of the metadata log ever leaves it.
fn metadata_config() -> LogConfig {
    LogConfig {
        segment_bytes: 64 << 20,
        retention_ms: None,
        retention_bytes: None,
        cleanup: CleanupPolicy { delete: false, compact: false },
        max_message_bytes: 32 << 20,
        ..LogConfig::default()
    }
}
