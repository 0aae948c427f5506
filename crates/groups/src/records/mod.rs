//! The records of the offsets topic, as Kafka writes them.
//!
//! Key and value begin with two bytes: in a key they say which kind of record it is, in a value which version of its
//! form. What was deleted has no value. Kinds that are not known are passed over, so that a log of a later version can
//! be read.

mod group_metadata;
mod offset_commit;

pub use group_metadata::{GroupMetadataValue, MemberMetadata};
pub use offset_commit::{OffsetCommitKey, OffsetCommitValue};

use bytes::{BufMut, Bytes, BytesMut};
use highwater_wire::{DecodeError, Decoder, Encoder, Message, Segment, Str};

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It has no key.
    #[error("a record of the offsets topic has no key")]
    NoKey,
    /// Its bytes are not of the form that they say they are.
    #[error("a record of the offsets topic cannot be read: {0}")]
    Malformed(#[from] DecodeError),
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// How far a group has read a partition; none: that is forgotten.
    Offset(OffsetCommitKey, Option<OffsetCommitValue>),
    /// A classic group; none: it is gone.
    Group(Str, Option<GroupMetadataValue>),
}

/// The key of a record of a classic group.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "none")]
struct GroupKey {
    group: Str,
}

/// Keys of this kind are written by Kafka no more, but may be read. They have the form of the next one.
const OLD_OFFSET: i16 = 0;
const OFFSET: i16 = 1;
const GROUP: i16 = 2;

impl Record {
    /// Key and value as bytes.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Offset(key, value) => {
                (tagged(OFFSET, 0, key), value.as_ref().map(|value| versioned(value.version(), value)))
            }
            Self::Group(group, value) => (
                tagged(GROUP, 0, &GroupKey { group: group.clone() }),
                value.as_ref().map(|value| versioned(GroupMetadataValue::WRITTEN, value)),
            ),
        }
    }

    /// Reads a record; none of a kind that is not known.
    pub fn decode(key: Option<Bytes>, value: Option<Bytes>) -> Result<Option<Self>, RecordError> {
        let mut input = Decoder::new(key.ok_or(RecordError::NoKey)?);
        Ok(match i16::from_be_bytes(input.array()?) {
            OLD_OFFSET | OFFSET => {
                let value = value.map(read::<OffsetCommitValue>).transpose()?;
                Some(Self::Offset(OffsetCommitKey::decode(&mut input, 0)?, value.map(|(value, _)| value)))
            }
            GROUP => {
                let value = value.map(read::<GroupMetadataValue>).transpose()?;
                Some(Self::Group(
                    GroupKey::decode(&mut input, 0)?.group,
                    value.map(GroupMetadataValue::completed),
                ))
            }
            _ => None,
        })
    }

    /// The group that it is about.
    pub fn group(&self) -> &Str {
        match self {
            Self::Offset(key, _) => &key.group,
            Self::Group(group, _) => group,
        }
    }
}

/// Reads a value, and tells its version.
fn read<M: Message>(value: Bytes) -> Result<(M, i16), RecordError> {
    let mut input = Decoder::new(value);
    let version = i16::from_be_bytes(input.array()?);
    Ok((M::decode(&mut input, version)?, version))
}

fn versioned<M: Message>(version: i16, message: &M) -> Bytes {
    tagged(version, version, message)
}

fn tagged<M: Message>(tag: i16, version: i16, message: &M) -> Bytes {
    let mut out = Encoder::default();
    // What is kept came in over the wire in fields of the same length, or is made here and short.
    message.encode(&mut out, version).expect("a record's fields fit their lengths");
    let frame = out.finish();
    let mut bytes = BytesMut::with_capacity(2 + frame.length);
    bytes.put_i16(tag);
    for segment in &frame.segments {
        match segment {
            Segment::Bytes(part) => bytes.put_slice(part),
            Segment::External { .. } => unreachable!("no record has a range of a file"),
        }
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests;
