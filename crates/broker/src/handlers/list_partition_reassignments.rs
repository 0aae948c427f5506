//! ListPartitionReassignments (key 46), version 0.
//!
//! - Answered from what this broker knows of the metadata. Topics and partitions that do not exist, or are not being
//!   moved, are left out.

use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::controller::list_reassignments;
use highwater_types::LogId;
use highwater_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let image = Arc::clone(&context.shared.directory.load().image);
    let named = request.topics.map(|topics| {
        let logs = topics.iter().filter_map(|topic| {
            let id = image.topic(&topic.name)?.id();
            Some(topic.partition_indexes.iter().map(move |&partition| LogId { topic: id, partition }))
        });
        logs.flatten().collect::<Vec<_>>()
    });
    let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
    for ongoing in list_reassignments(&image, named.as_deref()) {
        let Some(topic) = image.topic_by_id(ongoing.log.topic) else { continue };
        let partition = OngoingPartitionReassignment {
            partition_index: ongoing.log.partition,
            replicas: ongoing.replicas,
            adding_replicas: ongoing.adding,
            removing_replicas: ongoing.removing,
        };
        match topics.last_mut().filter(|last| *last.name == *topic.name()) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(OngoingTopicReassignment {
                name: Str::from(topic.name()),
                partitions: vec![partition],
            }),
        }
    }
    ListPartitionReassignmentsResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::NONE,
        error_message: None,
        topics,
    }
}
