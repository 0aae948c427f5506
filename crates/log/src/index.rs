//! The index of a segment: from offsets and times to positions.
//!
//! An index is never more than a hint. Whatever is found at a position it names is checked, and if it does not check
//! out, the segment itself is read and the index made anew.

use crate::files::SEGMENT_HEADER_BYTES;
use crate::frame::array;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_records::BatchHeader;
use highwater_types::{Offset, Timestamp};

/// The length of an index file's header.
pub(crate) const INDEX_HEADER_BYTES: usize = 64;
pub(crate) const ENTRY_BYTES: usize = 16;

const MAGIC: &[u8; 8] = b"HWINDEX\0";
const VERSION: u16 = 1;
const HEADER_CRC_AT: usize = 60;

/// Where one batch of a segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// The batch's base offset, relative to the segment's.
    pub relative: u32,
    /// The batch's position in the file.
    pub position: u32,
    /// The largest timestamp of the segment up to this batch, and in it.
    pub max_timestamp: Timestamp,
}

/// What a segment holds, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The first offset.
    pub base: Offset,
    /// The end offset.
    pub end: Offset,
    /// The bytes of the file that belong to the segment, header included.
    pub size: u32,
    /// The largest timestamp; [`Timestamp::NONE`] without records.
    pub max_timestamp: Timestamp,
    /// The base offset of the first batch with that timestamp.
    pub max_timestamp_at: Offset,
}

/// The index of a segment that does not change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub summary: Summary,
    pub entries: Vec<IndexEntry>,
}

/// A range of a segment in which a batch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The base offset of the batch at `position`.
    pub offset: Offset,
    /// The position of a batch.
    pub position: u32,
    /// The position of the next batch that the index knows, or the end of the segment.
    pub next: u32,
}

/// The index of a segment that grows.
#[derive(Clone, Debug)]
pub(crate) struct IndexBuilder {
    summary: Summary,
    entries: Vec<IndexEntry>,
}

impl IndexBuilder {
    /// The index of a segment without batches.
    pub(crate) fn new(base: Offset) -> Self {
        let summary = Summary {
            base,
            end: base,
            size: SEGMENT_HEADER_BYTES,
            max_timestamp: Timestamp::NONE,
            max_timestamp_at: base,
        };
        Self { summary, entries: Vec::new() }
    }

    /// Goes on from an index that was complete.
    pub(crate) fn resume(index: Index) -> Self {
        Self { summary: index.summary, entries: index.entries }
    }

    /// Takes in the batch at the segment's end. `landmark` forces an entry.
    pub(crate) fn push(&mut self, header: &BatchHeader, interval: u32, landmark: bool) {
        self.push_at(header, self.summary.size, interval, landmark);
    }

    /// Takes in the batch at `position`, which may lie beyond the segment's end so far where damage lies between.
    pub(crate) fn push_at(&mut self, header: &BatchHeader, position: u32, interval: u32, landmark: bool) {
        if header.max_timestamp > self.summary.max_timestamp {
            self.summary.max_timestamp = header.max_timestamp;
            self.summary.max_timestamp_at = header.base_offset;
        }
        let due = self.entries.last().is_none_or(|last| position - last.position >= interval);
        if due || landmark {
            let relative = header.base_offset.0 - self.summary.base.0;
            self.entries.push(IndexEntry {
                relative: u32::try_from(relative)
                    .expect("a segment is closed before offsets outgrow 31 bits"),
                position,
                max_timestamp: self.summary.max_timestamp,
            });
        }
        let size = u32::try_from(header.size_bytes()).expect("a batch length has 31 bits");
        self.summary.size =
            position.checked_add(size).expect("a segment is closed before it outgrows 31 bits");
        self.summary.end = header.next_offset();
    }

    /// The planted bug `index-trusted`: what an old file says of entries and times.
    pub(crate) fn with_stale(mut self, stale: Index) -> Self {
        self.summary.max_timestamp = stale.summary.max_timestamp;
        self.summary.max_timestamp_at = stale.summary.max_timestamp_at;
        self.entries = stale.entries;
        self
    }

    /// Moves the end up over offsets that have no batch.
    pub(crate) fn extend_to(&mut self, end: Offset) {
        self.summary.end = self.summary.end.max(end);
    }

    /// Replaces the entries below an offset by what a scan of the same segment found up to there. Where bytes moved
    /// within a damaged file, entries that were right once lead nowhere.
    pub(crate) fn correct(&mut self, found: &[IndexEntry], end: Offset) {
        let is_scanned = |entry: &IndexEntry| self.summary.base.plus(entry.relative.into()) < end;
        let later = self.entries.iter().filter(|entry| !is_scanned(entry));
        self.entries = found.iter().filter(|entry| is_scanned(entry)).chain(later).copied().collect();
    }

    pub(crate) fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// How many bytes the index file would have, about.
    pub(crate) fn size_bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES
    }

    /// Where the batch that holds `offset` is to be looked for.
    pub(crate) fn span(&self, offset: Offset) -> Option<Span> {
        span(&self.summary, &self.entries, offset)
    }

    /// See [`Index::offset_before`].
    pub(crate) fn offset_before(&self, time: Timestamp) -> Offset {
        offset_before(&self.summary, &self.entries, time)
    }

    /// The index as it is now.
    pub(crate) fn snapshot(&self) -> Index {
        Index { summary: self.summary, entries: self.entries.clone() }
    }

    /// The index, complete.
    pub(crate) fn finish(self) -> Index {
        Index { summary: self.summary, entries: self.entries }
    }
}

impl Index {
    /// Where the batch that holds `offset` is to be looked for.
    pub(crate) fn span(&self, offset: Offset) -> Option<Span> {
        span(&self.summary, &self.entries, offset)
    }

    /// An offset at or before the first batch that has a timestamp of `time` or later, close to it.
    pub(crate) fn offset_before(&self, time: Timestamp) -> Offset {
        offset_before(&self.summary, &self.entries, time)
    }

    /// How much memory the index takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<IndexEntry>()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out =
            BytesMut::with_capacity(INDEX_HEADER_BYTES + self.entries.len() * ENTRY_BYTES + size_of::<u32>());
        let Summary { base, end, size, max_timestamp, max_timestamp_at } = self.summary;
        out.put_slice(MAGIC);
        out.put_u16(VERSION);
        out.put_u16(0);
        out.put_u32(
            u32::try_from(self.entries.len()).expect("there are fewer entries than bytes in a segment"),
        );
        out.put_i64(base.0);
        out.put_i64(end.0);
        out.put_u32(size);
        out.put_u32(0);
        out.put_i64(max_timestamp.0);
        out.put_i64(max_timestamp_at.0);
        out.resize(HEADER_CRC_AT, 0);
        out.put_u32(crc32fast::hash(&out));
        for entry in &self.entries {
            out.put_u32(entry.relative);
            out.put_u32(entry.position);
            out.put_i64(entry.max_timestamp.0);
        }
        out.put_u32(crc32fast::hash(&out[INDEX_HEADER_BYTES..]));
        out.freeze()
    }

    /// The index in a file's bytes, if it is whole and could be that of a segment.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (summary, count) = decode_header(bytes)?;
        if bytes.len() != file_bytes(count)? {
            return None;
        }
        let body = &bytes[INDEX_HEADER_BYTES..];
        let (mut rest, crc) = body.split_at(body.len() - size_of::<u32>());
        if crc32fast::hash(rest) != u32::from_be_bytes(array(crc)) {
            return None;
        }
        let mut entries: Vec<IndexEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = IndexEntry {
                relative: rest.get_u32(),
                position: rest.get_u32(),
                max_timestamp: Timestamp(rest.get_i64()),
            };
            let in_order = entries.last().is_none_or(|last| {
                last.relative < entry.relative
                    && last.position < entry.position
                    && last.max_timestamp <= entry.max_timestamp
            });
            let in_bounds = entry.position >= SEGMENT_HEADER_BYTES
                && entry.position < summary.size
                && i64::from(entry.relative) < summary.end.0 - summary.base.0;
            if !in_order || !in_bounds {
                return None;
            }
            entries.push(entry);
        }
        Some(Self { summary, entries })
    }
}

/// The summary in the first bytes of an index file, and how many entries follow.
pub(crate) fn decode_header(bytes: &[u8]) -> Option<(Summary, usize)> {
    let bytes = bytes.get(..INDEX_HEADER_BYTES)?;
    let stored = u32::from_be_bytes(array(&bytes[HEADER_CRC_AT..]));
    if bytes[..8] != MAGIC[..] || crc32fast::hash(&bytes[..HEADER_CRC_AT]) != stored {
        return None;
    }
    let mut rest = &bytes[8..];
    if rest.get_u16() != VERSION {
        return None;
    }
    rest.advance(2);
    let count = usize::try_from(rest.get_u32()).ok()?;
    let base = Offset(rest.get_i64());
    let end = Offset(rest.get_i64());
    let size = rest.get_u32();
    rest.advance(4);
    let max_timestamp = Timestamp(rest.get_i64());
    let max_timestamp_at = Offset(rest.get_i64());
    let plausible = base.0 >= 0 && end >= base && size >= SEGMENT_HEADER_BYTES && size <= i32::MAX as u32;
    plausible.then_some((Summary { base, end, size, max_timestamp, max_timestamp_at }, count))
}

/// The length of an index file with that many entries.
pub(crate) fn file_bytes(count: usize) -> Option<usize> {
    count.checked_mul(ENTRY_BYTES)?.checked_add(INDEX_HEADER_BYTES + size_of::<u32>())
}

fn span(summary: &Summary, entries: &[IndexEntry], offset: Offset) -> Option<Span> {
    let relative = u32::try_from(offset.0.checked_sub(summary.base.0)?).ok()?;
    let after = entries.partition_point(|entry| entry.relative <= relative);
    let next = entries.get(after).map_or(summary.size, |next| next.position);
    let (offset, position) = match after.checked_sub(1).and_then(|before| entries.get(before)) {
        Some(entry) => (summary.base.plus(i64::from(entry.relative)), entry.position),
        // The segment's first batches do not check out; who looks for them there finds that.
        None if offset < summary.end => (summary.base, SEGMENT_HEADER_BYTES),
        None => return None,
    };
    Some(Span { offset, position, next })
}

fn offset_before(summary: &Summary, entries: &[IndexEntry], time: Timestamp) -> Offset {
    let reached = entries.partition_point(|entry| entry.max_timestamp < time);
    // The entry before is the last whose batch, and all batches before it, are too old.
    match reached.checked_sub(1).and_then(|before| entries.get(before)) {
        Some(entry) => summary.base.plus(i64::from(entry.relative)),
        None => summary.base,
    }
}

#[cfg(test)]
mod tests;
