//! Fetch requests of a follower, and what their answers say.

use crate::partition::Followed;
use crate::state::Shared;
use highwater_env::Env;
use highwater_replication::{FetchAnswer, FetchPosition, Outcome};
use highwater_types::{BrokerEpoch, LeaderEpoch, LogId, Offset};
use highwater_wire::ErrorCode;
use highwater_wire::messages::{FetchPartition, FetchRequest, FetchTopic, PartitionData, ReplicaState};

/// The version that followers speak: all nodes of a cluster know it.
pub(super) const VERSION: i16 = 18;

/// A request without partitions.
pub(super) fn empty<E: Env>(shared: &Shared<E>) -> FetchRequest {
    let node = shared.config.node_id;
    let image = shared.directory.load().image.clone();
    let epoch = image.broker(node).map_or(BrokerEpoch::NONE, |broker| broker.epoch);
    FetchRequest {
        replica_state: ReplicaState { replica_id: node, replica_epoch: epoch.0 },
        ..FetchRequest::default()
    }
}

/// Adds a partition; those of one topic are to come one after another.
pub(super) fn add(request: &mut FetchRequest, log: LogId, followed: &Followed, max_bytes: i32) {
    let partition = FetchPartition {
        partition: log.partition,
        current_leader_epoch: followed.position.leader_epoch,
        fetch_offset: followed.position.offset,
        last_fetched_epoch: followed.position.last_epoch,
        log_start_offset: followed.log_start,
        partition_max_bytes: max_bytes,
        high_watermark: followed.high_watermark,
        synced_end: followed.synced,
        ..FetchPartition::default()
    };
    match request.topics.last_mut() {
        Some(topic) if topic.topic_id == log.topic => topic.partitions.push(partition),
        _ => request.topics.push(FetchTopic {
            topic_id: log.topic,
            partitions: vec![partition],
            ..FetchTopic::default()
        }),
    }
}

/// What an answer says of a partition; the code of an error that the follower waits out.
pub(super) fn read(position: FetchPosition, data: &PartitionData) -> Result<FetchAnswer, ErrorCode> {
    let (high_watermark, log_start) = (data.high_watermark, data.log_start_offset);
    let outcome = match data.error_code {
        ErrorCode::NONE if data.diverging_epoch.end_offset >= Offset::ZERO => Outcome::Diverging {
            epoch: data.diverging_epoch.epoch.max(LeaderEpoch::NONE),
            end: data.diverging_epoch.end_offset,
            high_watermark,
        },
        ErrorCode::NONE => Outcome::Records { high_watermark, log_start },
        ErrorCode::OFFSET_OUT_OF_RANGE if log_start >= Offset::ZERO => Outcome::OutOfRange { log_start },
        code => return Err(code),
    };
    Ok(FetchAnswer { position, outcome })
}
