//! What consumers tell each other through the coordinator: subscriptions and assignments, as Kafka's clients write
//! them.

use bytes::{BufMut, Bytes, BytesMut};
use highwater_types::PartitionIndex;
use highwater_wire::{DecodeError, Decoder, Encoder, Message, Segment, Str};

/// The generation of one that is in none.
pub(super) const NO_GENERATION: i32 = -1;

/// The topics that a consumer wants, and the partitions that it has. Version 1 brings these (KIP-429), 2 the generation
/// (KIP-792), 3 the rack (KIP-881).
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
pub(super) struct Subscription {
    pub(super) topics: Vec<Str>,
    #[field(nullable = "0+")]
    pub(super) user_data: Option<Bytes>,
    #[field(versions = "1+")]
    pub(super) owned_partitions: Vec<TopicPartitions>,
    #[field(versions = "2+", default = -1)]
    generation: i32,
    #[field(versions = "3+", nullable = "3+")]
    rack: Option<Str>,
}

/// The partitions that a consumer is to have.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "none")]
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
    /// What a member has, it has as of that generation.
    pub(super) fn new(
        topics: &[Str],
        owned: Vec<TopicPartitions>,
        generation: i32,
        rack: Option<Str>,
    ) -> Self {
        Self { topics: topics.to_vec(), user_data: None, owned_partitions: owned, generation, rack }
    }

    /// The generation that it has its partitions of. Kafka's sticky assignors wrote it into the user data before there
    /// was a field for it.
    pub(super) fn generation(&self) -> i32 {
        if self.generation >= 0 {
            return self.generation;
        }
        let written = self.user_data.as_ref().and_then(|data| data.first_chunk::<4>());
        written.map_or(NO_GENERATION, |bytes| i32::from_be_bytes(*bytes).max(NO_GENERATION))
    }
}

impl Assignment {
    pub(super) fn new(assigned_partitions: Vec<TopicPartitions>) -> Self {
        Self { assigned_partitions, user_data: None }
    }
}

/// A message behind the last version of it.
pub(super) fn encode<M: Message>(message: &M) -> Bytes {
    let version = *M::VERSIONS.end();
    let mut out = Encoder::default();
    message.encode(&mut out, version).expect("names of topics fit their lengths");
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    for segment in out.finish().segments {
        if let Segment::Bytes(part) = segment {
            bytes.put_slice(&part);
        }
    }
    bytes.freeze()
}

/// Partitions by topic, as they are told.
pub(super) fn listed<'a>(
    partitions: impl IntoIterator<Item = &'a (Str, PartitionIndex)>,
) -> Vec<TopicPartitions> {
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for (topic, partition) in partitions {
        match topics.last_mut().filter(|last| last.topic == *topic) {
            Some(last) => last.partitions.push(*partition),
            None => {
                topics.push(TopicPartitions { topic: topic.clone(), partitions: vec![*partition] });
            }
        }
    }
    topics
}

/// Each of the partitions. The names do not keep the bytes in memory that they came in.
pub(super) fn each(topics: Vec<TopicPartitions>) -> impl Iterator<Item = (Str, PartitionIndex)> {
    topics.into_iter().flat_map(|TopicPartitions { topic, partitions }| {
        let topic = Str::from(&*topic);
        partitions.into_iter().map(move |partition| (topic.clone(), partition))
    })
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

/// The partitions in an assignment of consumers; none in one that is of something else.
pub(crate) fn assigned_partitions(bytes: &Bytes) -> Vec<(Str, PartitionIndex)> {
    decode::<Assignment>(bytes).map_or_else(|_| Vec::new(), |it| each(it.assigned_partitions).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_kafkas_clients_write() {
        let partitions = TopicPartitions { topic: "t".into(), partitions: vec![PartitionIndex(2)] };
        let mut subscription =
            Subscription::new(&["t".into()], vec![partitions.clone()], 5, Some("r".into()));
        subscription.user_data = Some(Bytes::from_static(b"\0\0\0\x05"));
        let written = encode(&subscription);
        let expected = b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x04\0\0\0\x05\
            \0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\0\0\0\x05\0\x01r";
        assert_eq!(written, expected.as_slice());
        assert_eq!(decode(&written), Ok(subscription));
        let assignment = Assignment::new(vec![partitions]);
        let written = encode(&assignment);
        assert_eq!(written, b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff".as_slice());
        assert_eq!(decode(&written), Ok(assignment));
    }

    #[test]
    fn other_versions_are_read_as_far_as_they_are_known() {
        let later =
            Bytes::from_static(b"\0\x09\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\0\0\0\x07\xff\xffmore");
        assert_eq!(decode(&later), Ok(Subscription::new(&["t".into()], Vec::new(), 7, None)));
        let first = Bytes::from_static(b"\0\x01\0\0\0\0\0\0\0\x04\0\0\0\x09\0\0\0\0");
        assert_eq!(decode::<Subscription>(&first).map(|it| it.generation()), Ok(9));
        let odd = Bytes::from_static(b"\0\x01\0\0\0\0\0\0\0\x02\0\x09\0\0\0\0");
        assert_eq!(decode::<Subscription>(&odd).map(|it| it.generation()), Ok(NO_GENERATION));
        assert_eq!(decode(&Bytes::new()), Ok(Assignment::new(Vec::new())));
        assert!(decode::<Assignment>(&Bytes::from_static(b"\0\0\x7f\xff\xff\xff")).is_err());
    }
}
