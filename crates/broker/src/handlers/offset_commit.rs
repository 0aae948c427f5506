//! OffsetCommit (key 8), versions 2 to 10. Answered when the offsets are committed like any record with acks=all.
//!
//! - Each partition succeeds or fails for itself; what is wrong with the member fails all.
//! - Version 10 names topics by id.
//! - Versions 2 to 4 say for how long to keep the offsets; -1 is the broker's default.
//! - After `offsets.commit.timeout.ms` the answer is COORDINATOR_NOT_AVAILABLE, and the commit may yet succeed.

use crate::directory::Routing;
use crate::dispatch::Context;
use highwater_env::{Env, timeout};
use highwater_groups::{Answer, Commit, NewOffset};
use highwater_types::PartitionIndex;
use highwater_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;
use std::time::Duration;

const TOPIC_IDS_FROM: i16 = 10;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let shared = &context.shared;
    let mut offsets = Vec::new();
    let mut response = Vec::with_capacity(request.topics.len());
    // Where in the response the outcome of each offset belongs.
    let mut places = Vec::new();
    {
        let routing = shared.directory.load();
        for topic in &request.topics {
            let known = find(&context, &routing, topic);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for part in &topic.partitions {
                let error_code = match &known {
                    Ok((name, count)) if is_within(part.partition_index, *count) => {
                        places.push((response.len(), partitions.len()));
                        offsets.push(new_offset(name, part));
                        ErrorCode::NONE
                    }
                    Ok(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    Err(code) => *code,
                };
                let partition_index = part.partition_index;
                partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
            }
            let (name, topic_id) = (topic.name.clone(), topic.topic_id);
            response.push(OffsetCommitResponseTopic { name, topic_id, partitions });
        }
    }
    let retention = u64::try_from(request.retention_time_ms).ok().map(Duration::from_millis);
    let commit = Commit {
        generation: request.generation_id_or_member_epoch,
        member: request.member_id,
        instance: request.group_instance_id,
        retention,
        offsets,
    };
    let patience = Duration::from_millis(shared.settings.offsets_commit_timeout_ms.unsigned_abs().into());
    let asked = shared.groups.ask(shared, &request.group_id, |coordinator, token, now| {
        coordinator.commit(token, &request.group_id, commit, now);
    });
    let outcome = match timeout(shared.env.clock(), patience, asked).await {
        Ok(Ok(Answer::Commit(outcome))) => outcome,
        Ok(Ok(_)) => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
        Ok(Err(code)) => Err(code),
        Err(_) => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
    };
    match outcome {
        Ok(codes) => {
            for ((topic, partition), code) in places.into_iter().zip(codes) {
                response[topic].partitions[partition].error_code = code;
            }
        }
        Err(code) => {
            let all = response.iter_mut().flat_map(|topic| &mut topic.partitions);
            all.for_each(|partition| partition.error_code = code);
        }
    }
    OffsetCommitResponse { topics: response, ..OffsetCommitResponse::default() }
}

/// A topic's name and how many partitions it has.
fn find<E: Env>(
    context: &Context<E>,
    routing: &Routing<E>,
    wanted: &OffsetCommitRequestTopic,
) -> Result<(Str, usize), ErrorCode> {
    let topic = match context.version() >= TOPIC_IDS_FROM {
        true => routing.topic_by_id(wanted.topic_id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?,
        false => routing.topic(&wanted.name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?,
    };
    Ok((topic.name.clone(), topic.metadata.partitions().len()))
}

fn is_within(index: PartitionIndex, count: usize) -> bool {
    usize::try_from(index.0).is_ok_and(|index| index < count)
}

fn new_offset(topic: &Str, part: &OffsetCommitRequestPartition) -> NewOffset {
    NewOffset {
        topic: topic.clone(),
        partition: part.partition_index,
        offset: part.committed_offset,
        leader_epoch: part.committed_leader_epoch,
        metadata: part.committed_metadata.clone().unwrap_or_default(),
    }
}
