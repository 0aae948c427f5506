//! What consumers say of themselves in the classic protocol, and how they are told what they have: as much of it as a
//! broker must know.

use crate::records::versioned;
use bytes::Bytes;
use highwater_types::PartitionIndex;
use highwater_wire::{Decoder, Message, Str};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The kind of protocols that consumers have.
pub(crate) const CONSUMER: &str = "consumer";

/// The beginning of a consumer's subscription, which all versions have alike.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
struct Beginning {
    /// The topics that it wants.
    topics: Vec<Str>,
}

/// A consumer's subscription. Version 1 brings the partitions that it has, 2 the generation that it got them in, 3 its
/// rack.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
pub(crate) struct Subscription {
    /// The topics that it wants.
    pub(crate) topics: Vec<Str>,
    /// What its assignor has to say.
    #[field(nullable = "0+")]
    pub(crate) user_data: Option<Bytes>,
    /// The partitions that it has, and did not give up to join.
    #[field(versions = "1+")]
    pub(crate) owned: Vec<NamedPartitions>,
    /// The generation that it got them in.
    #[field(versions = "2+", default = -1)]
    pub(crate) generation: i32,
    /// Its rack.
    #[field(versions = "3+", nullable = "3+")]
    pub(crate) rack: Option<Str>,
}

/// What a consumer is assigned.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
pub(crate) struct Assignment {
    /// The partitions.
    pub(crate) partitions: Vec<NamedPartitions>,
    /// What its assignor has to say.
    #[field(nullable = "0+")]
    pub(crate) user_data: Option<Bytes>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub(crate) struct NamedPartitions {
    /// The topic.
    pub(crate) topic: Str,
    /// The partitions.
    pub(crate) partitions: Vec<PartitionIndex>,
}

/// The topics that a consumer subscribes to; none if what it says cannot be read. The names do not keep the bytes in
/// memory.
pub(crate) fn topics_of(metadata: &Bytes) -> Option<BTreeSet<Str>> {
    let beginning: Beginning = read(metadata, Beginning::VERSIONS)?;
    Some(beginning.topics.iter().map(|topic| Str::from(&**topic)).collect())
}

/// A consumer's subscription; none if it cannot be read.
pub(crate) fn subscription_of(metadata: &Bytes) -> Option<Subscription> {
    read(metadata, Subscription::VERSIONS)
}

/// What a consumer is assigned; none if it cannot be read.
pub(crate) fn assignment_of(assignment: &Bytes) -> Option<Assignment> {
    read(assignment, Assignment::VERSIONS)
}

/// An assignment, in the version of the subscription that it answers.
pub(crate) fn assigned(partitions: Vec<NamedPartitions>, subscription: &Bytes) -> Bytes {
    let said = subscription.first_chunk().map_or(0, |version| i16::from_be_bytes(*version));
    let version = said.clamp(*Assignment::VERSIONS.start(), *Assignment::VERSIONS.end());
    versioned(version, &Assignment { partitions, user_data: None })
}

/// Later versions have more fields behind, and are read as the last one that is known.
fn read<M: Message>(bytes: &Bytes, versions: RangeInclusive<i16>) -> Option<M> {
    let mut input = Decoder::new(bytes.clone());
    let version = i16::from_be_bytes(input.array().ok()?);
    M::decode(&mut input, version.min(*versions.end())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_whatever_the_version() {
        let topics = b"\0\0\0\x02\0\x01b\0\x01a";
        for version in [0u8, 1, 3, 9] {
            let metadata = [&[0, version], topics.as_slice(), b"more"].concat();
            let expected = BTreeSet::from(["a".into(), "b".into()]);
            assert_eq!(topics_of(&metadata.into()), Some(expected));
        }
    }

    #[test]
    fn what_is_no_subscription_has_no_topics() {
        for metadata in
            [&b""[..], b"\0", b"\xff\xff\0\0\0\0", b"\0\0\x7f\xff\xff\xff", b"\0\0\0\0\0\x01\0\x05a"]
        {
            let metadata = Bytes::from_static(metadata);
            assert_eq!(topics_of(&metadata), None, "{metadata:?}");
            assert_eq!(subscription_of(&metadata), None, "{metadata:?}");
            assert_eq!(assignment_of(&metadata), None, "{metadata:?}");
        }
    }

    #[test]
    fn subscriptions_say_what_a_consumer_has_from_version_one_on() {
        let old = b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff";
        let read = subscription_of(&Bytes::from_static(old)).expect("it can be read");
        assert_eq!((read.topics, read.owned), (vec!["a".into()], Vec::new()));
        let new = b"\0\x09\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x02\0\0\0\x05\0\x01rmore";
        let read = subscription_of(&Bytes::from_static(new)).expect("it can be read");
        let owned = NamedPartitions { topic: "a".into(), partitions: vec![PartitionIndex(2)] };
        assert_eq!((read.owned, read.rack), (vec![owned], Some("r".into())));
        assert_eq!(subscription_of(&Bytes::from_static(&new[..30])), None);
    }

    #[test]
    fn assignments_are_written_in_the_version_of_the_subscription() {
        let partitions = vec![NamedPartitions { topic: "a".into(), partitions: vec![PartitionIndex(2)] }];
        for (said, written) in [(&b""[..], 0), (b"\xff\xff", 0), (b"\0\x01", 1), (b"\0\x09", 3)] {
            let bytes = assigned(partitions.clone(), &Bytes::from_static(said));
            assert_eq!(bytes[..2], [0, written]);
            assert_eq!(assignment_of(&bytes).map(|read| read.partitions), Some(partitions.clone()));
        }
    }
}
