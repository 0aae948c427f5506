//! OffsetForLeaderEpoch, versions 2 to 4: where an epoch ends, by which consumers find out that records were lost.

use crate::dispatch::Context;
use crate::errors;
use crate::partition::Partition;
use highwater_env::Env;
use highwater_types::{LeaderEpoch, Offset};
use highwater_wire::ErrorCode;
use highwater_wire::messages::offset_for_leader_epoch::EpochEndOffset;
use highwater_wire::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let routing = context.shared.directory.load();
    let topics = request
        .topics
        .into_iter()
        .map(|wanted| {
            let topic = routing.topic(&wanted.topic);
            let partitions = wanted
                .partitions
                .iter()
                .map(|part| {
                    let result = match topic.and_then(|topic| topic.partition(part.partition)) {
                        None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                        Some(None) => {
                            Err(topic.map_or(ErrorCode::NONE, |topic| topic.absence(part.partition)))
                        }
                        Some(Some(partition)) => find(partition, part),
                    };
                    let error_code = result.err().unwrap_or(ErrorCode::NONE);
                    let (leader_epoch, end_offset) = result.unwrap_or((LeaderEpoch::NONE, Offset(-1)));
                    EpochEndOffset { error_code, partition: part.partition, leader_epoch, end_offset }
                })
                .collect();
            OffsetForLeaderTopicResult { topic: wanted.topic, partitions }
        })
        .collect();
    OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() }
}

fn find<E: Env>(
    partition: &Partition<E>,
    wanted: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    match errors::of_epoch(partition.leader_epoch(), wanted.current_leader_epoch) {
        Some(code) => Err(code),
        None if partition.leading().is_none() => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        None => Ok(partition.epoch_end(wanted.leader_epoch)),
    }
}
