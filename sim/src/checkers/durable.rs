//! Reads segment files straight off a disk's durable image, independently of the store's own code.

use crate::disk::SimDisk;
use bytes::Bytes;
use highwater_records::{Batch, Batches};
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
    let mut add = |batch: Batch| found.insert((batch.header().base_offset, batch.header().crc));
    if cached {
        let part = format!("/{log}/");
        for (path, bytes) in disk.live_files() {
            let path = path.to_string_lossy();
            if !path.contains(&part) || !path.ends_with(".log") {
                continue;
            }
            let records =
                Bytes::from(bytes.get(SEGMENT_HEADER_BYTES as usize..).unwrap_or_default().to_vec());
            Batches::with_partial_tail(records).map_while(Result::ok).for_each(|batch| {
                add(batch);
            });
        }
    } else if let Some(dir) = log_dir(disk, log) {
        for segment in segments(disk, &dir) {
            batches(disk, &dir, segment).for_each(|batch| {
                add(batch);
            });
        }
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
