//! Produce.

use crate::support::*;
use bytes::{Bytes, BytesMut};
use highwater_records::Codec;
use highwater_sim::Simulation;
use highwater_sim::disk::{Fault, Op};
use highwater_types::{Offset, PartitionIndex, ProducerId, Timestamp, TopicId};
use highwater_wire::messages::*;
use highwater_wire::{ErrorCode, Records};
use std::path::Path;
use std::time::Duration;

#[test]
fn what_was_produced_is_there_after_a_restart() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        let id = client.create_topic("t", 2, &[]).await;
        for (number, partition) in [(0, 0), (1, 1), (2, 0)] {
            let response = client.produce("t", partition, batch(&[&format!("r{number}")])).await;
            assert_eq!(response.error_code, ErrorCode::NONE, "{response:?}");
        }
        let expected = vec![(0, "r0".to_owned()), (1, "r2".to_owned())];
        assert_eq!(records(&client.fetch("t", 0, 0).await), expected);
        let cluster = node.cluster_id();
        node.shutdown().await.unwrap();

        let node = start(&env, &dir, &[]).await;
        assert_eq!(node.cluster_id(), cluster);
        let mut client = Client::to(&env, &node).await;
        assert_eq!(records(&client.fetch("t", 0, 0).await), expected);
        assert_eq!(records(&client.fetch("t", 1, 0).await), vec![(0, "r1".to_owned())]);
        let metadata = client.call(12, &MetadataRequest::default()).await;
        assert_eq!(metadata.topics[0].topic_id, id);
        assert_eq!(client.produce("t", 0, batch(&["r3"])).await.base_offset, Offset(2));
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_repeated_batch_is_answered_and_not_written() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        let producer = client.call(4, &InitProducerIdRequest::default()).await.producer_id;
        let check = async |client: &mut Client<_>, sequence, values: &[&str], expected| {
            let response = client.produce("t", 0, sequenced(producer, sequence, values)).await;
            assert_eq!((response.error_code, response.base_offset.0), expected, "{sequence} {values:?}");
        };
        check(&mut client, 0, &["a", "b"], (ErrorCode::NONE, 0)).await;
        check(&mut client, 2, &["c"], (ErrorCode::NONE, 2)).await;
        check(&mut client, 0, &["a", "b"], (ErrorCode::NONE, 0)).await;
        check(&mut client, 2, &["c"], (ErrorCode::NONE, 2)).await;
        check(&mut client, 9, &["z"], (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1)).await;
        check(&mut client, 3, &["d"], (ErrorCode::NONE, 3)).await;
        assert_eq!(node.metrics().produce_duplicates.get(), 2);
        node.shutdown().await.unwrap();

        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        check(&mut client, 3, &["d"], (ErrorCode::NONE, 3)).await;
        check(&mut client, 4, &["e"], (ErrorCode::NONE, 4)).await;
        let values: Vec<_> =
            records(&client.fetch("t", 0, 0).await).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["a", "b", "c", "d", "e"]);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn batches_that_are_not_allowed_are_refused_one_by_one() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[("max.message.bytes", "2000")]).await;
        client.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).await;
        let good = batch(&["good"]);
        let broken = |at: usize, byte: u8| {
            let mut bytes = BytesMut::from(&good[..]);
            bytes[at] = byte;
            bytes.freeze()
        };
        let cases: Vec<(&str, i32, Bytes, ErrorCode)> = vec![
            ("t", 0, broken(65, 0xff), ErrorCode::CORRUPT_MESSAGE),
            ("t", 0, broken(16, 1), ErrorCode::INVALID_RECORD),
            ("t", 0, broken(7, 1), ErrorCode::INVALID_RECORD),
            ("t", 0, good.slice(..30), ErrorCode::CORRUPT_MESSAGE),
            ("t", 0, Bytes::new(), ErrorCode::INVALID_RECORD),
            ("t", 0, [&good[..], &good[..]].concat().into(), ErrorCode::INVALID_RECORD),
            ("t", 0, large_batch(3_000), ErrorCode::MESSAGE_TOO_LARGE),
            ("t", 7, good.clone(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ("t", -1, good.clone(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ("nowhere", 0, good.clone(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ("t", 0, build(&["x"], |builder| builder.set_transactional()), ErrorCode::INVALID_TXN_STATE),
        ];
        for (index, (topic, partition, records, expected)) in cases.into_iter().enumerate() {
            let response = client.produce(topic, partition, records).await;
            assert_eq!((response.error_code, response.base_offset), (expected, Offset(-1)), "case {index}");
        }
        let response = client.produce("compacted", 0, batch(&["no key"])).await;
        assert_eq!(response.error_code, ErrorCode::INVALID_RECORD);
        assert_eq!(response.record_errors[0].batch_index, 0);
        assert!(response.error_message.is_some());
        let response = client.call(9, &produce("t", 0, good.clone(), 2)).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::INVALID_REQUIRED_ACKS);
        // None of them left anything behind.
        assert_eq!(client.produce("t", 0, good).await.base_offset, Offset(0));
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_request_for_several_partitions_is_answered_for_each() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("a", 3, &[]).await;
        let part = |index, text| PartitionProduceData {
            index: PartitionIndex(index),
            records: Records::Bytes(batch(&[text])),
        };
        let mut request = produce("a", 2, batch(&["x"]), -1);
        request.topic_data[0].partition_data.extend([part(0, "y"), part(9, "z"), part(1, "w"), part(0, "v")]);
        let response = client.call(9, &request).await;
        let outcome: Vec<_> = response.responses[0]
            .partition_responses
            .iter()
            .map(|part| (part.index.0, part.error_code, part.base_offset.0))
            .collect();
        let none = ErrorCode::NONE;
        assert_eq!(
            outcome,
            [
                (2, none, 0),
                (0, none, 0),
                (9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1),
                (1, none, 0),
                (0, none, 1)
            ]
        );
        node.shutdown().await.unwrap();
    });
}

#[test]
fn topics_are_found_by_id() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        let id = client.create_topic("t", 1, &[]).await;
        let mut request = produce("", 0, batch(&["x"]), -1);
        request.topic_data[0].topic_id = id;
        let response = client.call(13, &request).await;
        assert_eq!(response.responses[0].topic_id, id);
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
        request.topic_data[0].topic_id = TopicId(highwater_types::Uuid::from_random(77));
        let response = client.call(13, &request).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn acks_say_when_and_whether_there_is_an_answer() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("t", 1, &[]).await;
        client.send(9, &produce("t", 0, batch(&["silent"]), 0)).await;
        let response = client.call(9, &produce("t", 0, batch(&["leader"]), 1)).await;
        assert_eq!(response.responses[0].partition_responses[0].base_offset, Offset(1));
        // The answer to acks=all comes once the records can be read.
        client.produce("t", 0, batch(&["all"])).await;
        assert_eq!(records(&client.fetch("t", 0, 0).await).len(), 3);
        client.send(9, &produce("nowhere", 0, batch(&["silent"]), 0)).await;
        assert!(client.is_closed().await, "all that can be told of a failure without an answer");
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_topic_decides_on_codec_and_clock() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("packed", 1, &[("compression.type", "zstd")]).await;
        client.create_topic("clocked", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
        assert_eq!(client.produce("packed", 0, batch(&["x", "y"])).await.error_code, ErrorCode::NONE);
        let data = client.fetch("packed", 0, 0).await;
        let Records::Bytes(bytes) = &data.records else { panic!("no records") };
        let header = highwater_records::BatchHeader::parse(bytes).unwrap();
        assert_eq!(header.attributes.codec(), Ok(Codec::Zstd));
        assert_eq!(records(&data), [(0, "x".to_owned()), (1, "y".to_owned())]);
        let response = client.produce("clocked", 0, batch(&["x"])).await;
        assert!(response.log_append_time_ms > Timestamp(1_000), "{response:?}");
        assert_eq!(client.produce("packed", 0, batch(&["z"])).await.log_append_time_ms, Timestamp::NONE);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn one_connections_requests_are_appended_in_order() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        // Large batches for this topic are converted on another thread, small ones at once.
        client.create_topic("t", 1, &[("compression.type", "gzip")]).await;
        let mut bytes = Vec::new();
        for number in 0..20 {
            let batch = if number % 2 == 0 { large_batch(100_000) } else { batch(&["small"]) };
            bytes.extend(request_bytes(number, 9, &produce("t", 0, batch, -1)));
        }
        client.send_bytes(&bytes).await;
        for number in 0..20 {
            let (id, response) = client.receive::<ProduceRequest>(9).await;
            let part = &response.responses[0].partition_responses[0];
            assert_eq!(
                (id, part.error_code, part.base_offset.0),
                (number, ErrorCode::NONE, i64::from(number))
            );
        }
        node.shutdown().await.unwrap();
    });
}

#[test]
fn producer_ids_are_never_given_twice() {
    on_tokio(|env, dir| async move {
        let mut last = ProducerId(-1);
        for _ in 0..3 {
            let node = start(&env, &dir, &[]).await;
            let mut client = Client::to(&env, &node).await;
            for version in 0..=5 {
                let response = client.call(version, &InitProducerIdRequest::default()).await;
                assert_eq!((response.error_code, response.producer_epoch.0), (ErrorCode::NONE, 0));
                assert!(response.producer_id > last, "{response:?} after {last}");
                last = response.producer_id;
            }
            node.shutdown().await.unwrap();
        }
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        let request = InitProducerIdRequest { transactional_id: Some("tx".into()), ..Default::default() };
        assert_eq!(client.call(4, &request).await.error_code, ErrorCode::UNSUPPORTED_VERSION);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_client_that_goes_away_in_the_middle_of_a_write_fails_no_other_clients_request() {
    let sim = Simulation::new(11);
    let id = sim.node("n").node();
    sim.block_on(async {
        let env = sim.env(id);
        let node = start(&env, Path::new("/data"), &[]).await;
        let [mut goes, mut stays] = [Client::to(&env, &node).await, Client::to(&env, &node).await];
        let topic = goes.create_topic("t", 1, &[]).await;
        for _ in 0..2 {
            let stall = Fault::Stall(Duration::from_secs(2));
            sim.disk(id).fail_next(Op::Write, &format!("{topic}-0"), stall);
        }
        // The first write holds up all that comes after it, and the second one writes that together.
        goes.send(9, &produce("t", 0, batch(&["a"]), -1)).await;
        pause(&env, Duration::from_millis(100)).await;
        goes.send(9, &produce("t", 0, batch(&["b"]), -1)).await;
        pause(&env, Duration::from_millis(100)).await;
        stays.send(9, &produce("t", 0, batch(&["c"]), -1)).await;
        pause(&env, Duration::from_millis(2_500)).await;
        drop(goes);
        let (_, response) = stays.receive::<ProduceRequest>(9).await;
        let part = &response.responses[0].partition_responses[0];
        assert_eq!((part.error_code, part.base_offset), (ErrorCode::NONE, Offset(2)));
        let expected = [(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())];
        assert_eq!(records(&stays.fetch("t", 0, 0).await), expected);
        assert_eq!(stays.produce("t", 0, batch(&["d"])).await.base_offset, Offset(3));
        node.shutdown().await.unwrap();
    });
}
