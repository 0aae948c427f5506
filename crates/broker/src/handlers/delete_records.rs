//! DeleteRecords (key 21), versions 0 to 2.
//!
//! - Moves the start of each partition to the offset given; -1 is the high watermark. The new start is durable before
//!   the answer, and never falls: an offset before the start leaves it where it is.
//! - Beyond the high watermark: OFFSET_OUT_OF_RANGE. A topic whose cleanup.policy does not delete: POLICY_VIOLATION. A
//!   topic of the brokers' own: INVALID_TOPIC_EXCEPTION.
//! - Only the leader takes it; followers learn the new start with their next fetch, which is not waited for.
//! - `timeout_ms` is not looked at.

use crate::directory::Routing;
use crate::dispatch::Context;
use crate::errors;
use crate::partition::Partition;
use highwater_env::Env;
use highwater_metadata::is_internal_topic;
use highwater_types::{Offset, PartitionIndex};
use highwater_wire::ErrorCode;
use highwater_wire::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use std::sync::Arc;

/// Asks for everything up to the high watermark.
const HIGH_WATERMARK: Offset = Offset(-1);

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            let routing = context.shared.directory.load();
            let deleted = match find(&routing, &topic.name, index) {
                Ok(partition) => delete(&partition, wanted.offset).await,
                Err(code) => Err(code),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: *deleted.as_ref().unwrap_or(&Offset(-1)),
                error_code: deleted.err().unwrap_or(ErrorCode::NONE),
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    DeleteRecordsResponse { throttle_time_ms: 0, topics }
}

fn find<E: Env>(
    routing: &Routing<E>,
    topic: &str,
    index: PartitionIndex,
) -> Result<Arc<Partition<E>>, ErrorCode> {
    if is_internal_topic(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let topic = routing.topic(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    match topic.partition(index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)? {
        Some(partition) if partition.leading().is_none() => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Some(partition) => Ok(Arc::clone(partition)),
        None => Err(topic.absence(index)),
    }
}

async fn delete<E: Env>(partition: &Partition<E>, offset: Offset) -> Result<Offset, ErrorCode> {
    if !partition.log().config().cleanup.delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let high_watermark = partition.high_watermark();
    let before = if offset == HIGH_WATERMARK { high_watermark } else { offset };
    if before < Offset::ZERO || before > high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    partition.log().delete_records(before).await.map_err(|error| errors::of_log(&error))
}
