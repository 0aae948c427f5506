//! CreatePartitions (key 37), versions 0 to 3.
//!
//! - `count` is the number of partitions that the topic shall have in all; not more than now is INVALID_PARTITIONS.
//! - Every topic succeeds or fails for itself; the answer comes when the partitions are durable and can be produced to.
//! - `validate_only` checks everything and changes nothing. `timeout_ms` is not looked at.

use super::admin::{answers, code_and_message};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::controller::{NewPartitions, create_partitions};
use highwater_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let wanted: Vec<NewPartitions> = request
        .topics
        .iter()
        .map(|topic| NewPartitions {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic.assignments.as_ref().map(|assignments| {
                assignments.iter().map(|assignment| assignment.broker_ids.clone()).collect()
            }),
        })
        .collect();
    let outcome =
        context.shared.cluster.change(|view| create_partitions(view, &wanted, request.validate_only)).await;
    let results = request.topics.into_iter().zip(answers(outcome, wanted.len())).map(|(topic, answer)| {
        let (error_code, error_message) = code_and_message(&answer);
        CreatePartitionsTopicResult { name: topic.name, error_code, error_message }
    });
    CreatePartitionsResponse { throttle_time_ms: 0, results: results.collect() }
}
