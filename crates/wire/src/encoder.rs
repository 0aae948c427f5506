//! Writes the wire format.

use crate::frame::{Frame, Segment};
use crate::{EncodeError, EncodeProblem, Records};
use smallvec::SmallVec;

/// The longest frame that its four length bytes can announce.
const MAX_FRAME_BYTES: usize = i32::MAX as usize;

/// Writes small fields into one buffer, with record bytes kept apart from it.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
    /// Record bytes and where in the buffer they belong, in order.
    cuts: SmallVec<[(usize, Segment); 2]>,
    /// The sum of their lengths.
    cut_bytes: usize,
}

impl Encoder {
    /// An encoder whose buffer has room for that many bytes beside records.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: Vec::with_capacity(capacity), ..Self::default() }
    }

    /// The number of bytes written, record bytes included.
    pub fn written(&self) -> usize {
        self.buffer.len() + self.cut_bytes
    }

    /// Writes bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Writes an unsigned variable-length integer.
    #[inline]
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// Writes a length of a flexible version: one more than its value, zero for null.
    #[inline]
    pub fn compact_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        match length {
            None => self.buffer.push(0),
            Some(length) => self.uvarint(checked_length(length)? as u32 + 1),
        }
        Ok(())
    }

    /// Writes a 16-bit length, -1 for null.
    #[inline]
    pub fn short_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let length = match length {
            None => -1,
            Some(length) => i16::try_from(length).map_err(|_| too_long(length, i16::MAX as usize))?,
        };
        self.raw(&length.to_be_bytes());
        Ok(())
    }

    /// Writes a 32-bit length, -1 for null.
    #[inline]
    pub fn long_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let length = match length {
            None => -1,
            Some(length) => checked_length(length)?,
        };
        self.raw(&length.to_be_bytes());
        Ok(())
    }

    /// Puts record bytes here, without a length and without a copy.
    pub fn records(&mut self, records: &Records) {
        match records {
            Records::Null => {}
            Records::Bytes(bytes) => self.cut(Segment::Bytes(bytes.clone())),
            Records::Chain(parts) => parts.iter().for_each(|bytes| self.cut(Segment::Bytes(bytes.clone()))),
            Records::External { id, length } => self.cut(Segment::External { id: *id, length: *length }),
        }
    }

    fn cut(&mut self, segment: Segment) {
        if !segment.is_empty() {
            self.cut_bytes += segment.len();
            self.cuts.push((self.buffer.len(), segment));
        }
    }

    /// Starts a tagged field. Its size is put in by [`Self::end_tag`]; it has no records.
    pub fn begin_tag(&mut self, tag: u32) -> usize {
        self.uvarint(tag);
        // One byte for the size, which is nearly always enough.
        self.buffer.push(0);
        self.buffer.len()
    }

    /// Ends the tagged field whose content started at `start`.
    pub fn end_tag(&mut self, start: usize) {
        let size = self.buffer.len() - start;
        debug_assert!(
            self.cuts.last().is_none_or(|(at, _)| *at < start),
            "no schema has records in a tagged field"
        );
        let mut prefix = SmallVec::<[u8; 5]>::new();
        let mut rest = size;
        while rest >= 0x80 {
            prefix.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        prefix.push(rest as u8);
        self.buffer.splice(start - 1..start, prefix);
    }

    /// What was written, in segments.
    pub fn finish(self) -> Frame {
        let length = self.written();
        let buffer = bytes::Bytes::from(self.buffer);
        let mut segments = SmallVec::new();
        let mut from = 0;
        for (at, segment) in self.cuts {
            if at > from {
                segments.push(Segment::Bytes(buffer.slice(from..at)));
            }
            segments.push(segment);
            from = at;
        }
        if buffer.len() > from {
            segments.push(Segment::Bytes(buffer.slice(from..)));
        }
        Frame { segments, length }
    }

    /// As [`Self::finish`], after putting the length of all that follows them into the first four bytes.
    pub(crate) fn finish_prefixed(mut self) -> Result<Frame, EncodeError> {
        let length = self.written().saturating_sub(LENGTH_BYTES);
        if length > MAX_FRAME_BYTES {
            return Err(too_long(length, MAX_FRAME_BYTES));
        }
        self.buffer[..LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
        Ok(self.finish())
    }
}

/// The size of the length in front of a frame.
pub(crate) const LENGTH_BYTES: usize = 4;

#[inline]
fn checked_length(length: usize) -> Result<i32, EncodeError> {
    i32::try_from(length).map_err(|_| too_long(length, i32::MAX as usize))
}

#[cold]
fn too_long(length: usize, limit: usize) -> EncodeError {
    EncodeError::new(EncodeProblem::TooLong { length, limit })
}
