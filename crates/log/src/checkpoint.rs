//! The proven marks (`recovery-points`), and the atomic replacement of small files.

use crate::files::TEMPORARY;
use crate::frame::{FrameKind, array};
use crate::recovery::read_small;
use crate::report::MarksFound;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_env::{Disk, File, OpenMode};
use highwater_types::{LogId, Offset, PartitionIndex, TopicId, Uuid, mutant};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

pub(crate) const MARKS: &str = "recovery-points";
/// The marks before the latest ones, for the case that those rot.
pub(crate) const PREVIOUS_MARKS: &str = "recovery-points.previous";

/// Where damaged marks are put aside.
const DAMAGED_MARKS: &str = "recovery-points.damaged";

const KIND: FrameKind = FrameKind { magic: b"HWMARKS\0", version: 1, limit_bytes: 256 << 20 };
const HEAD_BYTES: usize = 12;
const ENTRY_BYTES: usize = 48;

/// What is proven of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Everything before this offset was synced.
    pub proven: Offset,
    /// The base offset of the segment in which the proven part ends.
    pub segment: Offset,
    /// Where in that segment it ends.
    pub position: u32,
    /// The log's first offset.
    pub start: Offset,
}

/// The proven marks of all logs of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Counts the writes of the file.
    pub sequence: u64,
    pub logs: BTreeMap<LogId, Mark>,
}

impl Marks {
    pub(crate) fn encode(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(HEAD_BYTES + self.logs.len() * ENTRY_BYTES);
        payload.put_u64(self.sequence);
        payload.put_u32(u32::try_from(self.logs.len()).expect("a disk holds fewer logs"));
        for (id, mark) in &self.logs {
            payload.put_slice(&id.topic.0.0);
            payload.put_i32(id.partition.0);
            payload.put_i64(mark.proven.0);
            payload.put_i64(mark.segment.0);
            payload.put_u32(mark.position);
            payload.put_i64(mark.start.0);
        }
        KIND.encode(&payload)
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let (_, payload) = KIND.decode(bytes).ok()?;
        Self::decode_payload(&payload)
    }

    fn decode_payload(payload: &[u8]) -> Option<Self> {
        let mut rest = payload;
        if rest.len() < HEAD_BYTES {
            return None;
        }
        let sequence = rest.get_u64();
        let count = usize::try_from(rest.get_u32()).ok()?;
        if rest.len() != count.checked_mul(ENTRY_BYTES)? {
            return None;
        }
        let mut logs = BTreeMap::new();
        for _ in 0..count {
            let topic = TopicId(Uuid(array(rest)));
            rest.advance(16);
            let partition = PartitionIndex(rest.get_i32());
            let proven = Offset(rest.get_i64());
            let segment = Offset(rest.get_i64());
            let position = rest.get_u32();
            let start = Offset(rest.get_i64());
            if proven.0 < 0 || segment.0 < 0 || start.0 < 0 || start > proven || segment > proven {
                return None;
            }
            logs.insert(LogId { topic, partition }, Mark { proven, segment, position, start });
        }
        Some(Self { sequence, logs })
    }

    /// The largest file that is read.
    pub(crate) const FILE_LIMIT_BYTES: u64 = KIND.limit_bytes;

    /// The latest marks that can be read. A store that was ever initialised has some.
    pub(crate) async fn load<D: Disk>(disk: &D, dir: &Path) -> io::Result<(Self, MarksFound)> {
        if let Some(marks) = read(disk, &dir.join(MARKS)).await? {
            return Ok((marks, MarksFound::Current));
        }
        if let Some(marks) = read(disk, &dir.join(PREVIOUS_MARKS)).await? {
            // Or else the next marks would make the damaged ones the previous ones.
            let current = dir.join(MARKS);
            match disk.rename(&current, &dir.join(DAMAGED_MARKS)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            return Ok((marks, MarksFound::Previous));
        }
        Ok((Self::default(), MarksFound::Lost))
    }

    /// Makes these marks the latest ones, durably, and keeps those before them.
    pub(crate) async fn store<D: Disk>(&self, disk: &D, dir: &Path) -> io::Result<()> {
        let bytes = self.encode();
        if mutant!("ckpt-inplace") {
            let file = disk.open(&dir.join(MARKS), OpenMode::CreateOrTruncate).await?;
            file.write_at(0, vec![bytes]).await?;
            return file.sync_data().await;
        }
        let temporary = dir.join(format!("{MARKS}{TEMPORARY}"));
        write_synced(disk, &temporary, bytes).await?;
        let current = dir.join(MARKS);
        // Whichever of the two renames a crash keeps, one of the files holds marks that were true.
        match disk.rename(&current, &dir.join(PREVIOUS_MARKS)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        disk.rename(&temporary, &current).await?;
        disk.sync_dir(dir).await
    }
}

async fn read<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<Marks>> {
    let bytes = read_small(disk, path, KIND.limit_bytes).await?;
    Ok(bytes.and_then(|bytes| Marks::decode(&bytes)))
}

/// Replaces a small file: after a crash it holds the old contents or the new ones, and after `Ok` the new ones.
pub(crate) async fn replace<D: Disk>(disk: &D, dir: &Path, name: &str, bytes: Bytes) -> io::Result<()> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    write_synced(disk, &temporary, bytes).await?;
    disk.rename(&temporary, &dir.join(name)).await?;
    disk.sync_dir(dir).await
}

/// Writes a new file and syncs its bytes, but not its directory entry.
pub(crate) async fn write_synced<D: Disk>(disk: &D, path: &Path, bytes: Bytes) -> io::Result<()> {
    let file = create(disk, path).await?;
    file.write_at(0, vec![bytes]).await?;
    file.sync_data().await
}

/// Makes a new file in place of whatever stands there. It is another file, not the old one emptied: after a failed
/// sync nothing is known of the old one's pages, and a write whose future was dropped may still strike it.
pub(crate) async fn create<D: Disk>(disk: &D, path: &Path) -> io::Result<D::File> {
    match disk.open(path, OpenMode::CreateNew).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove_file(path).await?;
            disk.open(path, OpenMode::CreateNew).await
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marks(entries: &[(u8, i32, i64, i64)]) -> Marks {
        let logs = entries.iter().map(|&(topic, partition, proven, start)| {
            let id = LogId { topic: TopicId(Uuid([topic; 16])), partition: PartitionIndex(partition) };
            (
                id,
                Mark {
                    proven: Offset(proven),
                    segment: Offset(proven / 2),
                    position: 77,
                    start: Offset(start),
                },
            )
        });
        Marks { sequence: 9, logs: logs.collect() }
    }

    #[test]
    fn round_trip() {
        for entries in [&[][..], &[(1, 0, 10, 3)], &[(1, 0, 10, 3), (1, 1, 0, 0), (2, 7, i64::MAX, 5)]] {
            let marks = marks(entries);
            assert_eq!(Marks::decode(&marks.encode()), Some(marks));
        }
    }

    #[test]
    fn impossible_marks_are_refused() {
        for (proven, start) in [(-1, 0), (10, 11), (10, -1)] {
            assert_eq!(Marks::decode(&marks(&[(1, 0, proven, start)]).encode()), None);
        }
    }

    proptest! {
        #[test]
        fn hostile_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Marks::decode(&KIND.encode(&payload));
            let _ = Marks::decode(&payload.into());
        }
    }
}
