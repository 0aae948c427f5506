//! Metadata and ApiVersions.

use crate::support::*;
use highwater_types::{BrokerId, TopicId, Uuid};
use highwater_wire::messages::*;
use highwater_wire::{ErrorCode, version_table};

fn about(topics: &[&str]) -> MetadataRequest {
    MetadataRequest {
        topics: Some(
            topics
                .iter()
                .map(|name| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() })
                .collect(),
        ),
        ..Default::default()
    }
}

#[test]
fn a_missing_topic_is_created_where_that_is_allowed() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[("num.partitions", "3")]).await;
        let mut client = Client::to(&env, &node).await;
        let forbidden = MetadataRequest { allow_auto_topic_creation: false, ..about(&["t"]) };
        let response = client.call(12, &forbidden).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let response = client.call(12, &about(&["t"])).await;
        let topic = &response.topics[0];
        assert_eq!((topic.error_code, topic.partitions.len()), (ErrorCode::NONE, 3), "{topic:?}");
        assert_ne!(topic.topic_id, TopicId::default());
        assert!(
            topic
                .partitions
                .iter()
                .all(|part| part.leader_id == BrokerId(1) && part.isr_nodes == [BrokerId(1)])
        );
        assert_eq!(client.produce("t", 2, batch(&["x"])).await.error_code, ErrorCode::NONE);
        let response = client.call(12, &about(&["not/allowed"])).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
        node.shutdown().await.unwrap();

        let node = start(&env, &dir, &[("auto.create.topics.enable", "false")]).await;
        let mut client = Client::to(&env, &node).await;
        let response = client.call(12, &about(&["other"])).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn all_topics_or_none_are_told_as_the_version_has_it() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        client.create_topic("b", 1, &[]).await;
        client.create_topic("a", 1, &[]).await;
        for version in 0..=13 {
            let all = MetadataRequest { topics: (version == 0).then(Vec::new), ..Default::default() };
            let response = client.call(version, &all).await;
            let names: Vec<_> = response.topics.iter().filter_map(|topic| topic.name.as_deref()).collect();
            assert_eq!(names, ["a", "b"], "version {version}");
            let address = node.local_addrs()[0];
            let broker = &response.brokers[0];
            assert_eq!(
                (broker.node_id, &*broker.host, broker.port),
                (BrokerId(1), "127.0.0.1", i32::from(address.port()))
            );
            if version >= 1 {
                assert!(client.call(version, &about(&[])).await.topics.is_empty(), "version {version}");
                assert_eq!(response.controller_id, BrokerId(1));
            }
            if version >= 2 {
                assert_eq!(response.cluster_id.as_deref(), Some(&*node.cluster_id().to_string()));
            }
        }
        node.shutdown().await.unwrap();
    });
}

#[test]
fn topics_are_found_by_id() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        let id = client.create_topic("t", 1, &[]).await;
        let by_id = |topic_id| MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { topic_id, name: None }]),
            ..Default::default()
        };
        let response = client.call(12, &by_id(id)).await;
        assert_eq!(response.topics[0].name.as_deref(), Some("t"));
        let response = client.call(12, &by_id(TopicId(Uuid::from_random(5)))).await;
        assert_eq!(
            (response.topics[0].error_code, &response.topics[0].name),
            (ErrorCode::UNKNOWN_TOPIC_ID, &None)
        );
        let response = client.call(11, &by_id(id)).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::INVALID_REQUEST);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn what_is_served_is_told_in_every_version() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = Client::to(&env, &node).await;
        let request = ApiVersionsRequest {
            client_software_name: text("test-client"),
            client_software_version: text("1.0"),
        };
        for version in 0..=4 {
            let response = client.call(version, &request).await;
            assert_eq!(response.error_code, ErrorCode::NONE);
            let told: Vec<_> =
                response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
            let served: Vec<_> =
                version_table().iter().map(|served| (served.key.0, served.first, served.last)).collect();
            assert_eq!(told, served);
            // Features are told from version 3 on.
            let features: Vec<_> = response
                .finalized_features
                .iter()
                .map(|feature| (feature.name.to_string(), feature.max_version_level))
                .collect();
            let expected = if version >= 3 { vec![("group.version".to_owned(), 1)] } else { Vec::new() };
            assert_eq!(features, expected);
        }
        let unnamed = ApiVersionsRequest { client_software_name: text("a b"), ..request };
        assert_eq!(client.call(3, &unnamed).await.error_code, ErrorCode::INVALID_REQUEST);
        node.shutdown().await.unwrap();
    });
}
