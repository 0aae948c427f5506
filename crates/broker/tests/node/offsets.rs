//! ListOffsets, OffsetForLeaderEpoch.

use crate::support::*;
use highwater_records::{BatchBuilder, Codec};
use highwater_types::{LeaderEpoch, PartitionIndex, Timestamp};
use highwater_wire::ErrorCode;
use highwater_wire::messages::*;

fn list(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: PartitionIndex(partition),
                timestamp: Timestamp(timestamp),
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

#[test]
fn offsets_are_found_by_place_and_time() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        let check = async |client: &mut Client<_>, version, timestamp, expected: (ErrorCode, i64, i64)| {
            let response = client.call(version, &list("t", 0, timestamp)).await;
            let part = &response.topics[0].partitions[0];
            let found = (part.error_code, part.timestamp.0, part.offset.0);
            assert_eq!(found, expected, "version {version}, timestamp {timestamp}");
        };
        let none = ErrorCode::NONE;
        check(&mut client, 7, -1, (none, -1, 0)).await;
        check(&mut client, 7, -3, (none, -1, -1)).await;
        check(&mut client, 7, 0, (none, -1, -1)).await;
        for times in [&[100, 300, 200][..], &[50, 400]] {
            let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
            for time in times {
                assert!(builder.try_push(Timestamp(*time), None, Some(b"x"), &[]));
            }
            client.produce("t", 0, builder.build()).await;
        }
        for version in [1, 5, 7, 11] {
            check(&mut client, version, -1, (none, -1, 5)).await;
            check(&mut client, version, -2, (none, -1, 0)).await;
            check(&mut client, version, 0, (none, 100, 0)).await;
            check(&mut client, version, 101, (none, 300, 1)).await;
            check(&mut client, version, 350, (none, 400, 4)).await;
            check(&mut client, version, 401, (none, -1, -1)).await;
        }
        let unsupported = (ErrorCode::UNSUPPORTED_VERSION, -1, -1);
        check(&mut client, 7, -3, (none, 400, 4)).await;
        check(&mut client, 6, -3, unsupported).await;
        check(&mut client, 8, -4, (none, -1, 0)).await;
        check(&mut client, 7, -4, unsupported).await;
        check(&mut client, 9, -5, (none, -1, -1)).await;
        check(&mut client, 11, -6, (none, -1, -1)).await;
        check(&mut client, 11, -7, unsupported).await;

        let mut request = list("t", 0, -1);
        request.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(3);
        let response = client.call(7, &request).await;
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::UNKNOWN_LEADER_EPOCH);
        let again = request.topics[0].partitions[0].clone();
        request.topics[0].partitions.push(again);
        let response = client.call(7, &request).await;
        assert_eq!(response.topics[0].partitions[1].error_code, ErrorCode::INVALID_REQUEST);
        for (topic, partition) in [("t", 1), ("nowhere", 0)] {
            let response = client.call(7, &list(topic, partition, -1)).await;
            assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        node.shutdown().await.unwrap();
    });
}

#[test]
fn the_end_of_an_epoch_is_told() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        client.produce("t", 0, batch(&["a", "b"])).await;
        let check = async |client: &mut Client<_>, current, asked, expected: (ErrorCode, i32, i64)| {
            let request = OffsetForLeaderEpochRequest {
                topics: vec![OffsetForLeaderTopic {
                    topic: text("t"),
                    partitions: vec![OffsetForLeaderPartition {
                        partition: PartitionIndex(0),
                        current_leader_epoch: LeaderEpoch(current),
                        leader_epoch: LeaderEpoch(asked),
                    }],
                }],
                ..Default::default()
            };
            for version in 2..=4 {
                let response = client.call(version, &request).await;
                let part = &response.topics[0].partitions[0];
                let found = (part.error_code, part.leader_epoch.0, part.end_offset.0);
                assert_eq!(found, expected, "version {version}, {current}, {asked}");
            }
        };
        check(&mut client, -1, 0, (ErrorCode::NONE, 0, 2)).await;
        check(&mut client, 0, 0, (ErrorCode::NONE, 0, 2)).await;
        check(&mut client, 4, 0, (ErrorCode::UNKNOWN_LEADER_EPOCH, -1, -1)).await;
        check(&mut client, -1, 5, (ErrorCode::NONE, -1, -1)).await;
        node.shutdown().await.unwrap();
    });
}
