//! Reads segment files straight off a disk's durable image, independently of the store's own code.

use crate::disk::SimDisk;
use bytes::Bytes;
use highwater_records::{Batch, BatchHeader, Batches};
use highwater_types::{LogId, Offset};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The length of a segment file's header.
pub const SEGMENT_HEADER_BYTES: u64 = 64;

/// Whether a batch with these offsets and checksum would be found on the disk if the power went now and everything
/// that no sync covered was lost.
pub fn holds(disk: &SimDisk, log: LogId, base: Offset, last: Offset, checksum: u32) -> bool {
    let Some(dir) = log_dir(disk, log) else { return false };
    // Batches with fitting offsets may stand in several files, where recovery rewrote one.
    segments(disk, &dir).into_iter().filter(|&segment| segment <= base).any(|segment| {
        batches(disk, &dir, segment).any(|batch| {
            let header = batch.header();
            header.base_offset == base && header.last_offset() == last && header.crc == checksum
        })
    })
}

/// The durable directory of a log.
pub fn log_dir(disk: &SimDisk, log: LogId) -> Option<PathBuf> {
    disk.durable_dir(&log.to_string())
}

/// The durable segments of a log, by their first offset, in order.
pub fn segments(disk: &SimDisk, dir: &Path) -> Vec<Offset> {
    let names = disk.durable_names(dir).into_iter();
    names.filter_map(|name| name.strip_suffix(".log")?.parse().ok().map(Offset)).collect()
}

/// The offsets of a log's durable producer snapshots.
pub fn snapshots(disk: &SimDisk, dir: &Path) -> impl Iterator<Item = Offset> + use<> {
    let dir = format!("{}/", dir.display());
    let files = disk.durable_files_with(&|path| path.starts_with(&dir) && path.ends_with(".producers"));
    let whole = files.into_iter().filter(|(_, bytes)| !bytes.is_empty());
    whole.filter_map(|(path, _)| path.file_stem()?.to_str()?.parse().ok().map(Offset))
}

/// Every intact batch that a log's files hold, by first offset and checksum: on disk, or as the page cache has them.
pub fn all(disk: &SimDisk, log: LogId, cached: bool) -> BTreeSet<(Offset, u32)> {
    let mut found = BTreeSet::new();
    if cached {
        let part = format!("/{log}/");
        for (path, bytes) in disk.live_files() {
            let path = path.to_string_lossy();
            if !path.contains(&part) || !path.ends_with(".log") {
                continue;
            }
            let records = bytes.get(SEGMENT_HEADER_BYTES as usize..).unwrap_or_default();
            found.extend(intact(Bytes::from(records.to_vec())));
        }
    } else if let Some(dir) = log_dir(disk, log) {
        for segment in segments(disk, &dir) {
            let path = segment_path(&dir, segment);
            found.extend(intact(disk.durable_tail(&path, SEGMENT_HEADER_BYTES).unwrap_or_default()));
        }
    }
    found
}

/// Every intact batch, by first offset and checksum, wherever it stands: damage before it may be below the log's start,
/// where nobody puts it back.
fn intact(bytes: Bytes) -> BTreeSet<(Offset, u32)> {
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.slice(at..);
        let size = BatchHeader::parse(&rest).map(|header| header.size_bytes()).ok();
        let whole = size.filter(|size| *size <= rest.len()).and_then(|size| {
            let batch = Batch::check(rest.slice(..size)).ok()?;
            Some((size, (batch.header().base_offset, batch.header().crc)))
        });
        at += whole.map_or(1, |(size, batch)| {
            found.insert(batch);
            size
        });
    }
    found
}

/// Where a segment is.
pub fn segment_path(dir: &Path, segment: Offset) -> PathBuf {
    dir.join(format!("{:020}.log", segment.0))
}

/// The intact batches at the beginning of a segment.
pub fn batches(disk: &SimDisk, dir: &Path, segment: Offset) -> impl Iterator<Item = Batch> + use<> {
    let bytes = disk.durable_tail(&segment_path(dir, segment), SEGMENT_HEADER_BYTES).unwrap_or_default();
    Batches::with_partial_tail(bytes).map_while(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_records::{BatchBuilder, Codec};
    use highwater_types::Timestamp;

    #[test]
    fn what_stands_behind_damage_is_found() {
        let mut builder = BatchBuilder::new(Codec::None, usize::MAX);
        assert!(builder.try_push(Timestamp(1), None, Some(b"value"), &[]));
        let batch = builder.build();
        let two = [&batch[..], &batch[..]].concat();
        let found = |at: usize| {
            let mut damaged = two.clone();
            damaged[at] ^= 4;
            intact(Bytes::from(damaged)).len()
        };
        // Both have the same offsets and checksum.
        assert_eq!(intact(Bytes::from(two.clone())).len(), 1);
        for at in 0..two.len() {
            // The base offset is not covered by the checksum.
            assert_eq!(found(at), if at % batch.len() < 8 { 2 } else { 1 }, "{at}");
        }
        assert_eq!(intact(Bytes::from(two[1..batch.len()].to_vec())).len(), 0);
    }
}
