//! Reads the wire format off a frame.

use crate::{DecodeError, DecodeProblem, Str};
use bytes::Bytes;

/// The most memory that the arrays of one message may take, in bytes. A frame can claim tens of times its own
/// size: an empty string is one byte on the wire and 32 in memory.
pub const MAX_DECODED_BYTES: usize = 128 << 20;

/// An array starts with room for this much at most and grows as its elements turn out to exist.
const FIRST_RESERVE_BYTES: usize = 64 << 10;

/// Reads from a frame's bytes. Strings and records are slices of the frame: they keep it in memory.
///
/// Invariant: `position <= end <= frame.len()`.
#[derive(Clone, Debug)]
pub struct Decoder {
    frame: Bytes,
    position: usize,
    end: usize,
    memory_left: usize,
}

impl Decoder {
    /// Reads all of `frame`.
    pub fn new(frame: Bytes) -> Self {
        let end = frame.len();
        Self { frame, position: 0, end, memory_left: MAX_DECODED_BYTES }
    }

    /// The number of bytes left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// The bytes left.
    pub fn rest(&self) -> Bytes {
        self.frame.slice(self.position..self.end)
    }

    #[inline]
    fn unread(&self) -> &[u8] {
        &self.frame[self.position..self.end]
    }

    #[cold]
    fn truncated(&self, wanted: usize) -> DecodeError {
        DecodeError::new(DecodeProblem::Truncated { wanted, remaining: self.remaining() })
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.unread().first_chunk::<N>() {
            Some(bytes) => {
                let bytes = *bytes;
                self.position += N;
                Ok(bytes)
            }
            None => Err(self.truncated(N)),
        }
    }

    /// The next `length` bytes, as a slice of the frame.
    #[inline]
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let start = self.position;
        self.position += length;
        Ok(self.frame.slice(start..self.position))
    }

    /// The next `length` bytes, which must be UTF-8.
    #[inline]
    pub fn string(&mut self, length: usize) -> Result<Str, DecodeError> {
        let bytes = self.bytes(length)?;
        Str::try_from(bytes)
            .map_err(|error| DecodeError::new(DecodeProblem::Utf8 { valid_up_to: error.valid_up_to() }))
    }

    /// Passes over `length` bytes.
    #[inline]
    pub fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        self.position += length;
        Ok(())
    }

    /// An unsigned variable-length integer of at most 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        // Nearly all are below 128.
        match self.unread().first() {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u32::from(byte))
            }
            _ => self.long_uvarint(),
        }
    }

    fn long_uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::new(DecodeProblem::Varint));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::new(DecodeProblem::Varint))
    }

    /// A length of a flexible version: one more than its value, zero for null.
    #[inline]
    pub fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
    }

    /// A 16-bit length, -1 for null.
    #[inline]
    pub fn short_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let length = i16::from_be_bytes(self.array()?);
        plain_length(i32::from(length))
    }

    /// A 32-bit length, -1 for null.
    #[inline]
    pub fn long_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let length = i32::from_be_bytes(self.array()?);
        plain_length(length)
    }

    /// Room for an array of `count` elements that take `least` bytes each, or an error if they cannot be
    /// there.
    #[inline]
    pub fn reserve<T>(&mut self, count: usize, least: usize) -> Result<Vec<T>, DecodeError> {
        let least = least.max(1);
        if count > self.remaining() / least {
            let remaining = self.remaining();
            return Err(DecodeError::new(DecodeProblem::Count { count, least, remaining }));
        }
        let size = size_of::<T>().max(1);
        match count.checked_mul(size).and_then(|memory| self.memory_left.checked_sub(memory)) {
            Some(left) => self.memory_left = left,
            None => return Err(DecodeError::new(DecodeProblem::Memory { count, limit: MAX_DECODED_BYTES })),
        }
        Ok(Vec::with_capacity(count.min(FIRST_RESERVE_BYTES / size)))
    }

    /// A tagged field's number and size.
    #[inline]
    pub fn tag(&mut self) -> Result<(u32, usize), DecodeError> {
        Ok((self.uvarint()?, self.uvarint()? as usize))
    }

    /// Passes over the tagged fields of a struct that knows none.
    #[inline]
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        // Bounded by the input: every round takes two bytes at least.
        for _ in 0..self.uvarint()? {
            let (_, size) = self.tag()?;
            self.skip(size)?;
        }
        Ok(())
    }

    /// Reads a value that takes exactly the next `size` bytes.
    pub fn sized<T>(
        &mut self,
        size: usize,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if size > self.remaining() {
            return Err(self.truncated(size));
        }
        let end = std::mem::replace(&mut self.end, self.position + size);
        let value = read(self)?;
        let unread = self.remaining();
        self.end = end;
        if unread != 0 {
            return Err(DecodeError::new(DecodeProblem::TagSize { size, unread }));
        }
        Ok(value)
    }
}

#[inline]
fn plain_length(length: i32) -> Result<Option<usize>, DecodeError> {
    match usize::try_from(length) {
        Ok(length) => Ok(Some(length)),
        Err(_) if length == -1 => Ok(None),
        Err(_) => Err(DecodeError::new(DecodeProblem::NegativeLength { length: i64::from(length) })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DecodeProblem::{Count, Memory, NegativeLength, TagSize, Truncated, Utf8, Varint};
    use std::fmt::Debug;

    fn check<T: Debug + PartialEq>(
        bytes: &'static [u8],
        read: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
        expected: Result<T, DecodeProblem>,
    ) {
        let mut input = Decoder::new(Bytes::from_static(bytes));
        let found = read(&mut input).map_err(|error| error.problem().clone());
        assert_eq!(found, expected, "{bytes:02x?}");
        if found.is_ok() {
            assert_eq!(input.remaining(), 0, "{bytes:02x?}");
        }
    }

    #[test]
    fn variable_length_integers() {
        for (bytes, expected) in [
            (&[0][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0xff, 0x7f], Ok(16_383)),
            (&[0x80, 0x80, 0x01], Ok(16_384)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            // Longer than it must be, which Kafka reads as well.
            (&[0x81, 0x00], Ok(1)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(Varint)),
            (&[0xff, 0xff, 0xff, 0xff, 0x8f, 0x00], Err(Varint)),
            (&[0x80, 0x80], Err(Truncated { wanted: 1, remaining: 0 })),
            (&[], Err(Truncated { wanted: 1, remaining: 0 })),
        ] {
            check(bytes, Decoder::uvarint, expected);
        }
    }

    #[test]
    fn lengths() {
        check(&[0], Decoder::compact_length, Ok(None));
        check(&[1], Decoder::compact_length, Ok(Some(0)));
        check(&[0xff, 0xff], Decoder::short_length, Ok(None));
        check(&[0x7f, 0xff], Decoder::short_length, Ok(Some(32_767)));
        check(&[0xff, 0xfe], Decoder::short_length, Err(NegativeLength { length: -2 }));
        check(&[0x80, 0, 0, 0], Decoder::long_length, Err(NegativeLength { length: -2_147_483_648 }));
    }

    #[test]
    fn strings_are_slices_of_the_frame() {
        let frame = Bytes::from_static(b"topic!");
        let read = Decoder::new(frame.clone()).string(5).expect("it is UTF-8");
        assert_eq!(read, "topic");
        assert_eq!(read.as_bytes().as_ptr(), frame.as_ptr());
        check(b"ab\xff", |input| input.string(3), Err(Utf8 { valid_up_to: 2 }));
        check(b"ab", |input| input.string(3), Err(Truncated { wanted: 3, remaining: 2 }));
    }

    #[test]
    fn arrays_are_bounded_before_they_take_memory() {
        fn reserve<T>(count: usize, least: usize) -> impl FnOnce(&mut Decoder) -> Result<usize, DecodeError> {
            move |input| {
                let reserved = input.reserve::<T>(count, least)?.capacity();
                input.skip(input.remaining())?;
                Ok(reserved)
            }
        }
        check(&[0; 12], reserve::<u32>(3, 4), Ok(3));
        check(&[0; 12], reserve::<u32>(4, 4), Err(Count { count: 4, least: 4, remaining: 12 }));
        // A least size of nothing counts as one byte.
        check(&[0; 12], reserve::<u32>(13, 0), Err(Count { count: 13, least: 1, remaining: 12 }));
        check(&[0; 200_000], reserve::<u64>(200_000, 1), Ok(FIRST_RESERVE_BYTES / 8));
        let most = MAX_DECODED_BYTES / 1024;
        check(&[0; 200_000], reserve::<[u8; 1024]>(most, 1), Ok(FIRST_RESERVE_BYTES / 1024));
        let too_many = Memory { count: most + 1, limit: MAX_DECODED_BYTES };
        check(&[0; 200_000], reserve::<[u8; 1024]>(most + 1, 1), Err(too_many));
    }

    #[test]
    fn the_memory_of_all_arrays_is_bounded_together() {
        let mut input = Decoder::new(Bytes::from_static(&[0; 200_000]));
        let half = MAX_DECODED_BYTES / 2048;
        assert!(input.reserve::<[u8; 1024]>(half, 1).is_ok());
        assert!(input.reserve::<[u8; 1024]>(half, 1).is_ok());
        assert!(input.reserve::<[u8; 1024]>(1, 1).is_err());
    }

    #[test]
    fn tagged_fields_keep_to_their_size() {
        let read = |input: &mut Decoder| input.sized(2, |input| input.array::<2>());
        check(&[1, 2], read, Ok([1, 2]));
        check(&[1], read, Err(Truncated { wanted: 2, remaining: 1 }));
        let too_little = |input: &mut Decoder| input.sized(2, |input| input.array::<1>());
        check(&[1, 2], too_little, Err(TagSize { size: 2, unread: 1 }));
        let too_much = |input: &mut Decoder| input.sized(2, |input| input.array::<3>());
        check(&[1, 2, 3], too_much, Err(Truncated { wanted: 3, remaining: 2 }));
    }

    #[test]
    fn unknown_tagged_fields_are_skipped() {
        check(&[2, 0, 1, 9, 0x80, 0x01, 0], Decoder::skip_tags, Ok(()));
        check(&[1, 0, 2, 9], Decoder::skip_tags, Err(Truncated { wanted: 2, remaining: 1 }));
        check(
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            Decoder::skip_tags,
            Err(Truncated { wanted: 1, remaining: 0 }),
        );
    }
}
