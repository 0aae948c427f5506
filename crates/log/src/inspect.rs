//! Looking at a store's files without opening it: read-only, on damaged files as well.

use crate::files::{LOGS, SEGMENT_HEADER_BYTES, SegmentHeader, parse_log_id, segment_name};
use crate::recovery::Listing;
use crate::scan::{Scanned, Scanner, find_batch};
use highwater_env::{Disk, File, OpenMode};
use highwater_records::BatchHeader;
use highwater_types::{LogId, Offset, Timestamp};
use std::io;
use std::path::{Path, PathBuf};

/// Something that an inspection found, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A log's directory begins.
    Log {
        /// The log, as the directory's name says.
        id: LogId,
        /// The directory.
        dir: PathBuf,
    },
    /// A segment begins.
    Segment {
        /// The file.
        path: PathBuf,
        /// The first offset, as the file's name says.
        base: Offset,
        /// The file's length.
        bytes: u64,
        /// When the segment was made; None if its header is damaged.
        created: Option<Timestamp>,
    },
    /// A batch whose checksum is right.
    Batch {
        /// Where it stands in the file.
        position: u32,
        /// Its header.
        header: BatchHeader,
        /// The offset that should follow the batch before, if it is another one than this batch's.
        expected: Option<Offset>,
    },
    /// Bytes that are no batch, or one with a wrong checksum.
    Damage {
        /// Where they begin.
        position: u32,
        /// How many there are, up to the next batch or the end of the file.
        bytes: u32,
    },
}

/// Looks through all logs of a store's directory. `visit` returns false to stop.
pub async fn inspect_store<D: Disk>(
    disk: &D,
    dir: &Path,
    mut visit: impl FnMut(Found) -> bool + Send,
) -> io::Result<()> {
    for entry in disk.list(&dir.join(LOGS)).await? {
        if let Some(id) = parse_log_id(&entry.name) {
            let dir = dir.join(LOGS).join(&entry.name);
            if !visit(Found::Log { id, dir: dir.clone() })
                || !inspect_segments(disk, &dir, &mut visit).await?
            {
                break;
            }
        }
    }
    Ok(())
}

/// Looks through the segments of one log's directory. `visit` returns false to stop.
pub async fn inspect_log<D: Disk>(
    disk: &D,
    dir: &Path,
    mut visit: impl FnMut(Found) -> bool + Send,
) -> io::Result<()> {
    inspect_segments(disk, dir, &mut visit).await.map(drop)
}

/// Returns whether the visitor wants to see more.
async fn inspect_segments<D: Disk>(
    disk: &D,
    dir: &Path,
    visit: &mut (impl FnMut(Found) -> bool + Send),
) -> io::Result<bool> {
    for base in Listing::read(disk, dir).await?.segments {
        let path = dir.join(segment_name(base));
        let file = disk.open(&path, OpenMode::Read).await?;
        let bytes = file.len().await?;
        let head = file.read_at(0, SEGMENT_HEADER_BYTES as usize).await?;
        let created = SegmentHeader::decode(&head).map(|header| header.created);
        if !visit(Found::Segment { path, base, bytes, created })
            || !inspect_batches(&file, base, bytes, visit).await?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn inspect_batches<F: File>(
    file: &F,
    base: Offset,
    bytes: u64,
    visit: &mut (impl FnMut(Found) -> bool + Send),
) -> io::Result<bool> {
    let limit = u32::try_from(bytes.min(i32::MAX as u64)).expect("bounded");
    let mut scanner = Scanner::new(file.clone(), SEGMENT_HEADER_BYTES.min(limit), limit);
    let mut next = base;
    loop {
        let position = scanner.position();
        let found = match scanner.next(true).await {
            Scanned::End => return Ok(true),
            Scanned::Batch(header) => {
                let expected = (header.base_offset != next).then_some(next);
                next = header.next_offset();
                Found::Batch { position, header, expected }
            }
            Scanned::Broken | Scanned::Unreadable => {
                let anywhere = base..Offset(i64::MAX);
                let behind = find_batch(file, position, limit, anywhere, limit).await;
                let end = behind.map_or(limit, |(position, _)| position);
                scanner.seek(end);
                Found::Damage { position, bytes: end - position }
            }
        };
        if !visit(found) {
            return Ok(false);
        }
    }
}
