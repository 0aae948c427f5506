//! What the handlers of administrative requests have in common.

use crate::cluster::CommitError;
use crate::errors;
use highwater_metadata::Refusal;
use highwater_metadata::controller::Resource;
use highwater_types::BrokerId;
use highwater_wire::{ErrorCode, Str};

/// What a client may do with a topic: everything that Kafka knows for topics, since there are no access rules.
pub(crate) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// What a client may do with the cluster.
pub(crate) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// A topic, in requests about configurations.
pub(crate) const TOPIC_RESOURCE: i8 = 2;

/// A broker, in requests about configurations.
pub(crate) const BROKER_RESOURCE: i8 = 4;

/// Why a part of a request was not carried out.
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: Str,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Str::from(message.into()) }
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_REQUEST, message)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { code: errors::of_refusal(&refusal), message: Str::from(refusal.message) }
    }
}

impl From<&CommitError> for Failure {
    fn from(error: &CommitError) -> Self {
        Self::new(errors::of_commit(error), error.to_string())
    }
}

/// The answers to the parts of a change; the same to all if it failed as a whole.
pub(crate) fn answers<T>(
    outcome: Result<Vec<Result<T, Refusal>>, CommitError>,
    parts: usize,
) -> Vec<Result<T, Failure>> {
    match outcome {
        Ok(answers) => answers.into_iter().map(|answer| answer.map_err(Failure::from)).collect(),
        Err(error) => {
            tracing::error!(%error, "a change of the metadata failed");
            (0..parts).map(|_| Err(Failure::from(&error))).collect()
        }
    }
}

/// Code and message of an answer.
pub(crate) fn code_and_message<T>(answer: &Result<T, Failure>) -> (ErrorCode, Option<Str>) {
    match answer {
        Ok(_) => (ErrorCode::NONE, None),
        Err(failure) => (failure.code, Some(failure.message.clone())),
    }
}

/// What a request about configurations names.
pub(crate) fn resource(resource_type: i8, name: &Str) -> Result<Resource, Failure> {
    match resource_type {
        TOPIC_RESOURCE => Ok(Resource::Topic(name.to_string())),
        BROKER_RESOURCE if name.is_empty() => Ok(Resource::Broker(None)),
        BROKER_RESOURCE => match name.parse() {
            Ok(id) if id >= 0 => Ok(Resource::Broker(Some(BrokerId(id)))),
            _ => Err(Failure::invalid_request(format!(
                "Broker id must be a whole number, but it is: {name:?}"
            ))),
        },
        other => Err(Failure::invalid_request(format!(
            "Resource type {other} is not supported: topics (2) and brokers (4) are."
        ))),
    }
}

/// Makes one change of those parts of a request that can be asked for at all, and returns the answers of all parts.
/// `change` gets the parts that can.
pub(crate) async fn change_valid<P, F>(
    parts: Vec<Result<P, Failure>>,
    change: impl FnOnce(Vec<P>) -> F,
) -> Vec<Result<(), Failure>>
where
    F: Future<Output = Result<Vec<Result<(), Refusal>>, CommitError>>,
{
    let mut valid = Vec::new();
    let places: Vec<Result<(), Failure>> =
        parts.into_iter().map(|part| part.map(|part| valid.push(part))).collect();
    let count = valid.len();
    let mut answers = match count {
        0 => Vec::new(),
        _ => answers(change(valid).await, count),
    }
    .into_iter();
    places
        .into_iter()
        .map(|place| place.and_then(|()| answers.next().expect("as many answers as parts")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_told_from_type_and_name() {
        let check = |resource_type, name: &'static str, expected: Result<Resource, &str>| {
            let found = resource(resource_type, &Str::from_static(name));
            assert_eq!(
                found.map_err(|failure| failure.message),
                expected.map_err(Str::from),
                "{resource_type} {name}"
            );
        };
        check(2, "a", Ok(Resource::Topic("a".to_owned())));
        check(4, "", Ok(Resource::Broker(None)));
        check(4, "7", Ok(Resource::Broker(Some(BrokerId(7)))));
        check(4, "-7", Err("Broker id must be a whole number, but it is: \"-7\""));
        check(4, "x", Err("Broker id must be a whole number, but it is: \"x\""));
        check(8, "1", Err("Resource type 8 is not supported: topics (2) and brokers (4) are."));
    }
}
