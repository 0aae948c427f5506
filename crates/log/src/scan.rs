//! Reading a segment batch by batch.

use crate::epochs::Epochs;
use crate::index::IndexBuilder;
use bytes::Bytes;
use highwater_env::File;
use highwater_records::{BatchHeader, Crc32c, HEADER_BYTES, LENGTH_PREFIX, MAGIC, crc32c};
use highwater_types::{LeaderEpoch, Offset};
use std::io;
use std::ops::Range;

/// How much is read at a time.
pub(crate) const CHUNK_BYTES: u32 = 1 << 20;
/// How far a torn tail is searched for batches behind it.
pub(crate) const TAIL_SEARCH_BYTES: u32 = 4 << 20;

/// Where the checksummed part of a batch begins.
const CHECKED_FROM: u32 = 21;

/// How often a read that failed is tried before its bytes count as unreadable.
const READ_ATTEMPTS: usize = 4;
/// What is read at a time where larger reads fail.
const SECTOR_BYTES: u32 = 4096;

/// Goes over the batches of a file.
pub(crate) struct Scanner<F> {
    file: F,
    position: u32,
    limit: u32,
    buffer: Bytes,
    buffer_at: u32,
}

/// What stands at the scanner's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// A whole batch; the scanner has moved behind it.
    Batch(BatchHeader),
    /// Something else; the scanner stays.
    Broken,
    /// Bytes that cannot be read, though it was tried again; the scanner stays.
    Unreadable,
    /// Nothing: the limit is reached.
    End,
}

impl<F: File> Scanner<F> {
    /// Scans the range from `position` to `limit`.
    pub(crate) fn new(file: F, position: u32, limit: u32) -> Self {
        Self { file, position, limit, buffer: Bytes::new(), buffer_at: position }
    }

    pub(crate) fn position(&self) -> u32 {
        self.position
    }

    pub(crate) fn seek(&mut self, position: u32) {
        self.position = position;
    }

    /// Takes the next batch. Its checksum is computed if `check` says so.
    pub(crate) async fn next(&mut self, check: bool) -> Scanned {
        match self.take(check).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(path = %self.file.path().display(), %error, "cannot read a segment");
                Scanned::Unreadable
            }
        }
    }

    async fn take(&mut self, check: bool) -> io::Result<Scanned> {
        if self.position >= self.limit {
            return Ok(Scanned::End);
        }
        let Some(head) = self.bytes(self.position, HEADER_BYTES as u32).await? else {
            return Ok(Scanned::Broken);
        };
        let Ok(header) = BatchHeader::parse(&head) else { return Ok(Scanned::Broken) };
        let size = u32::try_from(header.size_bytes()).unwrap_or(u32::MAX);
        if size > self.limit - self.position || (check && !self.checks_out(&header, size).await?) {
            return Ok(Scanned::Broken);
        }
        self.position += size;
        Ok(Scanned::Batch(header))
    }

    /// Whether the checksum of the batch at the position is right. Takes the batch in pieces, so that a damaged
    /// length costs no memory.
    async fn checks_out(&mut self, header: &BatchHeader, size: u32) -> io::Result<bool> {
        if size <= CHUNK_BYTES {
            let whole = self.bytes(self.position, size).await?;
            return Ok(whole.is_some_and(|bytes| crc32c(&bytes[CHECKED_FROM as usize..]) == header.crc));
        }
        let mut crc = Crc32c::new();
        let end = self.position + size;
        let mut at = self.position + CHECKED_FROM;
        while at < end {
            let length = CHUNK_BYTES.min(end - at);
            let Some(piece) = self.bytes(at, length).await? else { return Ok(false) };
            crc.update(&piece);
            at += length;
        }
        Ok(crc.finish() == header.crc)
    }

    /// The bytes of a range within the limit; None if the file ends before.
    async fn bytes(&mut self, at: u32, length: u32) -> io::Result<Option<Bytes>> {
        if length > self.limit.saturating_sub(at) {
            return Ok(None);
        }
        let held = self.buffer_at..self.buffer_at + self.buffer.len() as u32;
        if at < held.start || at + length > held.end {
            let wanted = length.max(CHUNK_BYTES).min(self.limit - at);
            self.buffer = read_stubbornly(&self.file, at, wanted, length).await?;
            self.buffer_at = at;
        }
        let start = (at - self.buffer_at) as usize;
        let end = start + length as usize;
        Ok((end <= self.buffer.len()).then(|| self.buffer.slice(start..end)))
    }
}

/// Reads `wanted` bytes, or at least `needed` of them where a bad sector lies behind those.
async fn read_stubbornly<F: File>(file: &F, at: u32, wanted: u32, needed: u32) -> io::Result<Bytes> {
    let mut result = file.read_at(u64::from(at), wanted as usize).await;
    for _ in 1..READ_ATTEMPTS {
        if result.is_ok() {
            break;
        }
        result = file.read_at(u64::from(at), needed as usize).await;
    }
    result
}

/// What a scan of a part of a segment that must be whole found.
#[derive(Clone, Debug)]
pub(crate) struct SegmentScan {
    /// The index of what checks out; its summary ends with the last such batch.
    pub index: IndexBuilder,
    /// What does not.
    pub damaged: Vec<Range<Offset>>,
}

/// Scans the offsets from `base` to `end` of a segment, of which `limit` bytes may be looked at, and calls `each`
/// for every batch that checks out, with its position. Content at or beyond `end` is ignored.
///
/// A batch must carry the leader epoch that `epochs` has for its offset. No checksum covers it, and one that rotted
/// upwards would make damage of every batch behind it.
pub(crate) async fn scan_segment<F: File>(
    file: &F,
    base: Offset,
    end: Offset,
    limit: u32,
    interval: u32,
    epochs: &Epochs,
    mut each: impl FnMut(&BatchHeader, u32) + Send,
) -> SegmentScan {
    let first = crate::files::SEGMENT_HEADER_BYTES;
    let mut scan = SegmentScan { index: IndexBuilder::new(base), damaged: Vec::new() };
    let mut scanner = Scanner::new(file.clone(), first, limit);
    let (mut at, mut epoch, mut landmark) = (base, LeaderEpoch::NONE, true);
    while at < end {
        let position = scanner.position();
        match scanner.next(true).await {
            Scanned::Batch(header) if follows(&header, at, end, epoch) && epochs.admits(&header) => {
                scan.index.push_at(&header, position, interval, landmark);
                (at, epoch, landmark) = (header.next_offset(), header.leader_epoch, false);
                each(&header, position);
            }
            _ => {
                // A base offset is covered by no checksum; one that lies too far ahead for this segment has rotted.
                let wanted = at.next()..end.min(Offset(base.0.saturating_add(i64::from(i32::MAX))));
                let Some((position, next)) = find_batch(file, position, limit, wanted, limit).await else {
                    scan.damaged.push(at..end);
                    break;
                };
                scan.damaged.push(at..next);
                scanner.seek(position);
                (at, landmark) = (next, true);
            }
        }
    }
    scan
}

/// Copies batches that checked out once to another file, and returns where they end there. Each is checked again: the
/// pages that were checked before may have been dropped meanwhile.
pub(crate) async fn copy_batches<F: File>(
    from: (&F, Range<u32>),
    offsets: Range<Offset>,
    to: (&F, u64),
) -> io::Result<u64> {
    let (source, Range { start: mut position, end }) = from;
    let (copy, mut target) = to;
    let mut at = offsets.start;
    let mut wanted = CHUNK_BYTES;
    while position < end {
        let length = wanted.min(end - position);
        let bytes = source.read_at(u64::from(position), length as usize).await?;
        let Prefix { length: whole, next, stop, .. } =
            check_prefix(&bytes, at, offsets.end, usize::MAX, true, |_| true);
        if whole == 0 {
            match stop {
                Stop::Partial(needed) if bytes.len() == length as usize && length < end - position => {
                    wanted = u32::try_from(needed).unwrap_or(u32::MAX);
                    continue;
                }
                _ => return Err(changed_under_us()),
            }
        }
        copy.write_at(target, vec![bytes.slice(..whole)]).await?;
        target += whole as u64;
        position += u32::try_from(whole).expect("bounded by the file's length");
        (at, wanted) = (next, CHUNK_BYTES);
    }
    Ok(target)
}

fn changed_under_us() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a batch checked out once and did not when it was read again")
}

/// Whether a batch may stand at offset `at` of a log that goes to `end` and has reached `epoch`.
pub(crate) fn follows(header: &BatchHeader, at: Offset, end: Offset, epoch: LeaderEpoch) -> bool {
    header.base_offset == at && header.next_offset() <= end && header.leader_epoch >= epoch
}

/// The first batch behind what is broken at `position` whose base offset lies in `offsets`, looked for in up to
/// `search_bytes`.
///
/// A producer can put the bytes of a batch into a record's value, and damage in front of it must not turn that into
/// records of the log. So a batch counts only if another one follows it, or the end of the file does; and what the
/// broken batch's own length leads to is tried first.
pub(crate) async fn find_batch<F: File>(
    file: &F,
    position: u32,
    limit: u32,
    offsets: Range<Offset>,
    search_bytes: u32,
) -> Option<(u32, Offset)> {
    let search_end = limit.min(position.saturating_add(search_bytes));
    if let Ok(head) = read_stubbornly(file, position, HEADER_BYTES as u32, HEADER_BYTES as u32).await
        && let Ok(header) = BatchHeader::parse(&head)
        && let Ok(next) = u32::try_from(u64::from(position) + header.size_bytes() as u64)
        && next < search_end
        && let Some(base) = batch_at(file, next, limit, &offsets).await
    {
        return Some((next, base));
    }
    let mut at = position + 1;
    let mut length = CHUNK_BYTES;
    while at < search_end {
        // Pieces overlap by a header, so that one that straddles them is seen.
        let read = (length + HEADER_BYTES as u32).min(limit - at);
        let Ok(chunk) = read_stubbornly(file, at, read, read).await else {
            if length > SECTOR_BYTES {
                length = SECTOR_BYTES;
            } else {
                at = at.saturating_add(SECTOR_BYTES - at % SECTOR_BYTES);
            }
            continue;
        };
        let starts = chunk.len().saturating_sub(HEADER_BYTES - 1).min(length as usize);
        for start in 0..starts {
            if may_be_header(&chunk[start..start + HEADER_BYTES], &offsets) {
                let found = at + start as u32;
                if let Some(base) = batch_at(file, found, limit, &offsets).await {
                    return Some((found, base));
                }
            }
        }
        at = at.saturating_add(length);
        length = CHUNK_BYTES;
    }
    None
}

/// The base offset of the batch at a position, if there is one within `offsets`, and another or the end behind it.
async fn batch_at<F: File>(file: &F, position: u32, limit: u32, offsets: &Range<Offset>) -> Option<Offset> {
    let mut scanner = Scanner::new(file.clone(), position, limit);
    let Scanned::Batch(header) = scanner.next(true).await else { return None };
    if !offsets.contains(&header.base_offset) {
        return None;
    }
    let followed = match scanner.next(false).await {
        Scanned::End => true,
        Scanned::Batch(next) => next.base_offset == header.next_offset(),
        Scanned::Broken | Scanned::Unreadable => header.next_offset() >= offsets.end,
    };
    followed.then_some(header.base_offset)
}

/// A cheap look at bytes that may be a batch's header.
fn may_be_header(bytes: &[u8], offsets: &Range<Offset>) -> bool {
    if bytes[16] != MAGIC as u8 {
        return false;
    }
    let base = Offset(i64::from_be_bytes(crate::frame::array(bytes)));
    let length = i32::from_be_bytes(crate::frame::array(&bytes[8..]));
    offsets.contains(&base) && length >= (HEADER_BYTES - LENGTH_PREFIX) as i32
}

/// What whole batches stand at the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// How many bytes they have.
    pub length: usize,
    /// The offset behind them.
    pub next: Offset,
    /// The epoch of the last of them.
    pub epoch: LeaderEpoch,
    /// Why they end there.
    pub stop: Stop,
}

/// Why a run of batches ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The next batch would pass one of the caller's bounds, or the buffer is at its end.
    Bound,
    /// The next batch needs this many bytes in the buffer, or more.
    Partial(usize),
    /// The next bytes are no batch that may stand here.
    Broken,
}

/// Checks the batches at the front of `bytes`, the first of which must have the base offset `at`: up to `max_bytes`
/// of them, none reaching beyond `up_to`. `admits` says whether a batch can be of its leader epoch.
pub(crate) fn check_prefix(
    bytes: &[u8],
    at: Offset,
    up_to: Offset,
    max_bytes: usize,
    check: bool,
    admits: impl Fn(&BatchHeader) -> bool,
) -> Prefix {
    let mut prefix = Prefix { length: 0, next: at, epoch: LeaderEpoch::NONE, stop: Stop::Bound };
    while prefix.next < up_to && prefix.length < bytes.len() {
        let rest = &bytes[prefix.length..];
        if rest.len() < HEADER_BYTES {
            prefix.stop = Stop::Partial(prefix.length + HEADER_BYTES);
            break;
        }
        let Ok(header) = BatchHeader::parse(rest) else {
            prefix.stop = Stop::Broken;
            break;
        };
        if header.base_offset != prefix.next || header.leader_epoch < prefix.epoch || !admits(&header) {
            prefix.stop = Stop::Broken;
            break;
        }
        let size = header.size_bytes();
        if header.next_offset() > up_to || prefix.length.saturating_add(size) > max_bytes {
            break;
        }
        if size > rest.len() {
            prefix.stop = Stop::Partial(prefix.length + size);
            break;
        }
        if check && crc32c(&rest[CHECKED_FROM as usize..size]) != header.crc {
            prefix.stop = Stop::Broken;
            break;
        }
        prefix.length += size;
        prefix.next = header.next_offset();
        prefix.epoch = header.leader_epoch;
    }
    prefix
}
