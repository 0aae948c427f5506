//! DeleteTopics (key 20): deletes topics, from version 6 on by name or id. Version 4 is the first flexible
//! one.

use crate::{ErrorCode, Message, Str};
use highwater_types::TopicId;

/// The topics to delete.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = DELETE_TOPICS, response = DeleteTopicsResponse, versions = "1-6", flexible = "4+")]
pub struct DeleteTopicsRequest {
    /// The topics, by name or id.
    #[field(versions = "6+")]
    pub topics: Vec<DeleteTopicState>,
    /// The topics, by name.
    #[field(versions = "0-5")]
    pub topic_names: Vec<Str>,
    /// How long to wait, in milliseconds.
    pub timeout_ms: i32,
}

/// A topic to delete.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeleteTopicState {
    /// Its name, or null.
    #[field(versions = "6+", nullable = "6+")]
    pub name: Option<Str>,
    /// Its id, or zero.
    #[field(versions = "6+")]
    pub topic_id: TopicId,
}

/// What became of each topic.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "1-6", flexible = "4+")]
pub struct DeleteTopicsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The topics.
    pub responses: Vec<DeletableTopicResult>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeletableTopicResult {
    /// Its name.
    #[field(nullable = "6+")]
    pub name: Option<Str>,
    /// Its id.
    #[field(versions = "6+")]
    pub topic_id: TopicId,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(versions = "5+", nullable = "5+")]
    pub error_message: Option<Str>,
}
