//! The commonest produce request, read where it lies: one batch for one partition.
//!
//! Nothing is allocated and no reference is counted. Whatever is not plain (several topics, several partitions, tagged
//! fields, anything malformed) is left to the general decoder: it is the one that says what is wrong.

use crate::ApiKey;
use highwater_types::{PartitionIndex, TopicId};
use std::ops::Range;

/// The versions that are read here.
const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;
const FLEXIBLE_FROM: i16 = 9;
const TOPIC_IDS_FROM: i16 = 13;

/// A produce request of one batch for one partition, without a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleProduce<'a> {
    /// The version of the request.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// Who must have the records before the answer.
    pub acks: i16,
    /// How long to wait for them, in milliseconds.
    pub timeout_ms: i32,
    /// The topic.
    pub topic: ProduceTopic<'a>,
    /// The partition.
    pub partition: PartitionIndex,
    /// Where the batch stands in the frame.
    pub records: Range<usize>,
}

/// How a produce request names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProduceTopic<'a> {
    /// Up to version 12.
    Name(&'a str),
    /// From version 13 on.
    Id(TopicId),
}

impl<'a> SingleProduce<'a> {
    /// Reads a frame without its length. None if it is anything else than such a request.
    pub fn read(frame: &'a [u8]) -> Option<Self> {
        let mut input = Cursor { frame, at: 0 };
        let key = i16::from_be_bytes(input.array()?);
        let version = i16::from_be_bytes(input.array()?);
        if ApiKey(key) != ApiKey::PRODUCE || !VERSIONS.contains(&version) {
            return None;
        }
        let flexible = version >= FLEXIBLE_FROM;
        let correlation_id = i32::from_be_bytes(input.array()?);
        // The client's name: a plain string in every version of the header.
        match i16::from_be_bytes(input.array()?) {
            -1 => {}
            length => drop(input.text(usize::try_from(length).ok()?)?),
        }
        input.no_tags(flexible)?;
        let transactional = match flexible {
            true => input.uvarint()? != 0,
            false => i16::from_be_bytes(input.array()?) != -1,
        };
        if transactional {
            return None;
        }
        let acks = i16::from_be_bytes(input.array()?);
        let timeout_ms = i32::from_be_bytes(input.array()?);
        input.one(flexible)?;
        let topic = match version >= TOPIC_IDS_FROM {
            true => ProduceTopic::Id(TopicId(highwater_types::Uuid(input.array()?))),
            false => {
                let length = match flexible {
                    true => input.uvarint()?.checked_sub(1)?,
                    false => usize::try_from(i16::from_be_bytes(input.array()?)).ok()?,
                };
                ProduceTopic::Name(input.text(length)?)
            }
        };
        input.one(flexible)?;
        let partition = PartitionIndex(i32::from_be_bytes(input.array()?));
        let length = match flexible {
            true => input.uvarint()?.checked_sub(1)?,
            false => usize::try_from(i32::from_be_bytes(input.array()?)).ok()?,
        };
        let records = input.at..input.at.checked_add(length)?;
        input.bytes(length)?;
        // The ends of partition, topic and request.
        (0..3).try_for_each(|_| input.no_tags(flexible))?;
        let whole = input.at == frame.len();
        whole.then_some(Self { version, correlation_id, acks, timeout_ms, topic, partition, records })
    }
}

struct Cursor<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.frame.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(bytes)
    }

    #[inline]
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.frame.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(bytes)
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    /// A variable-length integer of up to three bytes: what is larger than that is not small.
    #[inline]
    fn uvarint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in [0, 7, 14] {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// An array's length, which must be one.
    #[inline]
    fn one(&mut self, flexible: bool) -> Option<()> {
        let is_one = match flexible {
            true => self.uvarint()? == 2,
            false => i32::from_be_bytes(self.array()?) == 1,
        };
        is_one.then_some(())
    }

    #[inline]
    fn no_tags(&mut self, flexible: bool) -> Option<()> {
        (!flexible || self.uvarint()? == 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{PartitionProduceData, ProduceRequest, TopicProduceData};
    use crate::{Message, Records, Segment, Str, decode_request_header, encode_request};
    use bytes::Bytes;
    use highwater_types::Uuid;
    use proptest::prelude::*;

    fn request(records: &[u8]) -> ProduceRequest {
        let partition_data = vec![PartitionProduceData {
            index: PartitionIndex(3),
            records: Records::Bytes(Bytes::copy_from_slice(records)),
        }];
        ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 1_500,
            topic_data: vec![TopicProduceData {
                name: Str::from("topic"),
                topic_id: TopicId(Uuid([7; 16])),
                partition_data,
            }],
        }
    }

    fn frame(version: i16, client_id: Option<&str>, request: &ProduceRequest) -> Vec<u8> {
        let frame = encode_request(77, client_id, version, request).expect("it can be encoded");
        let bytes = frame.segments.iter().flat_map(|segment| match segment {
            Segment::Bytes(bytes) => bytes.to_vec(),
            Segment::External { .. } => panic!("all of it is in memory"),
        });
        bytes.skip(4).collect()
    }

    /// What the general decoder makes of a frame, in the form of a single request.
    fn decoded(frame: &[u8]) -> Option<ProduceRequest> {
        let mut body = Bytes::copy_from_slice(frame);
        let header = decode_request_header(&mut body).ok()?;
        ProduceRequest::decode_body(body, header.api_version).ok()
    }

    fn check(frame: &[u8]) {
        let Some(single) = SingleProduce::read(frame) else { return };
        let request = decoded(frame).expect("what is read here, the general decoder reads as well");
        assert_eq!((request.acks, request.timeout_ms), (single.acks, single.timeout_ms));
        assert_eq!(request.transactional_id, None);
        let [topic] = &request.topic_data[..] else { panic!("one topic") };
        match single.topic {
            ProduceTopic::Name(name) => assert_eq!(name, &*topic.name),
            ProduceTopic::Id(id) => assert_eq!(id, topic.topic_id),
        }
        let [partition] = &topic.partition_data[..] else { panic!("one partition") };
        assert_eq!(partition.index, single.partition);
        let records = Records::Bytes(Bytes::copy_from_slice(&frame[single.records]));
        assert_eq!(partition.records, records);
    }

    #[test]
    fn every_version_is_read() {
        for version in VERSIONS {
            for client_id in [None, Some(""), Some("client")] {
                let frame = frame(version, client_id, &request(&[9; 200]));
                let single = SingleProduce::read(&frame).expect("it is plain");
                assert_eq!((single.version, single.correlation_id), (version, 77));
                check(&frame);
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for version in VERSIONS {
            let plain = request(b"records");
            let topic = plain.topic_data[0].clone();
            let partition = topic.partition_data[0].clone();
            let null = PartitionProduceData { records: Records::Null, ..partition.clone() };
            let with = |partition_data| TopicProduceData { partition_data, ..topic.clone() };
            for topic_data in [
                vec![],
                vec![topic.clone(), topic.clone()],
                vec![with(vec![])],
                vec![with(vec![partition.clone(), partition.clone()])],
                vec![with(vec![null])],
            ] {
                let request = ProduceRequest { topic_data, ..plain.clone() };
                assert_eq!(SingleProduce::read(&frame(version, None, &request)), None);
            }
            let transactional = ProduceRequest { transactional_id: Some(Str::from("")), ..plain };
            assert_eq!(SingleProduce::read(&frame(version, None, &transactional)), None);
        }
        assert_eq!(SingleProduce::read(&[]), None);
    }

    proptest! {
        #[test]
        fn both_decoders_agree_on_whatever_comes(
            version in VERSIONS,
            length in 0usize..300,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut frame = frame(version, Some("c"), &request(&vec![1; length]));
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            check(&frame);
            frame.truncate(cut.index(frame.len()));
            check(&frame);
        }
    }
}
