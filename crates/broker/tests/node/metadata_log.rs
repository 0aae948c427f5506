//! The cluster's metadata over restarts: what survives, what a crash leaves, and what is refused.

use crate::support::{Client, batch, config, on_tokio, records, start};
use highwater_broker::{Node, StartError};
use highwater_env::Env;
use highwater_env_tokio::TokioEnv;
use highwater_log::{Identity, Log, LogConfig, Store, StoreOptions};
use highwater_metadata::{
    FRAME_VERSION, METADATA_LOG, MetadataRecord, RemoveTopicRecord, TopicRecord, encode,
};
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

/// Appends a record to the metadata of a node that does not run, and returns why the node does not start with it.
async fn start_error_with(env: &TokioEnv, dir: &Path, value: Option<&[u8]>) -> String {
    let store = open_store(env, dir).await;
    append(env, &store.log(METADATA_LOG).unwrap(), value).await;
    store.close().await.unwrap();
    start_error(env, dir).await
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
fn logs_that_a_crash_left_behind_are_removed_and_others_are_kept() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let deleted = Client::to(&env, &node).await.create_topic("a", 1, &[]).await;
        node.shutdown().await.unwrap();
        let (empty, stray) = (TopicId(Uuid::from_random(7 << 90)), TopicId(Uuid::from_random(9 << 90)));
        let store = open_store(&env, &dir).await;
        // Deleted, but for the files; made, but not committed; and somebody's data.
        append(&env, &store.log(LogId { topic: deleted, partition: PartitionIndex(0) }).unwrap(), Some(b"x"))
            .await;
        let removal = MetadataRecord::RemoveTopic(RemoveTopicRecord { id: deleted });
        append(&env, &store.log(METADATA_LOG).unwrap(), Some(&encode(&removal).unwrap())).await;
        for topic in [empty, stray] {
            let id = LogId { topic, partition: PartitionIndex(0) };
            let log = store.create_log(id, LogConfig::default()).await.unwrap();
            if topic == stray {
                append(&env, &log, Some(b"x")).await;
            }
        }
        store.close().await.unwrap();
        let exists = |topic| dir.join(topic_dir(topic, 0)).exists();
        assert!(exists(deleted) && exists(empty) && exists(stray));
        for _ in 0..2 {
            let node = start(&env, &dir, &[]).await;
            node.shutdown().await.unwrap();
            assert!(!exists(deleted) && !exists(empty) && exists(stray));
        }
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
fn a_node_does_not_start_on_metadata_that_it_does_not_understand() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        node.shutdown().await.unwrap();
        let mut newer =
            encode(&MetadataRecord::Topic(TopicRecord { id: TopicId::default(), name: "t".to_owned() }))
                .unwrap()
                .to_vec();
        newer[0] = FRAME_VERSION + 1;
        let error = start_error_with(&env, &dir, Some(&newer)).await;
        assert!(error.contains(&format!("format version {}", FRAME_VERSION + 1)), "{error}");
        // It says so again, and goes no further.
        assert_eq!(start_error(&env, &dir).await, error);
    });
}

#[test]
fn a_node_does_not_start_on_metadata_that_contradicts_itself() {
    for (value, word) in [
        (Some(b"rubbish".to_vec()), "cannot be used"),
        (None, "without a value"),
        (
            Some(
                encode(&MetadataRecord::RemoveTopic(RemoveTopicRecord {
                    id: TopicId(Uuid::from_random(1 << 99)),
                }))
                .unwrap()
                .to_vec(),
            ),
            "contradicts itself",
        ),
    ] {
        on_tokio(|env, dir| async move {
            let node = start(&env, &dir, &[]).await;
            node.shutdown().await.unwrap();
            let error = start_error_with(&env, &dir, value.as_deref()).await;
            assert!(error.contains(word), "{error}");
        });
    }
}

#[test]
fn a_node_does_not_start_without_the_metadata_of_its_logs() {
    on_tokio(|env, dir| async move {
        let id = write_two_partitions(&env, &dir).await;
        std::fs::remove_dir_all(dir.join(format!("logs/{METADATA_LOG}"))).unwrap();
        // The store knows that there was one.
        let error = start_error(&env, &dir).await;
        assert!(error.contains("metadata log cannot be read"), "{error}");
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
