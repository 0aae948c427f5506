//! OffsetFetch (key 9), versions 1 to 10: committed offsets.
//!
//! - A partition without an offset has -1 and no error, as has every partition of a group that is not known.
//! - Without topics, all that have offsets (from version 2 on).
//! - Versions 8 and up ask for several groups; 10 names topics by id.
//! - There are no transactions yet: every offset is stable.

use crate::directory::Routing;
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_groups::{CommittedOffset, Coordinator};
use highwater_types::{LeaderEpoch, Offset, PartitionIndex};
use highwater_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

const MANY_FROM: i16 = 8;
const TOPIC_IDS_FROM: i16 = 10;
/// From here on what is wrong with the group is told once.
const GROUP_ERROR_FROM: i16 = 2;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let routing = context.shared.directory.load();
    if context.version() >= MANY_FROM {
        let groups = request.groups.into_iter().map(|group| fetch(&context, &routing, group)).collect();
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let topics = request.topics.map(|topics| {
        let topic = |topic: highwater_wire::messages::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchRequestTopics::default()
        };
        topics.into_iter().map(topic).collect::<Vec<_>>()
    });
    let wanted = topics.clone().unwrap_or_default();
    let group =
        OffsetFetchRequestGroup { group_id: request.group_id, topics, ..OffsetFetchRequestGroup::default() };
    let mut found = fetch(&context, &routing, group);
    if found.error_code != ErrorCode::NONE && context.version() < GROUP_ERROR_FROM {
        found.topics = wanted.into_iter().map(|topic| refused(topic, found.error_code)).collect();
    }
    OffsetFetchResponse {
        error_code: found.error_code,
        topics: found.topics.into_iter().map(old_topic).collect(),
        ..OffsetFetchResponse::default()
    }
}

fn fetch<E: Env>(
    context: &Context<E>,
    routing: &Routing<E>,
    wanted: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let group_id = wanted.group_id;
    let by_id = context.version() >= TOPIC_IDS_FROM;
    let read = |coordinator: &Coordinator| match wanted.topics {
        Some(topics) => {
            topics.into_iter().map(|topic| some(routing, coordinator, &group_id, topic, by_id)).collect()
        }
        None => all(routing, coordinator, &group_id, by_id),
    };
    let (member, epoch) = (wanted.member_id, wanted.member_epoch);
    let read_by_member = |coordinator: &Coordinator| {
        coordinator.may_fetch(&group_id, member.as_ref(), epoch).map(|()| read(coordinator))
    };
    let shard = context.shared.groups.of(routing, &group_id);
    let found = shard.and_then(|shard| shard.read(read_by_member)).and_then(|found| found);
    match found {
        Ok(topics) => OffsetFetchResponseGroup { group_id, topics, ..OffsetFetchResponseGroup::default() },
        Err(error_code) => {
            OffsetFetchResponseGroup { group_id, error_code, ..OffsetFetchResponseGroup::default() }
        }
    }
}

/// The offsets of partitions that were asked for.
fn some<E: Env>(
    routing: &Routing<E>,
    coordinator: &Coordinator,
    group: &str,
    topic: OffsetFetchRequestTopics,
    by_id: bool,
) -> OffsetFetchResponseTopics {
    let name = match by_id {
        true => match routing.topic_by_id(topic.topic_id) {
            Some(known) => known.name.clone(),
            None => return refused(topic, ErrorCode::UNKNOWN_TOPIC_ID),
        },
        false => topic.name.clone(),
    };
    let partitions = topic
        .partition_indexes
        .iter()
        .map(|index| partition(*index, coordinator.offset(group, &name, *index)))
        .collect();
    OffsetFetchResponseTopics { name: topic.name, topic_id: topic.topic_id, partitions }
}

/// All offsets of a group.
fn all<E: Env>(
    routing: &Routing<E>,
    coordinator: &Coordinator,
    group: &str,
    by_id: bool,
) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (name, index, offset) in coordinator.offsets(group) {
        if topics.last().is_none_or(|last| last.name != *name) {
            let topic_id = routing.topic(name).map(|topic| topic.id).unwrap_or_default();
            topics.push(OffsetFetchResponseTopics { name: name.clone(), topic_id, partitions: Vec::new() });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(partition(index, Some(offset)));
        }
    }
    if by_id {
        // Topics that are gone have no id to be named by.
        topics.retain(|topic| !topic.topic_id.0.is_zero());
    }
    topics
}

fn partition(index: PartitionIndex, offset: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: offset.map_or(Offset(-1), |offset| offset.offset),
        committed_leader_epoch: offset.map_or(LeaderEpoch::NONE, |offset| offset.leader_epoch),
        metadata: Some(offset.map_or_else(Str::new, |offset| offset.metadata.clone())),
        error_code: ErrorCode::NONE,
    }
}

fn refused(topic: OffsetFetchRequestTopics, error_code: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = topic
        .partition_indexes
        .iter()
        .map(|index| OffsetFetchResponsePartitions { error_code, ..partition(*index, None) })
        .collect();
    OffsetFetchResponseTopics { name: topic.name, topic_id: topic.topic_id, partitions }
}

/// A topic in the form of the versions for one group.
fn old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    }
}
