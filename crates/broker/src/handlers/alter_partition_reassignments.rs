//! AlterPartitionReassignments (key 45), versions 0 and 1.
//!
//! - The answer comes when the reassignment has begun; ListPartitionReassignments tells when it is over.
//! - Null replicas give a reassignment up; NO_REASSIGNMENT_IN_PROGRESS if there is none.
//! - `timeout_ms` is not looked at.

use super::admin::{answers, code_and_message};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::controller::{Reassignment, alter_reassignments};
use highwater_wire::ErrorCode;
use highwater_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartitionResponse,
    ReassignableTopicResponse,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let wanted: Vec<Reassignment> = request
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| Reassignment {
                topic: topic.name.to_string(),
                partition: partition.partition_index,
                replicas: partition.replicas.clone(),
            })
        })
        .collect();
    let cluster = &context.shared.cluster;
    let outcome =
        cluster.change(|view| alter_reassignments(view, &wanted, allow_replication_factor_change)).await;
    let mut answers = answers(outcome, wanted.len()).into_iter();
    let responses = request.topics.into_iter().map(|topic| ReassignableTopicResponse {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| {
                let answer = answers.next().expect("as many answers as partitions");
                let (error_code, error_message) = code_and_message(&answer);
                ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_code,
                    error_message,
                }
            })
            .collect(),
    });
    AlterPartitionReassignmentsResponse {
        throttle_time_ms: 0,
        allow_replication_factor_change,
        error_code: ErrorCode::NONE,
        error_message: None,
        responses: responses.collect(),
    }
}
