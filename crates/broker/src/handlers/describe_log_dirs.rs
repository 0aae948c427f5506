//! DescribeLogDirs (key 35), versions 1 to 5.
//!
//! - The node's one data directory with the sizes of the partitions in it; from version 4 on the size of its volume and
//!   what is free of it.
//! - No list of topics asks for all. What this node does not have is left out, as Kafka does it.
//! - The size counts what can be read. Nothing lags, and nothing moves between directories: there is one.

use crate::dispatch::Context;
use crate::partition::Partition;
use crate::topic::Topic;
use highwater_env::Env;
use highwater_types::PartitionIndex;
use highwater_wire::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let routing = context.shared.directory.load();
    let topics = match request.topics {
        None => routing.topics().map(|topic| whole_topic(topic)).collect(),
        Some(wanted) => wanted
            .iter()
            .filter_map(|wanted| Some(part_of_topic(routing.topic(&wanted.topic)?, &wanted.partitions)))
            .collect(),
    };
    let space = context.shared.store.space().await.ok();
    let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let result = DescribeLogDirsResult {
        error_code: ErrorCode::NONE,
        log_dir: Str::from(context.shared.config.data_dir.display().to_string()),
        topics,
        total_bytes: bytes(space.map(|space| space.total_bytes)),
        usable_bytes: bytes(space.map(|space| space.free_bytes)),
        is_cordoned: false,
    };
    DescribeLogDirsResponse { throttle_time_ms: 0, error_code: ErrorCode::NONE, results: vec![result] }
}

fn whole_topic<E: Env>(topic: &Topic<E>) -> DescribeLogDirsTopic {
    let partitions = topic.partitions.iter().flatten().map(|partition| describe(partition));
    DescribeLogDirsTopic { name: topic.name.clone(), partitions: partitions.collect() }
}

fn part_of_topic<E: Env>(topic: &Topic<E>, partitions: &[PartitionIndex]) -> DescribeLogDirsTopic {
    let partitions =
        partitions.iter().filter_map(|index| topic.partition(*index)?).map(|partition| describe(partition));
    DescribeLogDirsTopic { name: topic.name.clone(), partitions: partitions.collect() }
}

fn describe<E: Env>(partition: &Partition<E>) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index: partition.id().partition,
        partition_size: i64::try_from(partition.log().size_bytes()).unwrap_or(i64::MAX),
        offset_lag: 0,
        is_future_key: false,
    }
}
