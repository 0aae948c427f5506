//! Reads segment files straight off a disk's durable image, independently of the store's own code.

use crate::disk::SimDisk;
use bytes::Bytes;
use highwater_records::Batches;
use highwater_types::{LogId, Offset};

/// The length of a segment file's header.
const SEGMENT_HEADER_BYTES: usize = 64;

/// Whether a batch with these offsets and checksum would be found on the disk if the power went now and everything
/// that no sync covered was lost.
pub fn holds(disk: &SimDisk, log: LogId, base: Offset, last: Offset, checksum: u32) -> bool {
    let part = format!("/{log}/");
    let files = disk.durable_files_with(&|path| {
        path.contains(&part) && segment_base(path).is_some_and(|segment| segment <= base)
    });
    files.into_values().any(|content| {
        let Some(batches) = content.get(SEGMENT_HEADER_BYTES..) else { return false };
        Batches::with_partial_tail(Bytes::copy_from_slice(batches)).flatten().any(|batch| {
            let header = batch.header();
            header.base_offset == base && header.last_offset() == last && header.crc == checksum
        })
    })
}

fn segment_base(path: &str) -> Option<Offset> {
    let (_, name) = path.rsplit_once('/')?;
    name.strip_suffix(".log")?.parse().ok().map(Offset)
}
