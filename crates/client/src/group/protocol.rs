//! What consumers tell each other through the coordinator: subscriptions and assignments, as Kafka's clients write
//! them.

use bytes::{BufMut, Bytes, BytesMut};
use highwater_types::PartitionIndex;
use highwater_wire::{DecodeError, Decoder, Encoder, Message, Segment, Str};

/// The version that is written. What later versions add, readers of this one need not know.
const WRITTEN: i16 = 1;

/// The topics that a consumer wants, and the partitions that it has.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-1", flexible = "none")]
pub(super) struct Subscription {
    pub(super) topics: Vec<Str>,
    #[field(nullable = "0+")]
    user_data: Option<Bytes>,
    #[field(versions = "1+")]
    pub(super) owned_partitions: Vec<TopicPartitions>,
}

/// The partitions that a consumer is to have.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-1", flexible = "none")]
pub(super) struct Assignment {
    pub(super) assigned_partitions: Vec<TopicPartitions>,
    #[field(nullable = "0+")]
    user_data: Option<Bytes>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub(super) struct TopicPartitions {
    pub(super) topic: Str,
    pub(super) partitions: Vec<PartitionIndex>,
}

impl Subscription {
    pub(super) fn new(topics: &[Str], owned: Vec<TopicPartitions>) -> Self {
        Self { topics: topics.to_vec(), user_data: None, owned_partitions: owned }
    }
}

impl Assignment {
    pub(super) fn new(assigned_partitions: Vec<TopicPartitions>) -> Self {
        Self { assigned_partitions, user_data: None }
    }
}

/// A message behind its version.
pub(super) fn encode<M: Message>(message: &M) -> Bytes {
    let mut out = Encoder::default();
    message.encode(&mut out, WRITTEN).expect("names of topics fit their lengths");
    let mut bytes = BytesMut::new();
    bytes.put_i16(WRITTEN);
    for segment in out.finish().segments {
        if let Segment::Bytes(part) = segment {
            bytes.put_slice(&part);
        }
    }
    bytes.freeze()
}

/// Reads a message behind its version; one of a later version as far as it is known. Nothing at all is as empty.
pub(super) fn decode<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    if bytes.is_empty() {
        return Ok(M::default());
    }
    let mut input = Decoder::new(bytes.clone());
    let version = i16::from_be_bytes(input.array()?);
    M::decode(&mut input, version.clamp(0, *M::VERSIONS.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_kafkas_clients_write() {
        let partitions = TopicPartitions { topic: "t".into(), partitions: vec![PartitionIndex(2)] };
        let subscription = Subscription::new(&["t".into()], vec![partitions.clone()]);
        let written = encode(&subscription);
        let expected = b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02";
        assert_eq!(written, expected.as_slice());
        assert_eq!(decode(&written), Ok(subscription));
        let assignment = Assignment::new(vec![partitions]);
        let written = encode(&assignment);
        assert_eq!(written, b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff".as_slice());
        assert_eq!(decode(&written), Ok(assignment));
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = Bytes::from_static(b"\0\x03\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\0\0\0\x07\xff\xff");
        assert_eq!(decode(&later), Ok(Subscription::new(&["t".into()], Vec::new())));
        assert_eq!(decode(&Bytes::new()), Ok(Assignment::new(Vec::new())));
        assert!(decode::<Assignment>(&Bytes::from_static(b"\0\0\x7f\xff\xff\xff")).is_err());
    }
}
