//! The administrative APIs.

use crate::support::{Client, batch, large_batch, on_tokio, produce, records, start, text};
use highwater_env_tokio::TokioEnv;
use highwater_types::{BrokerId, Offset, PartitionIndex, TopicId, Uuid};
use highwater_wire::messages::*;
use highwater_wire::messages::{alter_configs as whole, incremental_alter_configs as incremental};
use highwater_wire::{ErrorCode, Str};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Runs a test against one node.
fn with_node<F: Future<Output = ()> + Send>(
    settings: &'static [(&'static str, &'static str)],
    test: impl FnOnce(Client<TokioEnv>) -> F + Send,
) {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, settings).await;
        test(Client::to(&env, &node).await).await;
        node.shutdown().await.unwrap();
    });
}

fn named(name: &str) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() }
}

fn codes(response: &CreateTopicsResponse) -> Vec<i16> {
    response.topics.iter().map(|topic| topic.error_code.0).collect()
}

async fn value(
    client: &mut Client<TokioEnv>,
    resource_type: i8,
    resource: &str,
    name: &str,
) -> Option<String> {
    let described = describe(client, resource_type, resource, Some(&[name])).await;
    assert_eq!(described.error_code, ErrorCode::NONE, "{described:?}");
    described.configs[0].value.as_ref().map(Str::to_string)
}

async fn describe(
    client: &mut Client<TokioEnv>,
    resource_type: i8,
    resource: &str,
    names: Option<&[&str]>,
) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: resource.into(),
            configuration_keys: names.map(|names| names.iter().map(|name| text(name)).collect()),
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    client.call(4, &request).await.results.remove(0)
}

async fn set(
    client: &mut Client<TokioEnv>,
    resource_type: i8,
    resource: &str,
    name: &str,
    value: &str,
) -> ErrorCode {
    alter(client, resource_type, resource, name, 0, Some(value)).await.0
}

async fn alter(
    client: &mut Client<TokioEnv>,
    resource_type: i8,
    resource: &str,
    name: &str,
    config_operation: i8,
    value: Option<&str>,
) -> (ErrorCode, Option<String>) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![incremental::AlterConfigsResource {
            resource_type,
            resource_name: resource.into(),
            configs: vec![incremental::AlterableConfig {
                name: name.into(),
                config_operation,
                value: value.map(text),
            }],
        }],
        validate_only: false,
    };
    let answer = client.call(1, &request).await.responses.remove(0);
    assert_eq!((answer.resource_type, &*answer.resource_name), (resource_type, resource));
    (answer.error_code, answer.error_message.map(|message| message.to_string()))
}

#[test]
fn topics_are_created_in_every_version() {
    with_node(&[("num.partitions", "3")], |mut client| async move {
        for version in 2..=7 {
            let name = format!("topic-{version}");
            let topic = CreatableTopic {
                num_partitions: -1,
                replication_factor: -1,
                configs: vec![CreatableTopicConfig { name: "retention.ms".into(), value: Some("5".into()) }],
                ..named(&name)
            };
            let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 0, validate_only: false };
            let response = client.call(version, &request).await;
            assert_eq!(codes(&response), [0], "version {version}: {response:?}");
            let created = &response.topics[0];
            if version >= 5 {
                assert_eq!((created.num_partitions, created.replication_factor), (3, 1));
                let configs = created.configs.as_ref().unwrap();
                let retention = configs.iter().find(|config| &*config.name == "retention.ms").unwrap();
                assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
            }
            assert_eq!(created.topic_id != TopicId::default(), version >= 7);
            client.produce(&name, 2, batch(&["a"])).await;
        }
    });
}

#[test]
fn topics_that_cannot_be_created_are_refused_with_words() {
    with_node(&[], |mut client| async move {
        client.create_topic("old", 1, &[]).await;
        let configured = CreatableTopic {
            configs: vec![CreatableTopicConfig { name: "retention".into(), value: None }],
            ..named("configured")
        };
        let assigned = CreatableTopic {
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![CreatableReplicaAssignment {
                partition_index: PartitionIndex(0),
                broker_ids: vec![BrokerId(1), BrokerId(2)],
            }],
            ..named("assigned")
        };
        let topics = vec![
            named("old"),
            named("a b"),
            named("twice"),
            named("twice"),
            CreatableTopic { replication_factor: 2, ..named("replicated") },
            CreatableTopic { num_partitions: 0, ..named("empty") },
            configured,
            assigned,
            named("good"),
        ];
        let request = CreateTopicsRequest { topics, timeout_ms: 0, validate_only: false };
        let response = client.call(7, &request).await;
        assert_eq!(codes(&response), [36, 17, 42, 42, 38, 37, 40, 39, 0]);
        for topic in &response.topics {
            assert_eq!(topic.error_message.is_some(), topic.error_code != ErrorCode::NONE, "{topic:?}");
        }
        let only = CreateTopicsRequest { topics: vec![named("only")], timeout_ms: 0, validate_only: true };
        let response = client.call(7, &only).await;
        assert_eq!((codes(&response), response.topics[0].topic_id), (vec![0], TopicId::default()));
        assert_eq!(
            client.produce("only", 0, batch(&["a"])).await.error_code,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        );
    });
}

#[test]
fn topics_are_deleted_by_name_and_id_and_their_names_are_free_again() {
    with_node(&[], |mut client| async move {
        let first = client.create_topic("a", 2, &[]).await;
        client.create_topic("b", 1, &[]).await;
        client.produce("a", 0, batch(&["old"])).await;
        let by_name = DeleteTopicsRequest { topic_names: vec!["b".into(), "x".into()], ..Default::default() };
        for version in 1..=5 {
            let response = client.call(version, &by_name).await;
            let codes: Vec<_> = response.responses.iter().map(|topic| topic.error_code.0).collect();
            assert_eq!(codes, if version == 1 { [0, 3] } else { [3, 3] });
        }
        let state = |name: Option<&str>, topic_id| DeleteTopicState { name: name.map(text), topic_id };
        let unknown = TopicId(Uuid::from_random(1 << 100));
        let topics = vec![
            state(None, first),
            state(None, unknown),
            state(Some("a"), first),
            state(None, TopicId::default()),
        ];
        let response = client.call(6, &DeleteTopicsRequest { topics, ..Default::default() }).await;
        let outcome: Vec<_> =
            response.responses.iter().map(|it| (it.error_code.0, it.name.as_deref(), it.topic_id)).collect();
        assert_eq!(
            outcome,
            [
                (0, Some("a"), first),
                (100, None, unknown),
                (42, Some("a"), first),
                (42, None, TopicId::default())
            ]
        );
        let second = client.create_topic("a", 1, &[]).await;
        assert_ne!(first, second);
        assert_eq!(records(&client.fetch("a", 0, 0).await), []);
        assert_eq!(client.fetch("a", 1, 0).await.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    });
}

#[test]
fn deletion_can_be_switched_off() {
    with_node(&[("delete.topic.enable", "false")], |mut client| async move {
        client.create_topic("a", 1, &[]).await;
        let request = DeleteTopicsRequest { topic_names: vec!["a".into()], ..Default::default() };
        for (version, code) in [(1, 42), (2, 42), (3, 73), (5, 73)] {
            let response = client.call(version, &request).await;
            assert_eq!(response.responses[0].error_code.0, code, "version {version}");
        }
    });
}

#[test]
fn partitions_are_added_and_can_be_used_at_once() {
    with_node(&[], |mut client| async move {
        client.create_topic("a", 1, &[]).await;
        let grow = |count: i32, validate_only: bool| CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic { name: "a".into(), count, assignments: None }],
            timeout_ms: 0,
            validate_only,
        };
        let checked = client.call(3, &grow(3, true)).await;
        assert_eq!(checked.results[0].error_code, ErrorCode::NONE);
        assert_eq!(
            client.produce("a", 2, batch(&["x"])).await.error_code,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        );
        for (version, count, code) in [(0, 2, 0), (1, 3, 0), (2, 3, 37), (3, 1, 37)] {
            let response = client.call(version, &grow(count, false)).await;
            assert_eq!(response.results[0].error_code.0, code, "version {version}");
        }
        assert_eq!(client.produce("a", 2, batch(&["x"])).await.error_code, ErrorCode::NONE);
        assert_eq!(records(&client.fetch("a", 2, 0).await), [(0, "x".to_owned())]);
    });
}

#[test]
fn records_are_deleted_from_the_front() {
    with_node(&[], |mut client| async move {
        client.create_topic("a", 1, &[]).await;
        client.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).await;
        for value in ["a", "b", "c"] {
            client.produce("a", 0, batch(&[value])).await;
        }
        let mut delete = async |topic: &str, partition: i32, offset: i64, expected: (i64, i16)| {
            let request = DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: topic.into(),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index: PartitionIndex(partition),
                        offset: Offset(offset),
                    }],
                }],
                timeout_ms: 0,
            };
            for version in 0..=2 {
                let answer = client.call(version, &request).await.topics.remove(0).partitions.remove(0);
                assert_eq!((answer.low_watermark.0, answer.error_code.0), expected, "version {version}");
            }
        };
        delete("a", 0, 1, (1, 0)).await;
        delete("a", 0, 0, (1, 0)).await;
        delete("a", 0, 4, (-1, 1)).await;
        delete("a", 0, -2, (-1, 1)).await;
        delete("a", 1, 0, (-1, 3)).await;
        delete("x", 0, 0, (-1, 3)).await;
        delete("compacted", 0, 0, (-1, 44)).await;
        delete("__consumer_offsets", 0, 0, (-1, 17)).await;
        delete("a", 0, -1, (3, 0)).await;
        assert_eq!(client.fetch("a", 0, 2).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
        let produced = client.produce("a", 0, batch(&["d"])).await;
        assert_eq!((produced.base_offset, produced.log_start_offset), (Offset(3), Offset(3)));
    });
}

#[test]
fn configurations_are_described_with_sources_synonyms_and_words() {
    with_node(&[("log.retention.hours", "2")], |mut client| async move {
        client.create_topic("a", 1, &[("segment.bytes", "4096")]).await;
        let all = describe(&mut client, TOPIC, "a", None).await;
        assert!(all.configs.len() > 30);
        assert_eq!(describe(&mut client, TOPIC, "a", Some(&[])).await.configs.len(), all.configs.len());
        for config in &all.configs {
            assert!(config.documentation.is_some() && config.config_type > 0, "{config:?}");
            let first = config.synonyms.first().unwrap();
            assert_eq!(first.source, config.config_source, "{config:?}");
        }
        let find = |name: &str| all.configs.iter().find(|config| &*config.name == name).unwrap();
        let retention = find("retention.ms");
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("7200000"), 4));
        assert_eq!(
            (&*retention.synonyms[0].name, retention.synonyms[0].value.as_deref()),
            ("log.retention.hours", Some("2"))
        );
        let segment = find("segment.bytes");
        assert_eq!(
            (segment.value.as_deref(), segment.config_source, segment.config_type),
            (Some("4096"), 1, 3)
        );
        assert_eq!(
            describe(&mut client, TOPIC, "x", None).await.error_code,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        );
        assert_eq!(
            describe(&mut client, TOPIC, "a b", None).await.error_code,
            ErrorCode::INVALID_TOPIC_EXCEPTION
        );
        assert_eq!(describe(&mut client, BROKER, "2", None).await.error_code, ErrorCode::INVALID_REQUEST);
        assert_eq!(describe(&mut client, BROKER, "x", None).await.error_code, ErrorCode::INVALID_REQUEST);
        assert_eq!(describe(&mut client, 8, "1", None).await.error_code, ErrorCode::INVALID_REQUEST);
        assert_eq!(value(&mut client, BROKER, "1", "node.id").await.as_deref(), Some("1"));
        let advertised = value(&mut client, BROKER, "1", "advertised.listeners").await.unwrap();
        assert!(
            advertised.starts_with("PLAINTEXT://127.0.0.1:") && !advertised.ends_with(":0"),
            "{advertised}"
        );
        assert_eq!(value(&mut client, BROKER, "1", "log.retention.hours").await.as_deref(), Some("2"));
        assert!(describe(&mut client, BROKER, "", None).await.configs.is_empty());
        // The oldest version has neither types nor words.
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: "a".into(),
                configuration_keys: None,
            }],
            ..Default::default()
        };
        let old = client.call(1, &request).await;
        assert!(old.results[0].configs.iter().all(|config| config.synonyms.is_empty()));
    });
}

#[test]
fn a_changed_configuration_is_in_force_at_once() {
    with_node(&[], |mut client| async move {
        client.create_topic("a", 1, &[]).await;
        assert_eq!(client.produce("a", 0, large_batch(5_000)).await.error_code, ErrorCode::NONE);
        assert_eq!(set(&mut client, TOPIC, "a", "max.message.bytes", "1000").await, ErrorCode::NONE);
        assert_eq!(client.produce("a", 0, large_batch(5_000)).await.error_code, ErrorCode::MESSAGE_TOO_LARGE);
        assert_eq!(alter(&mut client, TOPIC, "a", "max.message.bytes", 1, None).await.0, ErrorCode::NONE);
        assert_eq!(client.produce("a", 0, large_batch(5_000)).await.error_code, ErrorCode::NONE);
        // For all brokers, and so for every topic that does not say otherwise.
        assert_eq!(set(&mut client, BROKER, "", "message.max.bytes", "1000").await, ErrorCode::NONE);
        assert_eq!(client.produce("a", 0, large_batch(5_000)).await.error_code, ErrorCode::MESSAGE_TOO_LARGE);
        assert_eq!(value(&mut client, TOPIC, "a", "max.message.bytes").await.as_deref(), Some("1000"));
        assert_eq!(describe(&mut client, BROKER, "", None).await.configs.len(), 1);
        assert_eq!(set(&mut client, BROKER, "1", "message.max.bytes", "9000").await, ErrorCode::NONE);
        assert_eq!(client.produce("a", 0, large_batch(5_000)).await.error_code, ErrorCode::NONE);
        // What only the log looks at: a segment takes no batch that is larger than itself.
        assert_eq!(set(&mut client, TOPIC, "a", "segment.bytes", "1024").await, ErrorCode::NONE);
        let refused = client.produce("a", 0, large_batch(5_000)).await.error_code;
        assert_eq!(refused, ErrorCode::RECORD_LIST_TOO_LARGE);
    });
}

#[test]
fn changes_that_cannot_be_made_are_refused_with_words() {
    with_node(&[], |mut client| async move {
        client.create_topic("a", 1, &[]).await;
        for (resource_type, resource, name, operation, value, code, word) in [
            (TOPIC, "a", "retention.ms", 0, Some("soon"), 40, "soon"),
            (TOPIC, "a", "retention.msec", 0, Some("1"), 40, "retention.ms?"),
            (TOPIC, "a", "retention.ms", 0, None, 42, "Null"),
            (TOPIC, "a", "retention.ms", 7, Some("1"), 42, "operation 7"),
            (TOPIC, "a", "retention.ms", 2, Some("1"), 40, "not a list"),
            (TOPIC, "x", "retention.ms", 0, Some("1"), 3, "does not exist"),
            (BROKER, "1", "listeners", 0, Some("x"), 42, "starts"),
            (BROKER, "7", "log.retention.ms", 0, Some("1"), 102, "7"),
            (BROKER, "x", "log.retention.ms", 0, Some("1"), 42, "whole number"),
            (32, "g", "x", 0, Some("1"), 42, "32"),
        ] {
            let (found, message) = alter(&mut client, resource_type, resource, name, operation, value).await;
            assert_eq!(found.0, code, "{name} {value:?}: {message:?}");
            assert!(message.as_ref().unwrap().contains(word), "{message:?}");
        }
    });
}

#[test]
fn a_whole_configuration_is_replaced() {
    with_node(&[], |mut client| async move {
        client.create_topic("a", 1, &[("retention.ms", "5"), ("segment.ms", "6")]).await;
        let request = AlterConfigsRequest {
            resources: vec![
                whole::AlterConfigsResource {
                    resource_type: TOPIC,
                    resource_name: "a".into(),
                    configs: vec![whole::AlterableConfig {
                        name: "segment.ms".into(),
                        value: Some("7".into()),
                    }],
                },
                whole::AlterConfigsResource { resource_type: 16, resource_name: "a".into(), configs: vec![] },
            ],
            validate_only: false,
        };
        for version in 0..=2 {
            let response = client.call(version, &request).await;
            let codes: Vec<_> = response.responses.iter().map(|it| it.error_code.0).collect();
            assert_eq!(codes, [0, 42], "version {version}");
        }
        assert_eq!(value(&mut client, TOPIC, "a", "segment.ms").await.as_deref(), Some("7"));
        assert_eq!(value(&mut client, TOPIC, "a", "retention.ms").await.as_deref(), Some("604800000"));
    });
}

#[test]
fn the_cluster_is_described() {
    with_node(&[], |mut client| async move {
        for version in 0..=2 {
            let request =
                DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
            let response = client.call(version, &request).await;
            assert_eq!((response.error_code, response.controller_id), (ErrorCode::NONE, BrokerId(1)));
            assert_eq!(response.cluster_id.len(), 22);
            assert_eq!(response.brokers.len(), 1);
            assert_eq!((&*response.brokers[0].host, response.brokers[0].port > 0), ("127.0.0.1", true));
            assert_eq!(response.cluster_authorized_operations, 8096);
        }
        for (endpoint_type, code) in [(2, 114), (9, 115)] {
            let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
            assert_eq!(client.call(2, &request).await.error_code.0, code);
        }
    });
}

#[test]
fn partitions_are_described_page_by_page() {
    with_node(&[], |mut client| async move {
        let id = client.create_topic("a", 3, &[]).await;
        let request = DescribeTopicPartitionsRequest { response_partition_limit: 2, ..Default::default() };
        let first = client.call(0, &request).await;
        assert_eq!((first.topics[0].topic_id, first.topics[0].partitions.len()), (id, 2));
        let request = DescribeTopicPartitionsRequest { cursor: first.next_cursor, ..request };
        let second = client.call(0, &request).await;
        assert_eq!(second.topics[0].partitions[0].partition_index, PartitionIndex(2));
        assert!(second.next_cursor.is_none());
    });
}

#[test]
fn the_data_directory_is_described() {
    with_node(&[], |mut client| async move {
        client.create_topic("a", 2, &[]).await;
        client.create_topic("b", 1, &[]).await;
        client.produce("a", 1, batch(&["a"])).await;
        for version in 1..=5 {
            let all = client.call(version, &DescribeLogDirsRequest { topics: None }).await;
            assert_eq!((all.error_code, all.results.len()), (ErrorCode::NONE, 1));
            let names: Vec<_> = all.results[0].topics.iter().map(|topic| &*topic.name).collect();
            assert_eq!(names, ["a", "b"]);
            let size = |partition: usize| all.results[0].topics[0].partitions[partition].partition_size;
            assert!(size(1) > size(0), "{all:?}");
            assert_eq!(all.results[0].total_bytes > 0, version >= 4);
        }
        let topics = vec![
            DescribableLogDirTopic {
                topic: "a".into(),
                partitions: vec![PartitionIndex(1), PartitionIndex(9)],
            },
            DescribableLogDirTopic { topic: "x".into(), partitions: vec![PartitionIndex(0)] },
        ];
        let some = client.call(5, &DescribeLogDirsRequest { topics: Some(topics) }).await;
        assert_eq!(some.results[0].topics.len(), 1);
        assert_eq!(some.results[0].topics[0].partitions.len(), 1);
    });
}

#[test]
fn acks_of_all_need_the_replicas_that_are_asked_for() {
    with_node(&[], |mut client| async move {
        client.create_topic("a", 1, &[("min.insync.replicas", "2")]).await;
        assert_eq!(client.produce("a", 0, batch(&["x"])).await.error_code, ErrorCode::NOT_ENOUGH_REPLICAS);
        let leader_only = client.call(9, &produce("a", 0, batch(&["x"]), 1)).await;
        assert_eq!(leader_only.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
        assert_eq!(set(&mut client, TOPIC, "a", "min.insync.replicas", "1").await, ErrorCode::NONE);
        assert_eq!(client.produce("a", 0, batch(&["x"])).await.base_offset, Offset(1));
    });
}
