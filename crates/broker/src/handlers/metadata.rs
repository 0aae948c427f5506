//! Metadata, versions 0 to 13: the brokers, the topics and who leads their partitions.
//!
//! A topic that is missing is created where the request and `auto.create.topics.enable` allow it. No authorizer is
//! built: what a client may do is left out, as Kafka does without one.

use crate::directory::Routing;
use crate::dispatch::Context;
use crate::response::Answer;
use bytes::Bytes;
use highwater_env::Env;
use highwater_metadata::{check_topic_name, is_internal_topic};
use highwater_types::{BrokerId, PartitionIndex, TopicId};
use highwater_wire::messages::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_wire::{ErrorCode, Message, Str};
use std::collections::BTreeSet;
use std::sync::Arc;

/// From here on null asks for all topics; before, an empty list does.
const NULL_FOR_ALL_FROM: i16 = 1;
const TOPIC_IDS_FROM: i16 = 12;
/// The most topics that one request may have created.
const MAX_CREATED: usize = 100;

pub(crate) fn begin<E: Env>(context: Context<E>, body: Bytes) -> Answer<E> {
    let request = match MetadataRequest::decode_body(body, context.version()) {
        Ok(request) => request,
        Err(error) => return Answer::close(error.to_string()),
    };
    let routing = context.shared.directory.load();
    let missing = missing_topics(&routing, &request);
    if missing.is_empty() {
        return Answer::Ready(context.respond(&describe(&context, &routing, &request)));
    }
    let work = Box::pin(async move {
        context.shared.cluster.create_missing_topics(missing).await;
        // Those that could not be created are told as missing, with what is wrong with their names.
        let routing = context.shared.directory.load();
        context.respond(&describe(&context, &routing, &request))
    });
    Answer::Pending { work, finish: true }
}

/// The names of topics that the request would have created.
fn missing_topics<E: Env>(routing: &Routing<E>, request: &MetadataRequest) -> Vec<String> {
    if !request.allow_auto_topic_creation || !routing.settings.auto_create_topics_enable {
        return Vec::new();
    }
    let names: BTreeSet<&str> = request
        .topics
        .iter()
        .flatten()
        .filter(|topic| topic.topic_id == TopicId::default())
        .filter_map(|topic| topic.name.as_deref())
        .filter(|name| {
            routing.topic(name).is_none() && check_topic_name(name).is_ok() && !is_internal_topic(name)
        })
        .take(MAX_CREATED)
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

fn describe<E: Env>(
    context: &Context<E>,
    routing: &Routing<E>,
    request: &MetadataRequest,
) -> MetadataResponse {
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version() < NULL_FOR_ALL_FROM,
    };
    let topics = if all {
        routing.image.topics().map(|topic| found(routing, topic)).collect()
    } else {
        request.topics.iter().flatten().map(|wanted| one(context, routing, wanted)).collect()
    };
    MetadataResponse {
        brokers: brokers(context, routing),
        cluster_id: routing.image.cluster_id().map(|id| Str::from(id.to_string())),
        controller_id: context.shared.controller_id(&routing.image),
        topics,
        ..MetadataResponse::default()
    }
}

fn brokers<E: Env>(context: &Context<E>, routing: &Routing<E>) -> Vec<MetadataResponseBroker> {
    let listener = &context.shared.config.listeners[context.link.listener].name;
    routing
        .image
        .brokers()
        .filter(|broker| !broker.fenced)
        .filter_map(|broker| {
            // Clients are told the address of the kind of listener that they came to.
            let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == *listener)?;
            Some(MetadataResponseBroker {
                node_id: broker.id,
                host: Str::from(endpoint.host.as_str()),
                port: i32::from(endpoint.port),
                rack: broker.rack.as_deref().map(Str::from),
            })
        })
        .collect()
}

fn one<E: Env>(
    context: &Context<E>,
    routing: &Routing<E>,
    wanted: &MetadataRequestTopic,
) -> MetadataResponseTopic {
    if wanted.topic_id != TopicId::default() {
        if context.version() < TOPIC_IDS_FROM {
            // There is no null for a name before that version.
            let name = wanted.name.clone().unwrap_or_default();
            return missing(ErrorCode::INVALID_REQUEST, Some(name), wanted.topic_id);
        }
        return match routing.image.topic_by_id(wanted.topic_id) {
            Some(topic) => found(routing, topic),
            None => missing(ErrorCode::UNKNOWN_TOPIC_ID, None, wanted.topic_id),
        };
    }
    let Some(name) = &wanted.name else {
        return missing(ErrorCode::INVALID_TOPIC_EXCEPTION, Some(Str::new()), wanted.topic_id);
    };
    match routing.image.topic(name) {
        Some(topic) => found(routing, topic),
        None => {
            let code = match check_topic_name(name) {
                Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            };
            missing(code, Some(name.clone()), TopicId::default())
        }
    }
}

fn missing(error_code: ErrorCode, name: Option<Str>, topic_id: TopicId) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code, name, topic_id, ..MetadataResponseTopic::default() }
}

fn found<E: Env>(routing: &Routing<E>, topic: &Arc<highwater_metadata::Topic>) -> MetadataResponseTopic {
    let known = routing.topic_by_id(topic.id());
    let partitions = (0..)
        .zip(topic.partitions())
        .map(|(index, partition)| {
            let is_live = |id: &BrokerId| routing.image.broker(*id).is_some_and(|broker| !broker.fenced);
            let leader = partition.leader.filter(is_live);
            MetadataResponsePartition {
                error_code: if leader.is_some() { ErrorCode::NONE } else { ErrorCode::LEADER_NOT_AVAILABLE },
                partition_index: PartitionIndex(index),
                leader_id: leader.unwrap_or(BrokerId(-1)),
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.replicas.clone(),
                isr_nodes: partition.isr.clone(),
                offline_replicas: partition.replicas.iter().copied().filter(|id| !is_live(id)).collect(),
            }
        })
        .collect();
    MetadataResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(known.map_or_else(|| Str::from(topic.name()), |known| known.name.clone())),
        topic_id: topic.id(),
        is_internal: is_internal_topic(topic.name()),
        partitions,
        ..MetadataResponseTopic::default()
    }
}
