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

    /// An encoder that goes on behind what stands in `buffer`.
    pub(crate) fn behind(buffer: Vec<u8>) -> Self {
        Self { buffer, ..Self::default() }
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
        let mut segments = SmallVec::with_capacity(2 * self.cuts.len() + 1);
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

    /// The buffer, with the length of what was written since `start` put into its first four bytes there. Without what
    /// was written since then if that is an error.
    pub(crate) fn finish_behind(
        mut self,
        start: usize,
        written: Result<(), EncodeError>,
    ) -> (Vec<u8>, Result<(), EncodeError>) {
        debug_assert!(self.cuts.is_empty(), "record bytes do not fit into the buffer");
        let length = self.written().saturating_sub(start + LENGTH_BYTES);
        let written = written.and_then(|()| match length > MAX_FRAME_BYTES {
            true => Err(too_long(length, MAX_FRAME_BYTES)),
            false => Ok(()),
        });
        match written {
            Ok(()) => {
                self.buffer[start..start + LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes())
            }
            Err(_) => self.buffer.truncate(start),
        }
        (self.buffer, written)
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn sizes_of_tagged_fields_of_any_length() {
        for size in [0, 1, 126, 127, 128, 129, 16_383, 16_384, 100_000] {
            let mut out = Encoder::default();
            let start = out.begin_tag(300);
            out.raw(&vec![7; size]);
            out.end_tag(start);
            out.raw(b"after");
            let frame = out.finish();
            let [Segment::Bytes(bytes)] = frame.segments.as_slice() else { panic!("one segment") };
            let mut input = crate::Decoder::new(bytes.clone());
            assert_eq!(input.tag(), Ok((300, size)));
            assert_eq!(input.bytes(size).expect("its content"), vec![7; size]);
            assert_eq!(input.rest(), "after");
        }
    }

    #[test]
    fn records_are_segments_of_their_own_and_not_copied() {
        let batch = Bytes::from_static(b"batch");
        let mut out = Encoder::default();
        out.records(&Records::Bytes(batch.clone()));
        out.raw(b"between");
        out.records(&Records::Chain(vec![batch.clone(), Bytes::new(), batch.clone()]));
        out.records(&Records::External { id: 4, length: 70 });
        out.records(&Records::External { id: 5, length: 0 });
        out.records(&Records::EMPTY);
        out.records(&Records::Null);
        assert_eq!(out.written(), 5 + 7 + 10 + 70);
        let frame = out.finish();
        assert_eq!(frame.length, 5 + 7 + 10 + 70);
        let expected = [
            Segment::Bytes(batch.clone()),
            Segment::Bytes(Bytes::from_static(b"between")),
            Segment::Bytes(batch.clone()),
            Segment::Bytes(batch.clone()),
            Segment::External { id: 4, length: 70 },
        ];
        assert_eq!(frame.segments.as_slice(), expected);
        let Segment::Bytes(first) = &frame.segments[0] else { panic!("bytes") };
        assert_eq!(first.as_ptr(), batch.as_ptr());
    }

    #[test]
    fn lengths_that_have_no_form_are_refused() {
        let mut out = Encoder::default();
        assert_eq!(out.short_length(Some(32_767)), Ok(()));
        let too_long = EncodeProblem::TooLong { length: 32_768, limit: 32_767 };
        assert_eq!(out.short_length(Some(32_768)).map_err(|error| error.problem().clone()), Err(too_long));
        assert!(out.long_length(Some(1 << 31)).is_err());
        assert!(out.compact_length(Some(1 << 31)).is_err());
    }

    #[test]
    fn a_frame_too_large_for_its_length_is_refused() {
        let half = Records::External { id: 0, length: 1 << 30 };
        let mut out = Encoder::default();
        out.raw(&[0; LENGTH_BYTES]);
        out.records(&half);
        out.records(&half);
        assert!(out.finish_prefixed().is_err());
    }
}
