//! DeleteTopics (key 20), versions 1 to 6.
//!
//! - By name; from version 6 on by name or by id, and not both for one topic.
//! - Every topic succeeds or fails for itself; a topic that is named twice is not deleted.
//! - The answer comes when the deletion is durable and requests no longer see the topic. Its files go afterwards.
//! - With `delete.topic.enable` false: TOPIC_DELETION_DISABLED, or INVALID_REQUEST below version 3, which has no such
//!   code.

use super::admin::{Failure, answers, code_and_message};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::Topic;
use highwater_metadata::controller::{TopicRef, delete_topics};
use highwater_wire::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name = request
        .topic_names
        .into_iter()
        .map(|name| DeleteTopicState { name: Some(name), topic_id: Default::default() });
    let wanted: Vec<DeleteTopicState> = by_name.chain(request.topics).collect();
    let mut refs = Vec::new();
    let parts: Vec<Result<(), Failure>> =
        wanted.iter().map(|topic| topic_ref(topic).map(|topic| refs.push(topic))).collect();
    let outcome = context.shared.cluster.change(|view| delete_topics(view, &refs)).await;
    let mut answers = answers(outcome, refs.len()).into_iter();
    let responses = wanted.into_iter().zip(parts).map(|(topic, part)| {
        let answer = part.and_then(|()| answers.next().expect("as many answers as topics"));
        result(topic, answer, context.version())
    });
    DeleteTopicsResponse { throttle_time_ms: 0, responses: responses.collect() }
}

fn topic_ref(topic: &DeleteTopicState) -> Result<TopicRef, Failure> {
    match (&topic.name, topic.topic_id.0.is_zero()) {
        (Some(name), true) => Ok(TopicRef::Name(name.to_string())),
        (None, false) => Ok(TopicRef::Id(topic.topic_id)),
        (Some(_), false) => Err(Failure::invalid_request("A topic was named both by its name and by an id.")),
        (None, true) => Err(Failure::invalid_request("Neither a topic's name nor its id was given.")),
    }
}

fn result(
    topic: DeleteTopicState,
    answer: Result<Arc<Topic>, Failure>,
    version: i16,
) -> DeletableTopicResult {
    let (mut error_code, error_message) = code_and_message(&answer);
    if error_code == ErrorCode::TOPIC_DELETION_DISABLED && version < 3 {
        error_code = ErrorCode::INVALID_REQUEST;
    }
    let deleted = answer.ok();
    DeletableTopicResult {
        name: topic.name.or_else(|| deleted.as_ref().map(|deleted| Str::from(deleted.name()))),
        topic_id: deleted.map_or(topic.topic_id, |deleted| deleted.id()),
        error_code,
        error_message,
    }
}
