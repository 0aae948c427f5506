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
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
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
            let code = check_topic_name(&name).map_or_else(
                |refusal| ErrorCode(refusal.code.number()),
                |()| ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            );
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
        partitions: partitions
            .iter()
            .map(|(index, partition)| describe_partition(image, *index, partition))
            .collect(),
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
        eligible_leader_replicas: Some(partition.elr.clone()),
        last_known_elr: Some(partition.last_known_elr.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_metadata::{BrokerRecord, MetadataRecord, PartitionRecord, TopicRecord};
    use highwater_types::{LeaderEpoch, Uuid};
    use highwater_wire::messages::describe_topic_partitions::TopicRequest;

    /// Topics with so many partitions each, on broker 1; broker 2 is a fenced replica.
    fn image(topics: &[(&str, i32)]) -> Image {
        let mut image = Image::new();
        for (id, fenced) in [(1, false), (2, true)] {
            let broker = BrokerRecord { id: BrokerId(id), fenced, ..BrokerRecord::default() };
            image.apply(&MetadataRecord::Broker(broker), 0).unwrap();
        }
        for (number, (name, partitions)) in topics.iter().enumerate() {
            let topic = TopicId(Uuid::from_random(1000 + number as u128));
            let record = TopicRecord { id: topic, name: (*name).to_owned() };
            image.apply(&MetadataRecord::Topic(record), 1).unwrap();
            for partition in (0..*partitions).map(PartitionIndex) {
                let record = PartitionRecord {
                    topic,
                    partition,
                    replicas: vec![BrokerId(1), BrokerId(2)],
                    isr: vec![BrokerId(1)],
                    leader: (name != &"dark").then_some(BrokerId(1)),
                    leader_epoch: LeaderEpoch(3),
                    ..PartitionRecord::default()
                };
                image.apply(&MetadataRecord::Partition(record), 1).unwrap();
            }
        }
        image
    }

    fn request(topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsRequest {
        DescribeTopicPartitionsRequest {
            topics: topics.iter().map(|name| TopicRequest { name: Str::from(*name) }).collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, partition)| Cursor {
                topic_name: Str::from(name),
                partition_index: PartitionIndex(partition),
            }),
        }
    }

    fn text(response: &DescribeTopicPartitionsResponse) -> String {
        let mut parts: Vec<String> = Vec::new();
        for topic in &response.topics {
            let partitions: Vec<_> =
                topic.partitions.iter().map(|it| it.partition_index.to_string()).collect();
            let name = topic.name.as_deref().unwrap_or("null");
            parts.push(match topic.error_code {
                ErrorCode::NONE => format!("{name}[{}]", partitions.join(" ")),
                code => format!("{name}!{}", code.0),
            });
        }
        if let Some(cursor) = &response.next_cursor {
            parts.push(format!("> {}:{}", cursor.topic_name, cursor.partition_index));
        }
        parts.join(" ")
    }

    fn check(topics: &[&str], limit: i32, cursor: Option<(&str, i32)>, expected: &str) {
        let image = image(&[("c", 1), ("a", 3), ("b", 2)]);
        assert_eq!(text(&page(&image, &request(topics, limit, cursor))), expected);
    }

    #[test]
    fn pages_end_at_their_limit_and_say_where_the_next_one_starts() {
        check(&[], 100, None, "a[0 1 2] b[0 1] c[0]");
        check(&[], 6, None, "a[0 1 2] b[0 1] c[0]");
        check(&[], 5, None, "a[0 1 2] b[0 1] > c:0");
        check(&[], 4, None, "a[0 1 2] b[0] > b:1");
        check(&[], 4, Some(("b", 1)), "b[1] c[0]");
        check(&[], 0, None, "a[0] > a:1");
        check(&[], -5, Some(("a", 2)), "a[2] > b:0");
        check(&["c", "a", "c"], 3, None, "a[0 1 2] > c:0");
        check(&["c", "a", "c"], 3, Some(("c", 0)), "c[0]");
    }

    #[test]
    fn what_is_not_there_is_told_or_passed_over() {
        check(&["x", "a b", "c"], 9, None, "a b!17 c[0] x!3");
        check(&["x", "y"], 1, None, "x!3 > y:0");
        check(&[], 9, Some(("aa", 7)), "b[0 1] c[0]");
        check(&[], 9, Some(("b", 7)), "b[] c[0]");
        check(&[], 9, Some(("z", 0)), "");
        check(&["a"], 9, Some(("a", -1)), "a!42");
    }

    #[test]
    fn a_partition_says_who_has_it() {
        let image = image(&[("a", 1), ("dark", 1)]);
        let response = page(&image, &request(&[], 9, None));
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.leader_id, partition.leader_epoch), (BrokerId(1), LeaderEpoch(3)));
        assert_eq!(partition.offline_replicas, [BrokerId(2)]);
        assert_eq!(response.topics[0].topic_authorized_operations, 3576);
        let dark = &response.topics[1].partitions[0];
        assert_eq!((dark.leader_id, dark.error_code), (BrokerId(-1), ErrorCode::LEADER_NOT_AVAILABLE));
    }

    #[test]
    fn pages_together_hold_everything_once() {
        let image = image(&[("c", 4), ("a", 3), ("b", 2), ("d", 1), ("e", 7)]);
        for limit in 1..20 {
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let response =
                    page(&image, &DescribeTopicPartitionsRequest { cursor, ..request(&[], limit, None) });
                for topic in &response.topics {
                    assert!(!topic.partitions.is_empty(), "a page without a partition: {}", text(&response));
                    let name = topic.name.clone().unwrap();
                    seen.extend(topic.partitions.iter().map(|it| (name.clone(), it.partition_index)));
                }
                cursor = response.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            let all: Vec<_> = image
                .topics()
                .flat_map(|topic| topic.logs().map(|log| (Str::from(topic.name()), log.partition)))
                .collect();
            assert_eq!(seen, all, "limit {limit}");
        }
    }
}
