//! What consumers of the classic protocol tell each other through the coordinator: subscriptions and assignments, as
//! Kafka's clients write them (`ConsumerProtocolSubscription`, `ConsumerProtocolAssignment`).

use crate::Share;
use bytes::{BufMut, Bytes, BytesMut};
use highwater_types::PartitionIndex;
use highwater_wire::{DecodeError, Decoder, Encoder, Message, Segment, Str};

/// The kind of protocols that consumers have.
pub const CONSUMER: &str = "consumer";

/// The generation of one that is in none.
pub const NO_GENERATION: i32 = -1;

/// The topics that a consumer wants, and the partitions that it has. Version 1 brings these (KIP-429), 2 the generation
/// (KIP-792), 3 the rack (KIP-881).
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
pub struct Subscription {
    /// The topics that it wants.
    pub topics: Vec<Str>,
    /// What its assignor has to say.
    #[field(nullable = "0+")]
    pub user_data: Option<Bytes>,
    /// The partitions that it has, and did not give up to join.
    #[field(versions = "1+")]
    pub owned: Vec<NamedPartitions>,
    /// The generation that it got them in.
    #[field(versions = "2+", default = -1)]
    pub generation: i32,
    /// Its rack.
    #[field(versions = "3+", nullable = "3+")]
    pub rack: Option<Str>,
}

/// The beginning of a subscription, which all versions have alike.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
struct Beginning {
    topics: Vec<Str>,
}

/// The partitions that a consumer is to have.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
pub struct Assignment {
    /// The partitions.
    pub partitions: Vec<NamedPartitions>,
    /// What its assignor has to say.
    #[field(nullable = "0+")]
    pub user_data: Option<Bytes>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct NamedPartitions {
    /// The topic.
    pub topic: Str,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

impl Subscription {
    /// The generation that a consumer has its partitions of. Kafka's sticky assignors wrote it into the user data
    /// before there was a field for it.
    pub fn generation(&self) -> i32 {
        if self.generation >= 0 {
            return self.generation;
        }
        let written = self.user_data.as_ref().and_then(|data| data.first_chunk::<4>());
        written.map_or(NO_GENERATION, |bytes| i32::from_be_bytes(*bytes).max(NO_GENERATION))
    }
}

/// The topics that a consumer subscribes to, of whatever version the rest is.
///
/// # Errors
///
/// What is written is no subscription.
pub fn topics_of(subscription: &Bytes) -> Result<Vec<Str>, DecodeError> {
    decode::<Beginning>(subscription).map(|beginning| beginning.topics)
}

/// Reads a message behind its version; one of a later version as far as it is known.
///
/// # Errors
///
/// It ends too early, has a version that never was, or holds what its fields cannot be.
pub fn decode<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    let mut input = Decoder::new(bytes.clone());
    let version = i16::from_be_bytes(input.array()?);
    M::decode(&mut input, version.min(*M::VERSIONS.end()))
}

/// The partitions in an assignment, each with its topic; nothing at all is as an empty one.
///
/// # Errors
///
/// What is written is no assignment.
pub fn assigned(assignment: &Bytes) -> Result<Share<Str>, DecodeError> {
    if assignment.is_empty() {
        return Ok(Share::new());
    }
    Ok(each(&decode::<Assignment>(assignment)?.partitions).collect())
}

/// A message of the last version, behind it. Its names and user data are no longer than the wire takes.
pub fn encode<M: Message>(message: &M) -> Bytes {
    encode_as(*M::VERSIONS.end(), message)
}

/// An assignment of partitions, in the version of the subscription that it answers.
pub fn answer(partitions: Vec<NamedPartitions>, subscription: &Bytes) -> Bytes {
    let said = subscription.first_chunk().map_or(0, |version| i16::from_be_bytes(*version));
    let version = said.clamp(*Assignment::VERSIONS.start(), *Assignment::VERSIONS.end());
    encode_as(version, &Assignment { partitions, user_data: None })
}

fn encode_as<M: Message>(version: i16, message: &M) -> Bytes {
    let mut out = Encoder::default();
    message.encode(&mut out, version).expect("names and user data fit the lengths that they came in");
    let frame = out.finish();
    let mut bytes = BytesMut::with_capacity(2 + frame.length);
    bytes.put_i16(version);
    for segment in &frame.segments {
        match segment {
            Segment::Bytes(part) => bytes.put_slice(part),
            Segment::External { .. } => unreachable!("no subscription has a range of a file"),
        }
    }
    bytes.freeze()
}

/// Each of the partitions. The names do not keep the bytes in memory that they came in.
pub fn each(topics: &[NamedPartitions]) -> impl Iterator<Item = (Str, PartitionIndex)> {
    topics.iter().flat_map(|NamedPartitions { topic, partitions }| {
        let topic = Str::from(&**topic);
        partitions.iter().map(move |partition| (topic.clone(), *partition))
    })
}

/// Partitions by topic, as they are told.
pub fn listed<'a>(partitions: impl IntoIterator<Item = &'a (Str, PartitionIndex)>) -> Vec<NamedPartitions> {
    let mut topics: Vec<NamedPartitions> = Vec::new();
    for (topic, partition) in partitions {
        match topics.last_mut().filter(|last| last.topic == *topic) {
            Some(last) => last.partitions.push(*partition),
            None => {
                topics.push(NamedPartitions { topic: topic.clone(), partitions: vec![*partition] });
            }
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_kafkas_clients_write() {
        let partitions = vec![NamedPartitions { topic: "t".into(), partitions: vec![PartitionIndex(2)] }];
        let subscription = Subscription {
            topics: vec!["t".into()],
            user_data: Some(Bytes::from_static(b"\0\0\0\x05")),
            owned: partitions.clone(),
            generation: 5,
            rack: Some("r".into()),
        };
        let written = encode(&subscription);
        let expected = b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x04\0\0\0\x05\
            \0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\0\0\0\x05\0\x01r";
        assert_eq!(written, expected.as_slice());
        assert_eq!(decode(&written), Ok(subscription));
        let assignment = Assignment { partitions, user_data: None };
        let written = encode(&assignment);
        assert_eq!(written, b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff".as_slice());
        assert_eq!(decode(&written).as_ref(), Ok(&assignment));
        assert_eq!(assigned(&written), Ok(Share::from([("t".into(), PartitionIndex(2))])));
        let first = answer(assignment.partitions, &Bytes::from_static(b"\0\x01more"));
        assert_eq!(first, b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff".as_slice());
    }

    #[test]
    fn other_versions_are_read_as_far_as_they_are_known() {
        let later =
            Bytes::from_static(b"\0\x09\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\0\0\0\x07\xff\xffmore");
        let expected = Subscription { topics: vec!["t".into()], generation: 7, ..Subscription::default() };
        assert_eq!(decode(&later), Ok(expected));
        let first = Bytes::from_static(b"\0\x01\0\0\0\0\0\0\0\x04\0\0\0\x09\0\0\0\0");
        assert_eq!(decode::<Subscription>(&first).map(|it| it.generation()), Ok(9));
        let odd = Bytes::from_static(b"\0\x01\0\0\0\0\0\0\0\x02\0\x09\0\0\0\0");
        assert_eq!(decode::<Subscription>(&odd).map(|it| it.generation()), Ok(NO_GENERATION));
        for version in [0u8, 1, 3, 9] {
            let subscription = [&[0, version], b"\0\0\0\x02\0\x01b\0\x01a".as_slice(), b"more"].concat();
            assert_eq!(topics_of(&subscription.into()), Ok(vec!["b".into(), "a".into()]));
        }
    }

    #[test]
    fn what_is_nothing_of_the_kind_is_refused() {
        for bytes in [&b""[..], b"\0", b"\xff\xff\0\0\0\0", b"\0\0\x7f\xff\xff\xff", b"\0\0\0\0\0\x01\0\x05a"]
        {
            let bytes = Bytes::from_static(bytes);
            assert!(topics_of(&bytes).is_err(), "{bytes:?}");
            assert!(decode::<Subscription>(&bytes).is_err(), "{bytes:?}");
            assert!(decode::<Assignment>(&bytes).is_err(), "{bytes:?}");
            assert_eq!(assigned(&bytes).is_err(), !bytes.is_empty(), "{bytes:?}");
        }
    }
}
