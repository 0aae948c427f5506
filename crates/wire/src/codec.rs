//! How each type of field reads and writes. Public for the derive macro alone.

use crate::{
    DecodeError, DecodeProblem, Decoder, EncodeError, EncodeProblem, Encoder, ErrorCode, Records, Str,
};
use bytes::Bytes;
use highwater_types::{
    BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId, Uuid,
};

/// The form that a field is read or written in.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The message's version.
    pub version: i16,
    /// Whether lengths are compact and structs end in tagged fields.
    pub flexible: bool,
    /// Whether this field may be null.
    pub nullable: bool,
}

impl At {
    /// The form of a message's body.
    pub fn new(version: i16, flexible: bool) -> Self {
        Self { version, flexible, nullable: false }
    }

    /// The form of a field that may be null or not.
    #[inline]
    #[must_use]
    pub fn with_nullable(self, nullable: bool) -> Self {
        Self { nullable, ..self }
    }
}

/// A type that a field can have.
pub trait Field: Sized {
    /// The least number of bytes that a value takes.
    fn least(at: At) -> usize;

    /// No fewer bytes than this value takes in any version, records excluded.
    fn bound(&self) -> usize;

    /// Reads a value.
    fn read(input: &mut Decoder, at: At) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError>;
}

/// A type that has a null form; `Option` of it is a [`Field`].
pub trait Nullable: Field {
    /// The least number of bytes that a value or null takes.
    fn least_nullable(at: At) -> usize;

    /// Reads a value or null.
    fn read_nullable(input: &mut Decoder, at: At) -> Result<Option<Self>, DecodeError>;

    /// Writes a value or null.
    fn write_nullable(value: Option<&Self>, out: &mut Encoder, at: At) -> Result<(), EncodeError>;
}

/// A derived struct: what stands for null is a byte in front of it.
pub trait NullableStruct: Field {}

#[cold]
fn unexpected_null() -> DecodeError {
    DecodeError::new(DecodeProblem::Null)
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Field for $type {
            #[inline]
            fn least(_at: At) -> usize {
                size_of::<$type>()
            }

            #[inline]
            fn bound(&self) -> usize {
                size_of::<$type>()
            }

            #[inline]
            fn read(input: &mut Decoder, _at: At) -> Result<Self, DecodeError> {
                Ok(<$type>::from_be_bytes(input.array()?))
            }

            #[inline]
            fn write(&self, out: &mut Encoder, _at: At) -> Result<(), EncodeError> {
                out.raw(&self.to_be_bytes());
                Ok(())
            }
        }
    )*};
}

integer!(i8, i16, u16, i32, i64);

/// Types that are on the wire what their content is.
macro_rules! newtype {
    ($($type:ident($inner:ty)),* $(,)?) => {$(
        impl Field for $type {
            #[inline]
            fn least(at: At) -> usize {
                <$inner>::least(at)
            }

            #[inline]
            fn bound(&self) -> usize {
                self.0.bound()
            }

            #[inline]
            fn read(input: &mut Decoder, at: At) -> Result<Self, DecodeError> {
                <$inner>::read(input, at).map($type)
            }

            #[inline]
            fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
                self.0.write(out, at)
            }
        }
    )*};
}

newtype!(
    BrokerId(i32),
    ErrorCode(i16),
    LeaderEpoch(i32),
    Offset(i64),
    PartitionIndex(i32),
    ProducerEpoch(i16),
    ProducerId(i64),
    Timestamp(i64),
    TopicId(Uuid),
);

impl Field for bool {
    #[inline]
    fn least(_at: At) -> usize {
        1
    }

    #[inline]
    fn bound(&self) -> usize {
        1
    }

    #[inline]
    fn read(input: &mut Decoder, _at: At) -> Result<Self, DecodeError> {
        let [byte] = input.array()?;
        Ok(byte != 0)
    }

    #[inline]
    fn write(&self, out: &mut Encoder, _at: At) -> Result<(), EncodeError> {
        out.raw(&[u8::from(*self)]);
        Ok(())
    }
}

impl Field for Uuid {
    #[inline]
    fn least(_at: At) -> usize {
        16
    }

    #[inline]
    fn bound(&self) -> usize {
        16
    }

    #[inline]
    fn read(input: &mut Decoder, _at: At) -> Result<Self, DecodeError> {
        input.array().map(Uuid)
    }

    #[inline]
    fn write(&self, out: &mut Encoder, _at: At) -> Result<(), EncodeError> {
        out.raw(&self.0);
        Ok(())
    }
}

/// The longest string that Kafka reads or writes, compact lengths included.
const MAX_STRING_BYTES: usize = i16::MAX as usize;

impl Field for Str {
    #[inline]
    fn least(at: At) -> usize {
        Self::least_nullable(at)
    }

    #[inline]
    fn bound(&self) -> usize {
        5 + self.len()
    }

    #[inline]
    fn read(input: &mut Decoder, at: At) -> Result<Self, DecodeError> {
        Self::read_nullable(input, at)?.ok_or_else(unexpected_null)
    }

    #[inline]
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, at)
    }
}

impl Nullable for Str {
    #[inline]
    fn least_nullable(at: At) -> usize {
        if at.flexible { 1 } else { 2 }
    }

    #[inline]
    fn read_nullable(input: &mut Decoder, at: At) -> Result<Option<Self>, DecodeError> {
        let length = if at.flexible { input.compact_length()? } else { input.short_length()? };
        let Some(length) = length else { return Ok(None) };
        if length > MAX_STRING_BYTES {
            return Err(DecodeError::new(DecodeProblem::TooLong { length, limit: MAX_STRING_BYTES }));
        }
        input.string(length).map(Some)
    }

    #[inline]
    fn write_nullable(value: Option<&Self>, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        let length = value.map(|value| value.len());
        if at.flexible {
            if let Some(length) = length
                && length > MAX_STRING_BYTES
            {
                return Err(EncodeError::new(EncodeProblem::TooLong { length, limit: MAX_STRING_BYTES }));
            }
            out.compact_length(length)?;
        } else {
            out.short_length(length)?;
        }
        if let Some(value) = value {
            out.raw(value.as_bytes());
        }
        Ok(())
    }
}

/// Bytes that mean nothing to a broker. Record batches are [`Records`], which are not copied.
impl Field for Bytes {
    #[inline]
    fn least(at: At) -> usize {
        Self::least_nullable(at)
    }

    #[inline]
    fn bound(&self) -> usize {
        5 + self.len()
    }

    #[inline]
    fn read(input: &mut Decoder, at: At) -> Result<Self, DecodeError> {
        Self::read_nullable(input, at)?.ok_or_else(unexpected_null)
    }

    #[inline]
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, at)
    }
}

impl Nullable for Bytes {
    #[inline]
    fn least_nullable(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }

    #[inline]
    fn read_nullable(input: &mut Decoder, at: At) -> Result<Option<Self>, DecodeError> {
        let length = if at.flexible { input.compact_length()? } else { input.long_length()? };
        length.map(|length| input.bytes(length)).transpose()
    }

    #[inline]
    fn write_nullable(value: Option<&Self>, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        let length = value.map(Bytes::len);
        if at.flexible {
            out.compact_length(length)?;
        } else {
            out.long_length(length)?;
        }
        if let Some(value) = value {
            out.raw(value);
        }
        Ok(())
    }
}

impl<T: Field> Field for Vec<T> {
    #[inline]
    fn least(at: At) -> usize {
        Self::least_nullable(at)
    }

    fn bound(&self) -> usize {
        5 + self.iter().map(Field::bound).sum::<usize>()
    }

    #[inline]
    fn read(input: &mut Decoder, at: At) -> Result<Self, DecodeError> {
        Self::read_nullable(input, at)?.ok_or_else(unexpected_null)
    }

    #[inline]
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, at)
    }
}

impl<T: Field> Nullable for Vec<T> {
    #[inline]
    fn least_nullable(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }

    fn read_nullable(input: &mut Decoder, at: At) -> Result<Option<Self>, DecodeError> {
        let at = at.with_nullable(false);
        let count = if at.flexible { input.compact_length()? } else { input.long_length()? };
        let Some(count) = count else { return Ok(None) };
        let mut elements = input.reserve(count, T::least(at))?;
        for index in 0..count {
            elements.push(T::read(input, at).map_err(|error| error.at_element(index))?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(value: Option<&Self>, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        let at = at.with_nullable(false);
        let count = value.map(Vec::len);
        if at.flexible {
            out.compact_length(count)?;
        } else {
            out.long_length(count)?;
        }
        for (index, element) in value.into_iter().flatten().enumerate() {
            element.write(out, at).map_err(|error| error.at_element(index))?;
        }
        Ok(())
    }
}

const ABSENT: i8 = -1;
const PRESENT: i8 = 1;

impl<T: NullableStruct> Nullable for T {
    #[inline]
    fn least_nullable(_at: At) -> usize {
        1
    }

    fn read_nullable(input: &mut Decoder, at: At) -> Result<Option<Self>, DecodeError> {
        // Where it cannot be null, there is no byte in front of it.
        if !at.nullable {
            return T::read(input, at).map(Some);
        }
        match i8::read(input, at)? {
            ABSENT => Ok(None),
            PRESENT => T::read(input, at.with_nullable(false)).map(Some),
            byte => Err(DecodeError::new(DecodeProblem::Presence { byte })),
        }
    }

    fn write_nullable(value: Option<&Self>, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        if at.nullable {
            let presence = if value.is_some() { PRESENT } else { ABSENT };
            presence.write(out, at)?;
        }
        value.map_or(Ok(()), |value| value.write(out, at.with_nullable(false)))
    }
}

impl<T: Nullable> Field for Option<T> {
    #[inline]
    fn least(at: At) -> usize {
        T::least_nullable(at)
    }

    #[inline]
    fn bound(&self) -> usize {
        // The length of null, or the byte in front of a struct.
        5 + self.as_ref().map_or(0, Field::bound)
    }

    #[inline]
    fn read(input: &mut Decoder, at: At) -> Result<Self, DecodeError> {
        let value = T::read_nullable(input, at)?;
        if value.is_none() && !at.nullable {
            return Err(unexpected_null());
        }
        Ok(value)
    }

    #[inline]
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        if self.is_none() && !at.nullable {
            return Err(EncodeError::new(EncodeProblem::Null));
        }
        T::write_nullable(self.as_ref(), out, at)
    }
}

impl Field for Records {
    #[inline]
    fn least(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }

    #[inline]
    fn bound(&self) -> usize {
        5
    }

    #[inline]
    fn read(input: &mut Decoder, at: At) -> Result<Self, DecodeError> {
        let length = if at.flexible { input.compact_length()? } else { input.long_length()? };
        match length {
            Some(length) => input.bytes(length).map(Self::Bytes),
            None if at.nullable => Ok(Self::Null),
            None => Err(unexpected_null()),
        }
    }

    #[inline]
    fn write(&self, out: &mut Encoder, at: At) -> Result<(), EncodeError> {
        let length = match self {
            Self::Null if !at.nullable => return Err(EncodeError::new(EncodeProblem::Null)),
            Self::Null => None,
            _ => Some(self.len()),
        };
        if at.flexible {
            out.compact_length(length)?;
        } else {
            out.long_length(length)?;
        }
        out.records(self);
        Ok(())
    }
}
