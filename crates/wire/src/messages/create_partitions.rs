//! CreatePartitions (key 37): adds partitions to topics. Version 2 is the first flexible one.

use crate::{ErrorCode, Message, Str};
use highwater_types::BrokerId;

/// The topics to extend.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = CREATE_PARTITIONS, response = CreatePartitionsResponse, versions = "0-3", flexible = "2+")]
pub struct CreatePartitionsRequest {
    /// The topics.
    pub topics: Vec<CreatePartitionsTopic>,
    /// How long to wait, in milliseconds.
    pub timeout_ms: i32,
    /// Whether only to check the request.
    pub validate_only: bool,
}

/// A topic to extend.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatePartitionsTopic {
    /// The topic.
    pub name: Str,
    /// How many partitions it shall have in all.
    pub count: i32,
    /// Where each new partition goes; null to leave it to the broker.
    #[field(nullable = "0+")]
    pub assignments: Option<Vec<CreatePartitionsAssignment>>,
}

/// Where one new partition goes.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatePartitionsAssignment {
    /// Its replicas, the preferred leader first.
    pub broker_ids: Vec<BrokerId>,
}

/// What became of each topic.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-3", flexible = "2+")]
pub struct CreatePartitionsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub results: Vec<CreatePartitionsTopicResult>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct CreatePartitionsTopicResult {
    /// The topic.
    pub name: Str,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
}
