//! Frames: fixed bytes, round trips and hostile bytes.

use super::*;
use proptest::prelude::*;

fn check_round_trip(record: &MetadataRecord) -> Bytes {
    let frame = encode(record).unwrap();
    assert_eq!(decode(&frame).as_ref(), Ok(record));
    frame
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![FRAME_VERSION];
    frame.extend(crc32fast::hash(payload).to_be_bytes());
    frame.extend(payload);
    frame
}

fn topic_id(number: u8) -> TopicId {
    TopicId(Uuid([number; 16]))
}

#[test]
fn the_bytes_of_each_kind_are_fixed() {
    let records = [
        MetadataRecord::Cluster(ClusterRecord {
            cluster_id: ClusterId(Uuid([0xaa; 16])),
            metadata_version: 1,
        }),
        MetadataRecord::Broker(BrokerRecord {
            id: BrokerId(1),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: "localhost".to_owned(),
                port: 9092,
                security_protocol: 0,
            }],
            rack: Some("r".to_owned()),
            fenced: true,
            epoch: BrokerEpoch(9),
            incarnation: Uuid([3; 16]),
            disk: DiskId(Uuid([4; 16])),
            shutting_down: true,
            is_controller: true,
            features: vec![FeatureRange { name: "f".to_owned(), min: 1, max: 2 }],
        }),
        MetadataRecord::RemoveBroker(RemoveBrokerRecord { id: BrokerId(1) }),
        MetadataRecord::Topic(TopicRecord { id: topic_id(2), name: "t".to_owned() }),
        MetadataRecord::RemoveTopic(RemoveTopicRecord { id: topic_id(2) }),
        MetadataRecord::Partition(PartitionRecord {
            topic: topic_id(2),
            partition: PartitionIndex(3),
            replicas: vec![BrokerId(1), BrokerId(2)],
            isr: vec![BrokerId(1)],
            leader: Some(BrokerId(0)),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: 5,
            elr: vec![BrokerId(2)],
            last_known_elr: vec![BrokerId(6)],
            adding: vec![BrokerId(2)],
            removing: vec![BrokerId(1)],
            unclean_epoch: Some(LeaderEpoch(3)),
            created: Some(300),
        }),
        MetadataRecord::TopicConfig(TopicConfigRecord {
            topic: topic_id(2),
            name: "a".to_owned(),
            value: Some(String::new()),
        }),
        MetadataRecord::BrokerConfig(BrokerConfigRecord { broker: None, name: "a".to_owned(), value: None }),
        MetadataRecord::ProducerIds(ProducerIdsRecord { broker: BrokerId(1), next: ProducerId(1000) }),
        MetadataRecord::Feature(FeatureRecord { name: "f".to_owned(), level: 2 }),
    ];
    let frames: Vec<_> = records.iter().map(|record| hex(&check_round_trip(record))).collect();
    insta::assert_snapshot!(frames.join("\n"), @"
    0211d559910a140a10aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1001
    02661e31801255080112190a09504c41494e5445585412096c6f63616c686f73741884471a0172200128093210030303030303030303030303030303033a10040404040404040404040404040404044001480152070a016610011802
    02a2ba06171a020801
    02d22bfd1022150a1002020202020202020202020202020202120174
    028759cb342a120a1002020202020202020202020202020202
    02ad79fe2a32320a100202020202020202020202020202020210031a0201022201012800300438054201024a01065201025a010160ac026803
    02cff0bfb23a170a10020202020202020202020202020202021201611a00
    02caa8444b4203120161
    02b1f307694a05080110e807
    0263710d7852050a01661002
    ");
}

#[test]
fn what_cannot_be_understood_is_an_error_that_says_why() {
    let good = encode(&MetadataRecord::RemoveBroker(RemoveBrokerRecord { id: BrokerId(7) })).unwrap();
    let with = |at: usize, byte: u8| {
        let mut frame = good.to_vec();
        frame[at] = byte;
        frame
    };
    let topic_with_short_id = {
        let message = proto::Record {
            kind: Some(proto::Kind::Topic(proto::Topic { id: vec![1; 15], name: "t".to_owned() })),
        };
        framed(&message.encode_to_vec())
    };
    let negative_broker = {
        let message = proto::Record { kind: Some(proto::Kind::RemoveBroker(proto::RemoveBroker { id: -1 })) };
        framed(&message.encode_to_vec())
    };
    let frames = [
        vec![],
        vec![FRAME_VERSION, 0, 0, 0],
        with(0, 0),
        with(0, FRAME_VERSION - 1),
        with(0, FRAME_VERSION + 1),
        with(6, 0x55),
        framed(&[]),
        // Field 99, of the kind that messages are.
        framed(&[0x9a, 0x06, 0x00]),
        framed(&[0xff; 12]),
        topic_with_short_id,
        negative_broker,
        vec![FRAME_VERSION; MAX_RECORD_BYTES + 1],
    ];
    let texts: Vec<_> = frames.iter().map(|frame| decode(frame).unwrap_err().to_string()).collect();
    insta::assert_snapshot!(texts.join("\n"), @"
    a metadata record of 0 bytes is too short
    a metadata record of 4 bytes is too short
    a metadata record has format version 0, which does not exist: the bytes are damaged
    a metadata record has format version 1, which no released version of the program wrote
    a metadata record has format version 3, and this program knows versions up to 2: start the version of the program that wrote it, or a later one
    a metadata record's checksum is 0x222a9b17, and its header says 0x4bd9a322
    a metadata record of a kind that this program does not know
    a metadata record of a kind that this program does not know
    a metadata record cannot be decoded: failed to decode Protobuf message: invalid varint
    a metadata record's field `id` is not valid: 15 bytes, not 16
    a metadata record's field `id` is not valid: -1 is negative
    a metadata record of 1048577 bytes is longer than the 1048576 bytes allowed
    ");
}

#[test]
fn a_record_that_is_too_long_is_not_written() {
    let name = "x".repeat(MAX_RECORD_BYTES);
    let record = MetadataRecord::Topic(TopicRecord { id: topic_id(1), name });
    assert!(matches!(encode(&record), Err(FrameError::TooLong { .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        // With a good header, so that the message itself is reached.
        if let Ok(record) = decode(&framed(&bytes)) {
            check_round_trip(&record);
        }
    }

    #[test]
    fn a_changed_byte_is_always_found(at in 0usize..40, with in 1u8..=255) {
        let record = MetadataRecord::Topic(TopicRecord { id: topic_id(9), name: "some topic name".to_owned() });
        let mut frame = encode(&record).unwrap().to_vec();
        let at = at % frame.len();
        frame[at] ^= with;
        prop_assert!(decode(&frame).is_err());
    }
}
