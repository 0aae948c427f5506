//! The records of the offsets topic, as Kafka writes them.
//!
//! Key and value begin with two bytes: in a key they say which kind of record it is, in a value which version of its
//! form. What was deleted has no value. Kinds that are not known are passed over, so that a log of a later version can
//! be read.

mod consumer;
mod group_metadata;
mod offset_commit;

pub use consumer::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupValue, ConsumerMemberValue, CurrentMemberValue,
    OwnedPartitions, TargetEpochValue, TargetMemberValue,
};
pub use group_metadata::{GroupMetadataValue, MemberMetadata};
pub use offset_commit::{OffsetCommitKey, OffsetCommitValue};

use bytes::{BufMut, Bytes, BytesMut};
use consumer::{GroupOnlyKey, MemberKey};
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
    /// A group of the new protocol; none: it is gone.
    ConsumerGroup(Str, Option<ConsumerGroupValue>),
    /// A member of such a group, and what it wants.
    ConsumerMember(Str, Str, Option<ConsumerMemberValue>),
    /// The epoch that the partitions are shared out for.
    TargetEpoch(Str, Option<TargetEpochValue>),
    /// What a member is to have.
    TargetMember(Str, Str, Option<TargetMemberValue>),
    /// What a member has.
    CurrentMember(Str, Str, Option<CurrentMemberValue>),
}

/// Keys of this kind are written by Kafka no more, but may be read. They have the form of the next one.
const OLD_OFFSET: i16 = 0;
const OFFSET: i16 = 1;
const GROUP: i16 = 2;
const CONSUMER_GROUP: i16 = 3;
const CONSUMER_MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET_MEMBER: i16 = 7;
const CURRENT_MEMBER: i16 = 8;

impl Record {
    /// Key and value as bytes.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Offset(key, value) => {
                (tagged(OFFSET, 0, key), value.as_ref().map(|value| versioned(value.version(), value)))
            }
            Self::Group(group, value) => (
                group_key(GROUP, group),
                value.as_ref().map(|value| versioned(GroupMetadataValue::WRITTEN, value)),
            ),
            Self::ConsumerGroup(group, value) => (group_key(CONSUMER_GROUP, group), first(value)),
            Self::ConsumerMember(group, member, value) => {
                (member_key(CONSUMER_MEMBER, group, member), first(value))
            }
            Self::TargetEpoch(group, value) => (group_key(TARGET_EPOCH, group), first(value)),
            Self::TargetMember(group, member, value) => {
                (member_key(TARGET_MEMBER, group, member), first(value))
            }
            Self::CurrentMember(group, member, value) => {
                (member_key(CURRENT_MEMBER, group, member), first(value))
            }
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
                Some(Self::Group(group_of(&mut input)?, value.map(GroupMetadataValue::completed)))
            }
            CONSUMER_GROUP => Some(Self::ConsumerGroup(group_of(&mut input)?, optional(value)?)),
            CONSUMER_MEMBER => {
                let (group, member) = member_of(&mut input)?;
                Some(Self::ConsumerMember(group, member, optional(value)?))
            }
            TARGET_EPOCH => Some(Self::TargetEpoch(group_of(&mut input)?, optional(value)?)),
            TARGET_MEMBER => {
                let (group, member) = member_of(&mut input)?;
                Some(Self::TargetMember(group, member, optional(value)?))
            }
            CURRENT_MEMBER => {
                let (group, member) = member_of(&mut input)?;
                Some(Self::CurrentMember(group, member, optional(value)?))
            }
            _ => None,
        })
    }

    /// Whether it says that something is gone.
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            Self::Offset(_, value) => value.is_none(),
            Self::Group(_, value) => value.is_none(),
            Self::ConsumerGroup(_, value) => value.is_none(),
            Self::ConsumerMember(.., value) => value.is_none(),
            Self::TargetEpoch(_, value) => value.is_none(),
            Self::TargetMember(.., value) => value.is_none(),
            Self::CurrentMember(.., value) => value.is_none(),
        }
    }

    /// Whether it is about a group of the new protocol.
    pub(crate) fn is_of_consumers(&self) -> bool {
        !matches!(self, Self::Offset(..) | Self::Group(..))
    }

    /// The group that it is about.
    pub fn group(&self) -> &Str {
        match self {
            Self::Offset(key, _) => &key.group,
            Self::Group(group, _)
            | Self::ConsumerGroup(group, _)
            | Self::ConsumerMember(group, ..)
            | Self::TargetEpoch(group, _)
            | Self::TargetMember(group, ..)
            | Self::CurrentMember(group, ..) => group,
        }
    }
}

fn group_key(kind: i16, group: &Str) -> Bytes {
    tagged(kind, 0, &GroupOnlyKey { group: group.clone() })
}

fn member_key(kind: i16, group: &Str, member: &Str) -> Bytes {
    tagged(kind, 0, &MemberKey { group: group.clone(), member: member.clone() })
}

fn group_of(input: &mut Decoder) -> Result<Str, RecordError> {
    Ok(GroupOnlyKey::decode(input, 0)?.group)
}

fn member_of(input: &mut Decoder) -> Result<(Str, Str), RecordError> {
    let key = MemberKey::decode(input, 0)?;
    Ok((key.group, key.member))
}

/// A value of the first version.
fn first<M: Message>(value: &Option<M>) -> Option<Bytes> {
    value.as_ref().map(|value| versioned(0, value))
}

fn optional<M: Message>(value: Option<Bytes>) -> Result<Option<M>, RecordError> {
    value.map(|value| read::<M>(value).map(|(value, _)| value)).transpose()
}

/// Reads a value, and tells its version.
fn read<M: Message>(value: Bytes) -> Result<(M, i16), RecordError> {
    let mut input = Decoder::new(value);
    let version = i16::from_be_bytes(input.array()?);
    Ok((M::decode(&mut input, version)?, version))
}

/// A value behind its version.
pub(crate) fn versioned<M: Message>(version: i16, message: &M) -> Bytes {
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
