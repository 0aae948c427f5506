//! DescribeQuorum (key 55), versions 0 to 2: the metadata quorum, as its leader knows it.
//!
//! - The only topic that has a quorum is `__cluster_metadata`, with one partition.
//! - When members were last heard of is not told: -1.

use crate::dispatch::Context;
use highwater_env::Env;
use highwater_quorum::Status;
use highwater_types::{BrokerId, LeaderEpoch, Offset, Uuid};
use highwater_wire::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, QuorumListener, QuorumNode, QuorumPartition,
    QuorumReplica, QuorumTopic,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

/// What Kafka calls the log of the metadata.
const TOPIC: &str = "__cluster_metadata";

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let cluster = &context.shared.cluster;
    let status = cluster.quorum().status();
    let topics = request.topics.into_iter().map(|topic| {
        let is_known = &*topic.topic_name == TOPIC;
        let partitions = topic.partitions.into_iter().map(|partition| match partition.partition_index.0 {
            0 if is_known => describe(&context, &status),
            _ => QuorumPartition {
                partition_index: partition.partition_index,
                error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                ..QuorumPartition::default()
            },
        });
        QuorumTopic { topic_name: topic.topic_name, partitions: partitions.collect() }
    });
    let members = status.voters.iter().flatten().chain(&status.learners);
    let nodes = members.filter_map(|&node_id| {
        let (host, port) = cluster.internal_address(node_id)?;
        let listener = QuorumListener { name: Str::from_static("CONTROLLER"), host: Str::from(host), port };
        Some(QuorumNode { node_id, listeners: vec![listener] })
    });
    DescribeQuorumResponse {
        error_code: ErrorCode::NONE,
        error_message: None,
        nodes: nodes.collect(),
        topics: topics.collect(),
    }
}

fn describe<E: Env>(context: &Context<E>, status: &Status) -> QuorumPartition {
    let shared = &context.shared;
    let end = |index: Option<u64>| {
        Offset(index.map_or(0, |index| i64::try_from(index).unwrap_or(i64::MAX - 1) + 1))
    };
    let replica = |id: &BrokerId| {
        let own = *id == shared.config.node_id;
        let known = if own { status.last_index } else { status.matched.get(id).copied() };
        QuorumReplica {
            replica_id: *id,
            replica_directory_id: shared.cluster.quorum().peer(*id).map_or(Uuid::ZERO, |peer| peer.disk.0),
            log_end_offset: known.map_or(Offset(-1), |index| end(Some(index))),
            last_fetch_timestamp: -1,
            last_caught_up_timestamp: -1,
        }
    };
    // While the voters change there are two sets, which may overlap.
    let mut voters: Vec<BrokerId> = status.voters.iter().flatten().copied().collect();
    voters.sort_unstable();
    voters.dedup();
    QuorumPartition {
        leader_id: status.leader.unwrap_or(BrokerId(-1)),
        leader_epoch: LeaderEpoch(i32::try_from(status.term).unwrap_or(i32::MAX)),
        high_watermark: end(status.committed),
        current_voters: voters.iter().map(replica).collect(),
        observers: status.learners.iter().map(replica).collect(),
        ..QuorumPartition::default()
    }
}
