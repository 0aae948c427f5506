//! ElectLeaders (key 43), versions 0 to 2.
//!
//! - Election type 0 gives leadership back to the preferred replicas, 1 elects any live replica where nobody else can
//!   lead, at the price of committed records. Version 0 has type 0 alone.
//! - Without a list, all partitions that need such an election get one, and only those are answered for. A partition
//!   that has the leader already is ELECTION_NOT_NEEDED.
//! - `timeout_ms` is not looked at.

use super::admin::{Failure, answers, code_and_message};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::controller::{Decision, ElectionType, elect_leaders, elections_needed};
use highwater_types::{LogId, PartitionIndex};
use highwater_wire::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, ElectionPartitionResult, ElectionResult,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let Some(election) = ElectionType::from_number(request.election_type) else {
        return ElectLeadersResponse { error_code: ErrorCode::INVALID_REQUEST, ..Default::default() };
    };
    let routing = context.shared.directory.load();
    let named = request.topic_partitions.map(|topics| {
        let each = topics.into_iter().flat_map(|topic| {
            let id = routing.image.topic(&topic.topic).map(|found| found.id());
            topic.partitions.into_iter().map(move |partition| (topic.topic.clone(), partition, id))
        });
        each.collect::<Vec<_>>()
    });
    let results = match named {
        Some(named) => elect_named(&context, election, named).await,
        None => elect_all(&context, election).await,
    };
    ElectLeadersResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::NONE,
        replica_election_results: results,
    }
}

type Named = (Str, PartitionIndex, Option<highwater_types::TopicId>);

async fn elect_named<E: Env>(
    context: &Context<E>,
    election: ElectionType,
    named: Vec<Named>,
) -> Vec<ElectionResult> {
    let log = |(_, partition, topic): &Named| Some(LogId { topic: (*topic)?, partition: *partition });
    let logs: Vec<LogId> = named.iter().filter_map(log).collect();
    let outcome = context.shared.cluster.change(|view| elect_leaders(view, election, &logs)).await;
    let mut answers = answers(outcome, logs.len()).into_iter();
    let unknown = || Failure::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "There is no such topic.");
    let mut results = Vec::new();
    for (topic, partition, id) in named {
        let answer = match id {
            Some(_) => answers.next().expect("as many answers as partitions"),
            None => Err(unknown()),
        };
        add(&mut results, topic, partition, &answer);
    }
    results
}

async fn elect_all<E: Env>(context: &Context<E>, election: ElectionType) -> Vec<ElectionResult> {
    let outcome = context.shared.cluster.change(|view| {
        let logs = elections_needed(view, election);
        let Decision { records, answers } = elect_leaders(view, election, &logs);
        let name = |log: LogId| view.image.topic_by_id(log.topic).map(|topic| Str::from(topic.name()));
        let answers =
            logs.into_iter().zip(answers).map(|(log, answer)| Ok((name(log), log.partition, answer)));
        Decision { records, answers: answers.collect() }
    });
    let mut results = Vec::new();
    for answer in answers(outcome.await, 0).into_iter().flatten() {
        let (name, partition, answer) = answer;
        add(&mut results, name.unwrap_or_default(), partition, &answer.map_err(Failure::from));
    }
    results
}

fn add(
    results: &mut Vec<ElectionResult>,
    topic: Str,
    partition: PartitionIndex,
    answer: &Result<(), Failure>,
) {
    let (error_code, error_message) = code_and_message(answer);
    let result = ElectionPartitionResult { partition_id: partition, error_code, error_message };
    match results.last_mut().filter(|last| last.topic == topic) {
        Some(last) => last.partition_result.push(result),
        None => results.push(ElectionResult { topic, partition_result: vec![result] }),
    }
}
