//! Tagged fields that this codec does not know, at every level of a message.

use crate::encoded;
use bytes::{Bytes, BytesMut};
use highwater_wire::messages::*;
use highwater_wire::{Message, Request};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Encodable, StrBytes};

const TAG: i32 = 10_000;
const CONTENT: Bytes = Bytes::from_static(b"from a later version");

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

/// The other codec writes `with`, this one reads it and writes what `without` is written to.
fn check<M: Message>(with: &impl Encodable, without: &impl Encodable, version: i16) {
    let (mut bytes, mut expected) = (BytesMut::new(), BytesMut::new());
    with.encode(&mut bytes, version).expect("the other codec writes it");
    without.encode(&mut expected, version).expect("the other codec writes it");
    assert_ne!(bytes, expected);
    let read = M::decode_body(bytes.freeze(), version).expect("unknown tagged fields are skipped");
    assert_eq!(encoded(&read, version), Ok(expected.freeze()));
}

#[test]
fn unknown_tagged_fields_of_a_produce_request_are_skipped() {
    use theirs::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
    let partition = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"batch")));
    let topic = TopicProduceData::default().with_name(theirs::TopicName(text("t")));
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5);
    let tagged = topic
        .clone()
        .with_partition_data(vec![partition.clone().with_unknown_tagged_field(TAG, CONTENT)])
        .with_unknown_tagged_field(0, CONTENT);
    let plain = topic.with_partition_data(vec![partition]);
    check::<super::ProduceRequest>(
        &request.clone().with_topic_data(vec![tagged]).with_unknown_tagged_field(TAG, Bytes::new()),
        &request.with_topic_data(vec![plain]),
        12,
    );
}

#[test]
fn unknown_tagged_fields_beside_known_ones_are_skipped() {
    use theirs::fetch_response::{
        EpochEndOffset, FetchResponse, FetchableTopicResponse, NodeEndpoint, PartitionData,
    };
    let epoch = EpochEndOffset::default().with_epoch(3).with_end_offset(500);
    let partition = PartitionData::default().with_records(Some(Bytes::from_static(b"batch")));
    let topic = FetchableTopicResponse::default();
    let node = NodeEndpoint::default().with_host(text("h"));
    let response = FetchResponse::default();
    let tagged = response
        .clone()
        .with_responses(vec![topic.clone().with_partitions(vec![
            partition
                .clone()
                .with_diverging_epoch(epoch.clone().with_unknown_tagged_field(1, CONTENT))
                .with_unknown_tagged_field(TAG, CONTENT),
        ])])
        .with_node_endpoints(vec![node.clone().with_unknown_tagged_field(0, CONTENT)])
        .with_unknown_tagged_field(5, CONTENT);
    let plain = response
        .with_responses(vec![topic.with_partitions(vec![partition.with_diverging_epoch(epoch)])])
        .with_node_endpoints(vec![node]);
    check::<super::FetchResponse>(&tagged, &plain, 16);
}

/// A message as it is by default ends in its number of tagged fields, none.
fn check_outermost<M: Message>() {
    for version in M::VERSIONS.filter(|version| M::is_flexible(*version)) {
        let plain = encoded(&M::default(), version).expect("it has bytes");
        let mut tagged = plain.to_vec();
        assert_eq!(tagged.pop(), Some(0));
        tagged.extend_from_slice(&[2, 77, 3, 1, 2, 3, 0x80, 0x01, 0]);
        let read = M::decode_body(tagged.into(), version).expect("unknown tagged fields are skipped");
        assert_eq!(encoded(&read, version), Ok(plain), "{} v{version}", M::NAME);
    }
}

#[test]
fn unknown_tagged_fields_of_every_message_are_skipped() {
    macro_rules! check_each {
        ($($module:ident: $request:ident,)*) => {$(
            check_outermost::<$request>();
            check_outermost::<<$request as Request>::Response>();
        )*};
    }
    highwater_wire::for_each_request!(check_each);
}
