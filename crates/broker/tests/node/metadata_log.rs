//! The cluster's metadata over restarts: what survives, what a crash leaves, and what is refused.

use crate::support::{Client, batch, config, on_tokio, records, start};
use highwater_broker::{Node, StartError};
use highwater_env::Env;
use highwater_env_tokio::TokioEnv;
use highwater_log::{Identity, Log, LogConfig, Store, StoreOptions};
use highwater_metadata::METADATA_LOG;
use highwater_records::{Batch, BatchBuilder, Codec};
use highwater_types::{BrokerId, LeaderEpoch, LogId, PartitionIndex, Timestamp, TopicId, Uuid};
use highwater_wire::ErrorCode;
use highwater_wire::messages::*;
use std::path::Path;

/// Opens the store of a node that does not run.
async fn open_store(env: &TokioEnv, dir: &Path) -> Store<TokioEnv> {
    let options = StoreOptions {
        identity: Identity { cluster: None, node: BrokerId(1) },
        ..StoreOptions::new(dir, BrokerId(1))
    };
    Store::open(env.clone(), options).await.unwrap().0
}

async fn append(env: &TokioEnv, log: &Log<TokioEnv>, value: Option<&[u8]>) {
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    assert!(builder.try_push(Timestamp(1), None, value, &[]));
    let appended = log
        .append(&Batch::check(builder.build()).unwrap(), LeaderEpoch(0), env.clock().wall())
        .await
        .unwrap();
    log.wait_synced(appended.end_offset).await.unwrap();
}

async fn start_error(env: &TokioEnv, dir: &Path) -> String {
    match Node::start(env.clone(), config(dir, &[])).await {
        Ok(_) => panic!("the node started"),
        Err(error @ StartError::Cluster(_)) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
    }
}

/// Runs a node for as long as it takes to write a record to each of two partitions of topic "a".
async fn write_two_partitions(env: &TokioEnv, dir: &Path) -> TopicId {
    let node = start(env, dir, &[]).await;
    let mut client = Client::to(env, &node).await;
    let id = client.create_topic("a", 2, &[]).await;
    client.produce("a", 0, batch(&["x"])).await;
    client.produce("a", 1, batch(&["x"])).await;
    node.shutdown().await.unwrap();
    id
}

/// Removes what the store remembers of its logs beside them.
fn remove_marks(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("recovery-points") || name == "clean-shutdown" {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn topic_dir(id: TopicId, partition: i32) -> String {
    format!("logs/{}", LogId { topic: id, partition: PartitionIndex(partition) })
}

#[test]
fn everything_survives_a_restart() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let cluster = node.cluster_id();
        let mut client = Client::to(&env, &node).await;
        let id = client.create_topic("a", 2, &[("retention.ms", "-1")]).await;
        client.create_topic("gone", 1, &[]).await;
        client.produce("a", 1, batch(&["x"])).await;
        let delete = DeleteTopicsRequest { topic_names: vec!["gone".into()], ..Default::default() };
        assert_eq!(client.call(5, &delete).await.responses[0].error_code, ErrorCode::NONE);
        let first = client.call(4, &InitProducerIdRequest::default()).await.producer_id;
        node.shutdown().await.unwrap();

        let node = start(&env, &dir, &[]).await;
        assert_eq!(node.cluster_id(), cluster);
        let mut client = Client::to(&env, &node).await;
        let described = client.call(0, &DescribeTopicPartitionsRequest::default()).await;
        assert_eq!(described.topics.len(), 1);
        assert_eq!((described.topics[0].topic_id, described.topics[0].partitions.len()), (id, 2));
        assert_eq!(records(&client.fetch("a", 1, 0).await), [(0, "x".to_owned())]);
        let second = client.call(4, &InitProducerIdRequest::default()).await.producer_id;
        assert!(second > first, "{second} after {first}: an id was given out twice");
        let keys = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: 2,
                resource_name: "a".into(),
                configuration_keys: Some(vec!["retention.ms".into()]),
            }],
            ..Default::default()
        };
        let configs = client.call(4, &keys).await;
        assert_eq!(configs.results[0].configs[0].value.as_deref(), Some("-1"));
        node.shutdown().await.unwrap();
    });
}

#[test]
fn many_requests_at_once_change_the_metadata_one_after_another() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        let create = |name: String| CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.into(),
                num_partitions: 2,
                replication_factor: 1,
                ..Default::default()
            }],
            ..Default::default()
        };
        // Pipelined: each name twice, of which one wins.
        for number in 0..40 {
            client.send(7, &create(format!("topic-{}", number / 2))).await;
        }
        let mut made = 0;
        for _ in 0..40 {
            let (_, response) = client.receive::<CreateTopicsRequest>(7).await;
            match response.topics[0].error_code {
                ErrorCode::NONE => made += 1,
                code => assert_eq!(code, ErrorCode::TOPIC_ALREADY_EXISTS),
            }
        }
        assert_eq!(made, 20);
        node.shutdown().await.unwrap();
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        assert_eq!(client.call(0, &DescribeTopicPartitionsRequest::default()).await.topics.len(), 20);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn logs_of_partitions_that_are_gone_are_removed() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let kept = Client::to(&env, &node).await.create_topic("a", 1, &[]).await;
        node.shutdown().await.unwrap();
        let (empty, stray) = (TopicId(Uuid::from_random(7 << 90)), TopicId(Uuid::from_random(9 << 90)));
        let store = open_store(&env, &dir).await;
        // A crash came before these were deleted.
        for topic in [empty, stray] {
            let id = LogId { topic, partition: PartitionIndex(0) };
            let log = store.create_log(id, LogConfig::default()).await.unwrap();
            if topic == stray {
                append(&env, &log, Some(b"x")).await;
            }
        }
        store.close().await.unwrap();
        let exists = |topic| dir.join(topic_dir(topic, 0)).exists();
        assert!(exists(kept) && exists(empty) && exists(stray));
        let node = start(&env, &dir, &[]).await;
        node.shutdown().await.unwrap();
        assert!(exists(kept) && !exists(empty) && !exists(stray));
    });
}

#[test]
fn a_partition_whose_directory_is_gone_never_gives_its_offsets_again() {
    on_tokio(|env, dir| async move {
        let id = write_two_partitions(&env, &dir).await;
        std::fs::remove_dir_all(dir.join(topic_dir(id, 0))).unwrap();
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        assert_eq!(client.fetch("a", 0, 0).await.error_code, ErrorCode::CORRUPT_MESSAGE);
        assert_eq!(client.produce("a", 0, batch(&["y"])).await.base_offset.0, 1);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_partition_whose_log_is_lost_without_a_trace_is_offline_and_not_made_anew() {
    on_tokio(|env, dir| async move {
        let id = write_two_partitions(&env, &dir).await;
        std::fs::remove_dir_all(dir.join(topic_dir(id, 0))).unwrap();
        remove_marks(&dir);
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        assert_eq!(client.produce("a", 0, batch(&["y"])).await.error_code, ErrorCode::KAFKA_STORAGE_ERROR);
        assert_eq!(client.fetch("a", 0, 0).await.error_code, ErrorCode::KAFKA_STORAGE_ERROR);
        assert_eq!(client.produce("a", 1, batch(&["y"])).await.base_offset.0, 1);
        assert!(!dir.join(topic_dir(id, 0)).exists());
        // The way out is to delete the topic.
        let delete = DeleteTopicsRequest { topic_names: vec!["a".into()], ..Default::default() };
        assert_eq!(client.call(5, &delete).await.responses[0].error_code, ErrorCode::NONE);
        client.create_topic("a", 1, &[]).await;
        assert_eq!(client.produce("a", 0, batch(&["z"])).await.base_offset.0, 0);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_node_does_not_start_without_the_metadata_of_its_logs() {
    on_tokio(|env, dir| async move {
        let id = write_two_partitions(&env, &dir).await;
        std::fs::remove_dir_all(dir.join(format!("logs/{METADATA_LOG}"))).unwrap();
        // The store knows that there was one.
        let error = start_error(&env, &dir).await;
        assert!(error.contains("do not check out"), "{error}");
        // And if it does not, its logs tell.
        std::fs::remove_dir_all(dir.join(format!("logs/{METADATA_LOG}"))).unwrap();
        remove_marks(&dir);
        let error = start_error(&env, &dir).await;
        assert!(error.contains("metadata log is missing"), "{error}");
        // It does not make an empty one in passing.
        assert_eq!(start_error(&env, &dir).await, error);
        assert!(dir.join(topic_dir(id, 0)).exists());
    });
}
