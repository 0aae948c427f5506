//! The snapshot of a member.

use crate::convert::{meta_from, meta_to};
use crate::error::QuorumError;
use crate::files::{Files, SNAPSHOT};
use crate::frame::{self, FrameError};
use crate::proto;
use crate::types::{Snapshot, SnapshotMeta, next_index};
use bytes::{Buf, Bytes};
use highwater_env::Env;
use highwater_types::mutant;
use std::io;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The largest snapshot.
pub(crate) const MAX_SNAPSHOT_BYTES: u64 = 1 << 30;

/// The latest snapshot of a member, on disk.
pub(crate) struct SnapshotFile<E> {
    files: Arc<Files<E>>,
    /// Locked while the file is read or replaced.
    held: Mutex<Held>,
}

/// What is known of the file.
struct Held {
    /// The description of what it holds.
    meta: Option<SnapshotMeta>,
    /// The member has ended. Whoever opens the file next is the only one to write to it.
    closed: bool,
}

impl<E: Env> SnapshotFile<E> {
    /// Opens the file, and returns what it holds.
    pub async fn open(files: Arc<Files<E>>) -> Result<(Self, Option<Snapshot>), QuorumError> {
        let found = read(&files).await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => {
                QuorumError::Damaged { what: "the snapshot".to_owned(), problem: error.to_string() }
            }
            _ => files.failed("read", SNAPSHOT)(error),
        })?;
        let meta = found.as_ref().map(|snapshot| snapshot.meta.clone());
        Ok((Self { files, held: Mutex::new(Held { meta, closed: false }) }, found))
    }

    /// Makes this the latest snapshot, durably, unless there is a later one.
    pub async fn save(&self, meta: &SnapshotMeta, pieces: &[Bytes]) -> io::Result<()> {
        let mut held = self.held.lock().await;
        if held.closed {
            return Err(io::Error::other("the member has ended"));
        }
        let known = next_index(held.meta.as_ref().and_then(|meta| meta.last_log_id));
        if next_index(meta.last_log_id) <= known && !mutant!("raft-snap-regress") {
            return Ok(());
        }
        let contents = encode(meta, pieces);
        let size: usize = contents.iter().map(Bytes::len).sum();
        if size as u64 > MAX_SNAPSHOT_BYTES {
            return Err(io::Error::other("the snapshot is larger than any may be"));
        }
        self.files.replace(SNAPSHOT, contents).await?;
        held.meta = Some(meta.clone());
        Ok(())
    }

    /// Ends all writing: a snapshot that is still being made is not saved. The library makes them in tasks of their
    /// own, which may outlast the member.
    pub async fn close(&self) {
        self.held.lock().await.closed = true;
    }

    /// The latest snapshot.
    pub async fn load(&self) -> io::Result<Option<Snapshot>> {
        let _held = self.held.lock().await;
        read(&self.files).await
    }
}

async fn read<E: Env>(files: &Files<E>) -> io::Result<Option<Snapshot>> {
    let Some(bytes) = files.read(SNAPSHOT, MAX_SNAPSHOT_BYTES).await? else { return Ok(None) };
    let (meta, pieces) =
        decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    Ok(Some(Snapshot { meta, snapshot: Box::new(pieces) }))
}

fn encode(meta: &SnapshotMeta, pieces: &[Bytes]) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(2 * pieces.len() + 2);
    let mut push = |frame: Bytes| {
        let length = u32::try_from(frame.len()).expect("a piece is at most a MiB");
        out.push(Bytes::copy_from_slice(&length.to_be_bytes()));
        out.push(frame);
    };
    push(frame::encode(&meta_to(meta, pieces.len())));
    for piece in pieces {
        push(frame::encode(&proto::SnapshotPiece { data: piece.clone() }));
    }
    out
}

/// What a snapshot file holds.
pub(crate) fn decode(mut bytes: Bytes) -> Result<(SnapshotMeta, Vec<Bytes>), FrameError> {
    let (meta, count) = meta_from(Some(frame::decode(take(&mut bytes)?)?))?;
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        pieces.push(frame::decode::<proto::SnapshotPiece>(take(&mut bytes)?)?.data);
    }
    if pieces.len() != count as usize {
        let problem = format!("it has {}, and should have {count}", pieces.len());
        return Err(FrameError::field("pieces", problem));
    }
    Ok((meta, pieces))
}

fn take(bytes: &mut Bytes) -> Result<Bytes, FrameError> {
    if bytes.len() < 4 {
        return Err(FrameError::TooShort(bytes.len()));
    }
    let length = bytes.get_u32() as usize;
    if length > bytes.len() {
        return Err(FrameError::TooShort(bytes.len()));
    }
    Ok(bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogId;
    use highwater_sim::{SimEnv, Simulation};
    use openraft::CommittedLeaderId;

    fn meta(index: u64) -> SnapshotMeta {
        let last_log_id = Some(LogId::new(CommittedLeaderId::new(1, 0), index));
        SnapshotMeta { last_log_id, ..SnapshotMeta::default() }
    }

    async fn last(file: &SnapshotFile<SimEnv>) -> Option<u64> {
        file.load()
            .await
            .expect("the file can be read")
            .and_then(|found| found.meta.last_log_id)
            .map(|id| id.index)
    }

    #[test]
    fn the_latest_stays_and_a_member_that_has_ended_writes_no_more() {
        let sim = Simulation::new(3);
        let node = sim.node("n").node();
        let files = Arc::new(Files::new(sim.env(node), "/quorum".into()));
        sim.block_on(async {
            files.open_dir().await.expect("a directory");
            let (ended, found) = SnapshotFile::open(Arc::clone(&files)).await.expect("an empty directory");
            assert!(found.is_none());
            for (index, latest) in [(5, 5), (3, 5), (9, 9)] {
                ended.save(&meta(index), &[Bytes::from_static(b"state")]).await.expect("it is saved");
                assert_eq!(last(&ended).await, Some(latest));
            }
            ended.close().await;
            let (next, _) = SnapshotFile::open(files).await.expect("a sound file");
            assert!(ended.save(&meta(20), &[]).await.is_err());
            next.save(&meta(10), &[]).await.expect("it is saved");
            assert_eq!(last(&next).await, Some(10));
        });
    }
}
