//! DescribeTopicPartitions (key 75), version 0 (KIP-966).
//!
//! - Topics in the order of their names, page by page: at most `response_partition_limit` partitions, and never more
//!   than 2000. The cursor of an answer is where the next page starts. One that names a topic that is gone meanwhile
//!   goes on with the topic after it.
//! - No names ask for all topics. Names are answered once each, those that do not exist with
//!   UNKNOWN_TOPIC_OR_PARTITION.
//! - There are no eligible leaders outside of the in-sync replicas: both lists are empty.

use super::admin::TOPIC_OPERATIONS;
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::{Image, Partition, Topic, check_topic_name, is_internal_topic};
use highwater_types::{BrokerId, PartitionIndex, TopicId};
use highwater_wire::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most partitions of one answer.
const MOST_PARTITIONS: i32 = 2_000;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    page(&context.shared.directory.load().image, &request)
}

fn page(image: &Image, request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let mut response =
        DescribeTopicPartitionsResponse { throttle_time_ms: 0, topics: Vec::new(), next_cursor: None };
    if request.cursor.as_ref().is_some_and(|cursor| cursor.partition_index.0 < 0) {
        let failed = |topic: &Str| failed_topic(topic.clone(), ErrorCode::INVALID_REQUEST);
        response.topics = request.topics.iter().map(|topic| failed(&topic.name)).collect();
        return response;
    }
    let limit = request.response_partition_limit.clamp(1, MOST_PARTITIONS);
    let mut left = usize::try_from(limit).expect("it is positive");
    let (start, first_partition) = match &request.cursor {
        Some(cursor) => (&*cursor.topic_name, usize::try_from(cursor.partition_index.0).unwrap_or(0)),
        None => ("", 0),
    };
    for (name, topic) in wanted(image, request, start) {
        if left == 0 {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: PartitionIndex(0) });
            break;
        }
        let Some(topic) = topic else {
            let code = check_topic_name(&name).map_or_else(|refusal| ErrorCode(refusal.code.number()), |()| {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            });
            response.topics.push(failed_topic(name, code));
            // What is not there counts as well, so that a page has a bound.
            left -= 1;
            continue;
        };
        let from = if &*name == start { first_partition } else { 0 };
        let partitions: Vec<_> = topic.partitions().iter().enumerate().skip(from).take(left).collect();
        let next = partitions.last().map_or(from, |(index, _)| index + 1);
        left -= partitions.len().max(1).min(left);
        response.topics.push(describe(image, name.clone(), topic, &partitions));
        if next < topic.partitions().len() {
            let partition_index = PartitionIndex(i32::try_from(next).unwrap_or(i32::MAX));
            response.next_cursor = Some(Cursor { topic_name: name, partition_index });
            break;
        }
    }
    response
}

type Named<'a> = (Str, Option<&'a Arc<Topic>>);

/// The topics that are asked for, from a name on, in order.
fn wanted<'a>(
    image: &'a Image,
    request: &DescribeTopicPartitionsRequest,
    start: &str,
) -> Box<dyn Iterator<Item = Named<'a>> + 'a> {
    if request.topics.is_empty() {
        return Box::new(image.topics_from(start).map(|topic| (Str::from(topic.name()), Some(topic))));
    }
    let names: BTreeSet<Str> =
        request.topics.iter().map(|topic| topic.name.clone()).filter(|name| &**name >= start).collect();
    Box::new(names.into_iter().map(|name| {
        let topic = image.topic(&name);
        (name, topic)
    }))
}

fn describe(
    image: &Image,
    name: Str,
    topic: &Topic,
    partitions: &[(usize, &Partition)],
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::NONE,
        is_internal: is_internal_topic(&name),
        name: Some(name),
        topic_id: topic.id(),
        partitions: partitions.iter().map(|(index, partition)| describe_partition(image, *index, partition)).collect(),
        topic_authorized_operations: TOPIC_OPERATIONS,
    }
}

fn describe_partition(
    image: &Image,
    index: usize,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let is_offline = |id: &BrokerId| image.broker(*id).is_none_or(|broker| broker.fenced);
    DescribeTopicPartitionsResponsePartition {
        error_code: match partition.leader {
            Some(_) => ErrorCode::NONE,
            None => ErrorCode::LEADER_NOT_AVAILABLE,
        },
        partition_index: PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX)),
        leader_id: partition.leader.unwrap_or(BrokerId(-1)),
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: partition.replicas.iter().copied().filter(|id| is_offline(id)).collect(),
    }
}

fn failed_topic(name: Str, error_code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code,
        is_internal: is_internal_topic(&name),
        name: Some(name),
        topic_id: TopicId::default(),
        partitions: Vec::new(),
        topic_authorized_operations: i32::MIN,
    }
}
