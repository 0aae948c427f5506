//! ListOffsets, versions 1 to 11: the first and last offset, and offsets by time.
//!
//! There is no remote storage: its places are answered as Kafka does without it. Only the leader answers, and of the
//! end only once it knows what was committed before its epoch.

use crate::dispatch::Context;
use crate::errors;
use crate::partition::Partition;
use highwater_env::Env;
use highwater_types::{LeaderEpoch, Offset, Timestamp};
use highwater_wire::ErrorCode;
use highwater_wire::messages::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic, ListOffsetsTopicResponse,
};
use std::collections::BTreeSet;
use std::sync::Arc;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const READ_COMMITTED: i8 = 1;

/// Where something is: timestamp, offset, epoch.
type Place = (Timestamp, Offset, LeaderEpoch);

/// What is answered where there is nothing.
const NOWHERE: Place = (Timestamp::NONE, Offset(-1), LeaderEpoch::NONE);

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(list_topic(&context, topic, request.isolation_level == READ_COMMITTED).await);
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

async fn list_topic<E: Env>(
    context: &Context<E>,
    wanted: ListOffsetsTopic,
    committed: bool,
) -> ListOffsetsTopicResponse {
    let routing = context.shared.directory.load();
    let topic = routing.topic(&wanted.name);
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> = wanted
        .partitions
        .iter()
        .map(|part| part.partition_index)
        .filter(|&index| !seen.insert(index))
        .collect();
    let mut partitions = Vec::with_capacity(wanted.partitions.len());
    for part in &wanted.partitions {
        let result = match topic.and_then(|topic| topic.partition(part.partition_index)) {
            _ if repeated.contains(&part.partition_index) => Err(ErrorCode::INVALID_REQUEST),
            None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Some(None) => Err(topic.map_or(ErrorCode::NONE, |topic| topic.absence(part.partition_index))),
            Some(Some(partition)) => find(partition, part, context.version(), committed).await,
        };
        let error_code = result.err().unwrap_or(ErrorCode::NONE);
        let (timestamp, offset, leader_epoch) = result.unwrap_or(NOWHERE);
        let partition_index = part.partition_index;
        partitions.push(ListOffsetsPartitionResponse {
            partition_index,
            error_code,
            timestamp,
            offset,
            leader_epoch,
        });
    }
    ListOffsetsTopicResponse { name: wanted.name, partitions }
}

async fn find<E: Env>(
    partition: &Partition<E>,
    wanted: &ListOffsetsPartition,
    version: i16,
    committed: bool,
) -> Result<Place, ErrorCode> {
    if let Some(code) = errors::of_epoch(partition.leader_epoch(), wanted.current_leader_epoch) {
        return Err(code);
    }
    if partition.leading().is_none() {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    let log = partition.log();
    let end = if committed { partition.last_stable_offset() } else { partition.high_watermark() };
    let known_from = |first: i16| if version >= first { Ok(()) } else { Err(ErrorCode::UNSUPPORTED_VERSION) };
    match wanted.timestamp.0 {
        LATEST => is_end_known(partition).map(|()| (Timestamp::NONE, end, partition.leader_epoch())),
        EARLIEST => Ok(earliest(partition)),
        EARLIEST_LOCAL => known_from(8).map(|()| earliest(partition)),
        LATEST_TIERED => known_from(9).map(|()| NOWHERE),
        EARLIEST_PENDING_UPLOAD => known_from(11).map(|()| NOWHERE),
        MAX_TIMESTAMP => {
            known_from(7)?;
            is_end_known(partition)?;
            place(log.max_timestamp(end).await)
        }
        timestamp if timestamp < 0 => Err(ErrorCode::UNSUPPORTED_VERSION),
        _ => {
            let found = log.offset_for_time(wanted.timestamp, end).await;
            if let Ok(None) = found {
                // Such a record may lie behind what is known to be committed, and be committed all the same.
                is_end_known(partition)?;
            }
            place(found)
        }
    }
}

/// Fails while the leader does not know what was committed before its epoch.
fn is_end_known<E: Env>(partition: &Partition<E>) -> Result<(), ErrorCode> {
    if partition.knows_high_watermark() { Ok(()) } else { Err(ErrorCode::OFFSET_NOT_AVAILABLE) }
}

fn earliest<E: Env>(partition: &Partition<E>) -> Place {
    let start = partition.log().start_offset();
    (Timestamp::NONE, start, partition.log().epoch_at(start).unwrap_or(partition.leader_epoch()))
}

fn place(
    found: Result<Option<highwater_log::TimestampOffset>, highwater_log::ReadError>,
) -> Result<Place, ErrorCode> {
    match found {
        Ok(Some(found)) => Ok((found.timestamp, found.offset, found.epoch)),
        Ok(None) => Ok(NOWHERE),
        Err(error) => Err(errors::of_read(&error, false)),
    }
}
