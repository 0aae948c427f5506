//! Frames, bodies and error texts as they are.

use bytes::Bytes;
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, Uuid};
use highwater_wire::messages::describe_log_dirs::DescribeLogDirsResult;
use highwater_wire::messages::*;
use highwater_wire::{
    ApiKey, Decoder, EncodeError, Encoder, ErrorCode, Frame, FrameError, Message, Records, Segment,
    decode_request_header, decode_response_header, encode_request, encode_response, frame_length,
};
use insta::assert_snapshot;

/// Each segment on lines of its own: bytes in hex, in groups of four.
fn hex(frame: &Frame) -> String {
    let group = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = |bytes: &[u8]| bytes.chunks(4).map(group).collect::<Vec<_>>().join(" ");
    let lines = |segment: &Segment| match segment {
        Segment::Bytes(bytes) => bytes.chunks(40).map(line).collect::<Vec<_>>().join("\n"),
        Segment::External { id, length } => format!("external {id}: {length} bytes"),
    };
    frame.segments.iter().map(lines).collect::<Vec<_>>().join("\n\n")
}

fn body(message: &impl Message, version: i16) -> Result<Frame, EncodeError> {
    let mut out = Encoder::default();
    message.encode(&mut out, version)?;
    Ok(out.finish())
}

fn topic_id() -> TopicId {
    TopicId(Uuid([0x11; 16]))
}

#[test]
fn produce_request() {
    let partition = PartitionProduceData {
        index: PartitionIndex(3),
        records: Records::Chain(vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")]),
    };
    let topic =
        TopicProduceData { name: "ignored".into(), topic_id: topic_id(), partition_data: vec![partition] };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1500, topic_data: vec![topic], ..Default::default() };
    let frame = encode_request(9, Some("me"), 13, &request).expect("it has bytes");
    assert_snapshot!(hex(&frame), @r"
    00000034 0000000d 00000009 00026d65 0000ffff 000005dc 02111111 11111111 11111111 11111111
    11020000 000307

    6f6e65

    74776f

    000000
    ");
}

#[test]
fn fetch_response() {
    let moved = PartitionData {
        partition_index: PartitionIndex(1),
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        current_leader: LeaderIdAndEpoch { leader_id: BrokerId(2), leader_epoch: LeaderEpoch(5) },
        ..Default::default()
    };
    let read = PartitionData {
        high_watermark: Offset(10),
        records: Records::External { id: 0, length: 500 },
        ..Default::default()
    };
    let topic =
        FetchableTopicResponse { topic_id: topic_id(), partitions: vec![read, moved], ..Default::default() };
    let node = NodeEndpoint { node_id: BrokerId(2), host: "b2".into(), port: 9092, rack: None };
    let response = FetchResponse { responses: vec![topic], node_endpoints: vec![node], ..Default::default() };
    let frame = encode_response(9, ApiKey::FETCH, 17, &response).expect("it has bytes");
    assert_snapshot!(hex(&frame), @r"
    0000027d 00000009 00000000 00000000 00000002 11111111 11111111 11111111 11111111 03000000
    00000000 00000000 00000aff ffffffff ffffffff ffffffff ffffff00 ffffffff f503

    external 0: 500 bytes

    00000000 01000600 00000000 000000ff ffffffff ffffffff ffffffff ffffff00 ffffffff 01010109
    00000002 00000005 00000100 0e020000 00020362 32000023 840000
    ");
}

#[test]
fn api_versions_of_an_unknown_version_are_answered_in_version_0() {
    let mut request = Bytes::from_static(b"\x00\x12\x00\x63\x00\x00\x00\x07\x00\x01c\x00later");
    let header = decode_request_header(&mut request).expect("the header can be read");
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (18, 99, 7));
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![ApiVersion { api_key: 18, min_version: 0, max_version: 4 }],
        ..Default::default()
    };
    let frame = encode_response(7, ApiKey::API_VERSIONS, 0, &response).expect("it has bytes");
    assert_snapshot!(hex(&frame), @"00000010 00000007 00230000 00010012 00000004");
}

#[test]
fn describe_log_dirs_response_of_the_newest_version() {
    let result = DescribeLogDirsResult { log_dir: "d".into(), is_cordoned: true, ..Default::default() };
    let response = DescribeLogDirsResponse { results: vec![result], ..Default::default() };
    assert_snapshot!(
        hex(&body(&response, 5).expect("it has bytes")),
        @"00000000 00000200 00026401 ffffffff ffffffff ffffffff ffffffff 010000"
    );
    assert_snapshot!(hex(&body(&response, 3).expect("it has bytes")), @"00000000 00000200 00026401 0000");
}

#[test]
fn offset_commit_and_fetch_of_version_10_name_topics_by_id() {
    let partition = OffsetCommitRequestPartition {
        committed_offset: Offset(7),
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: "left out".into(),
        topic_id: topic_id(),
        partitions: vec![partition],
    };
    let request = OffsetCommitRequest { group_id: "g".into(), topics: vec![topic], ..Default::default() };
    assert_snapshot!(
        hex(&body(&request, 10).expect("it has bytes")),
        @r"
    0267ffff ffff0100 02111111 11111111 11111111 11111111 11020000 00000000 00000000 0007ffff
    ffff0000 0000
    "
    );
    let topic = OffsetFetchRequestTopics {
        name: "left out".into(),
        topic_id: topic_id(),
        partition_indexes: vec![PartitionIndex(3)],
    };
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: Some(vec![topic]),
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    assert_snapshot!(
        hex(&body(&request, 10).expect("it has bytes")),
        @"02026700 ffffffff 02111111 11111111 11111111 11111111 11020000 00030000 0000"
    );
}

#[test]
fn list_offsets_11_is_as_10() {
    let request = ListOffsetsRequest { timeout_ms: 5, ..Default::default() };
    let response = ListOffsetsResponse { throttle_time_ms: 5, ..Default::default() };
    assert_eq!(body(&request, 11), body(&request, 10));
    assert_eq!(body(&response, 11), body(&response, 10));
    assert_ne!(body(&request, 10), body(&request, 9));
}

#[test]
fn headers_of_unknown_keys_are_read_as_far_as_they_are_known() {
    let mut request = Bytes::from_static(b"\x03\xe7\x00\x02\x00\x00\x00\x07\xff\xffbody");
    let header = decode_request_header(&mut request).expect("the header can be read");
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (999, 2, 7));
    assert_eq!(header.client_id, None);
    assert_eq!(request, "body");
    assert_eq!(ApiKey(999).to_string(), "API 999");
}

#[test]
fn bytes_after_a_body_are_ignored() {
    let bytes = Bytes::from_static(b"\0\0\0\0\0\0\0\x07trailing");
    let read = DeleteTopicsRequest::decode_body(bytes, 1).expect("the body is whole");
    assert_eq!(read.timeout_ms, 7);
}

#[test]
fn frame_lengths() {
    for (prefix, expected) in [
        ([0, 0, 0, 0], Ok(0)),
        ([0, 0, 0x10, 0], Ok(4096)),
        ([0, 0, 0x10, 1], Err(FrameError::TooLarge { length: 4097, max: 4096 })),
        ([0x7f, 0xff, 0xff, 0xff], Err(FrameError::TooLarge { length: i32::MAX as usize, max: 4096 })),
        ([0xff, 0xff, 0xff, 0xff], Err(FrameError::Negative(-1))),
    ] {
        assert_eq!(frame_length(prefix, 4096), expected);
    }
}

fn decode_error<M: Message>(bytes: &[u8], version: i16) -> String {
    match M::decode_body(Bytes::copy_from_slice(bytes), version) {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn decode_errors_say_where() {
    // Null transactional id, acks, timeout, one topic, its name.
    let name = b"\xff\xff\0\x01\0\0\0\0\0\0\0\x01\0\x46abcdefgh";
    assert_snapshot!(
        decode_error::<ProduceRequest>(name, 3),
        @"ProduceRequest.topic_data[0].name: 70 bytes wanted, 8 remain"
    );
    let not_utf8 = b"\xff\xff\0\x01\0\0\0\0\0\0\0\x01\0\x03ab\xff\0\0\0\0";
    assert_snapshot!(
        decode_error::<ProduceRequest>(not_utf8, 3),
        @"ProduceRequest.topic_data[0].name: not UTF-8 after 2 bytes"
    );
    let two_billion_topics = b"\xff\xff\0\x01\0\0\0\0\x7f\xff\xff\xff\0\0\0\0";
    assert_snapshot!(
        decode_error::<ProduceRequest>(two_billion_topics, 3),
        @"ProduceRequest.topic_data: 2147483647 elements of at least 6 bytes each do not fit in the 4 bytes that remain"
    );
    let four_billion_topics = b"\0\0\x01\0\0\0\0\xff\xff\xff\xff\x0f\0\0";
    assert_snapshot!(
        decode_error::<ProduceRequest>(four_billion_topics, 9),
        @"ProduceRequest.topic_data: 4294967294 elements of at least 3 bytes each do not fit in the 2 bytes that remain"
    );
    let long_name = [b"\0\0\x01\0\0\0\0\x02\x81\x80\x02".as_slice(), &[b'n'; 40_000]].concat();
    assert_snapshot!(
        decode_error::<ProduceRequest>(&long_name, 9),
        @"ProduceRequest.topic_data[0].name: length 32768 is above 32767"
    );
    let null_topics = b"\0\0\x01\0\0\0\0\0\0";
    assert_snapshot!(
        decode_error::<ProduceRequest>(null_topics, 9),
        @"ProduceRequest.topic_data: null is not allowed in this version"
    );
    assert_snapshot!(decode_error::<ProduceRequest>(b"", 2), @"ProduceRequest: version 2 is not known");
    assert_snapshot!(
        decode_error::<DescribeTopicPartitionsRequest>(b"\x01\0\0\0\0\x05", 0),
        @"DescribeTopicPartitionsRequest.cursor: presence byte 5"
    );
    let cluster_id = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x01\x01\0\x03\x01\0";
    assert_snapshot!(
        decode_error::<FetchRequest>(cluster_id, 12),
        @"FetchRequest.cluster_id: 3 bytes wanted, 2 remain"
    );
    let error =
        decode_request_header(&mut Bytes::from_static(b"\0\0\0\x09\0\0")).expect_err("it is cut short");
    assert_snapshot!(error, @"RequestHeader.correlation_id: 4 bytes wanted, 2 remain");
    let error = decode_response_header(&mut Bytes::from_static(b"\0"), ApiKey::FETCH, 12);
    assert_snapshot!(
        error.expect_err("it is cut short"),
        @"ResponseHeader.correlation_id: 4 bytes wanted, 1 remain"
    );
}

#[test]
fn arrays_of_one_message_are_bounded_together() {
    // Five million empty names in a frame of 5 MB would take 160 MB.
    let mut bytes = vec![0xc1, 0x96, 0xb1, 0x02];
    bytes.resize(5_000_010, 1);
    let error = DeleteTopicsRequest::decode_body(bytes.into(), 4).expect_err("it takes too much memory");
    assert_snapshot!(
        error,
        @"DeleteTopicsRequest.topic_names: 5000000 elements take more memory than one message may (134217728 bytes)"
    );
}

#[test]
fn encode_errors_say_where() {
    let text = |result: Result<Frame, EncodeError>| result.expect_err("it has no bytes").to_string();
    let unnamed = MetadataRequestTopic::default();
    let request = MetadataRequest { topics: Some(vec![unnamed]), ..Default::default() };
    assert_snapshot!(
        text(body(&request, 9)),
        @"MetadataRequest.topics[0].name: null is not allowed in this version"
    );
    assert_snapshot!(
        text(body(&MetadataRequest::default(), 0)),
        @"MetadataRequest.topics: null is not allowed in this version"
    );
    assert_snapshot!(
        text(body(&MetadataRequest::default(), 14)),
        @"MetadataRequest: version 14 is not known"
    );
    let name = "n".repeat(40_000);
    let request = DeleteTopicsRequest { topic_names: vec!["t".into(), name.into()], ..Default::default() };
    assert_snapshot!(
        text(body(&request, 3)),
        @"DeleteTopicsRequest.topic_names[1]: length 40000 is above 32767"
    );
    assert_snapshot!(
        text(body(&request, 4)),
        @"DeleteTopicsRequest.topic_names[1]: length 40000 is above 32767"
    );
    let client_id = "c".repeat(40_000);
    assert_snapshot!(
        text(encode_request(1, Some(&client_id), 3, &ApiVersionsRequest::default())),
        @"RequestHeader.client_id: length 40000 is above 32767"
    );
}

#[test]
fn what_is_read_borrows_from_the_frame() {
    let partition =
        PartitionProduceData { records: Bytes::from_static(b"batch").into(), ..Default::default() };
    let topic =
        TopicProduceData { name: "topic".into(), partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let mut out = Encoder::default();
    request.encode(&mut out, 9).expect("it has bytes");
    let mut gathered = Vec::new();
    for segment in out.finish().segments {
        let Segment::Bytes(bytes) = segment else { panic!("bytes") };
        gathered.extend_from_slice(&bytes);
    }
    let frame = Bytes::from(gathered);
    let read = ProduceRequest::decode(&mut Decoder::new(frame.clone()), 9).expect("it reads what it writes");
    assert_eq!(read, request);
    let within = |bytes: &[u8]| frame.as_ptr_range().contains(&bytes.as_ptr());
    assert!(within(read.topic_data[0].name.as_bytes()));
    let Records::Bytes(records) = &read.topic_data[0].partition_data[0].records else { panic!("bytes") };
    assert!(within(records));
}
