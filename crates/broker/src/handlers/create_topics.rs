//! CreateTopics (key 19), versions 2 to 7.
//!
//! - Every topic succeeds or fails for itself; all that succeed are committed as one change, durable before the answer.
//! - -1 partitions or replicas ask for the default in every version (Kafka's clients send it from version 4 on).
//! - Versions 5 and up return the number of partitions and replicas and the configuration in force, version 7 the id.
//! - `validate_only` checks everything and returns no id.
//! - `timeout_ms` is not looked at: the answer comes when the topics are there.

use super::admin::{answers, code_and_message};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::configs::Entry;
use highwater_metadata::controller::{CreatedTopic, NewTopic, create_topics};
use highwater_types::TopicId;
use highwater_wire::ErrorCode;
use highwater_wire::Str;
use highwater_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let topics: Vec<NewTopic> = request.topics.iter().map(new_topic).collect();
    let cluster = &context.shared.cluster;
    let outcome = cluster
        .change(|view| create_topics(view, &topics, request.validate_only, || cluster.draw_topic_id()))
        .await;
    let results = request.topics.into_iter().zip(answers(outcome, topics.len())).map(|(topic, answer)| {
        let (error_code, error_message) = code_and_message(&answer);
        let created = answer.ok();
        CreatableTopicResult {
            name: topic.name,
            topic_id: match &created {
                Some(created) if !request.validate_only => created.id,
                _ => TopicId::default(),
            },
            error_code,
            error_message,
            topic_config_error_code: ErrorCode::NONE,
            num_partitions: created.as_ref().map_or(-1, |created| created.partitions),
            replication_factor: created.as_ref().map_or(-1, |created| created.replication_factor),
            configs: Some(created.map(configs).unwrap_or_default()),
        }
    });
    CreateTopicsResponse { throttle_time_ms: 0, topics: results.collect() }
}

/// A topic as a request asks for it.
pub(crate) fn new_topic(topic: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| (assignment.partition_index, assignment.broker_ids.clone()))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_ref().map(Str::to_string)))
            .collect(),
    }
}

fn configs(created: CreatedTopic) -> Vec<CreatableTopicConfigs> {
    let config = |entry: Entry| CreatableTopicConfigs {
        name: Str::from_static(entry.key.name),
        read_only: entry.read_only(),
        config_source: entry.source.number(),
        is_sensitive: false,
        value: entry.value.map(Str::from),
    };
    created.configs.into_iter().map(config).collect()
}
