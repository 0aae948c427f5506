//! OffsetDelete (key 47), version 0: forgets a group's offsets of topics that none of its members reads.

use crate::dispatch::Context;
use highwater_env::Env;
use highwater_groups::Answer;
use highwater_wire::ErrorCode;
use highwater_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let shared = &context.shared;
    let mut topics = Vec::with_capacity(request.topics.len());
    let (mut wanted, mut places) = (Vec::new(), Vec::new());
    {
        let routing = shared.directory.load();
        for topic in &request.topics {
            let known = routing.topic(&topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for part in &topic.partitions {
                let partition_index = part.partition_index;
                let is_there = known.is_some_and(|topic| topic.partition(partition_index).is_some());
                let error_code = match is_there {
                    true => ErrorCode::NONE,
                    false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                };
                if is_there {
                    places.push((topics.len(), partitions.len()));
                    wanted.push((topic.name.clone(), partition_index));
                }
                partitions.push(OffsetDeleteResponsePartition { partition_index, error_code });
            }
            topics.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions });
        }
    }
    let answer = shared
        .groups
        .ask(shared, &request.group_id, |coordinator, token, _| {
            coordinator.delete_offsets(token, &request.group_id, wanted);
        })
        .await;
    match answer {
        Ok(Answer::DeleteOffsets(Ok(codes))) => {
            for ((topic, partition), code) in places.into_iter().zip(codes) {
                topics[topic].partitions[partition].error_code = code;
            }
            OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() }
        }
        Ok(Answer::DeleteOffsets(Err(error_code))) | Err(error_code) => {
            OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() }
        }
        Ok(_) => OffsetDeleteResponse {
            error_code: ErrorCode::UNKNOWN_SERVER_ERROR,
            ..OffsetDeleteResponse::default()
        },
    }
}
