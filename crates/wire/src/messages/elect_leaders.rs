//! ElectLeaders (key 43): elects the leaders of partitions (KIP-183, KIP-460). Version 2 is the first flexible one.

use crate::{ErrorCode, Message, Str};
use highwater_types::PartitionIndex;

/// Which leaders to elect.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = ELECT_LEADERS, response = ElectLeadersResponse, versions = "0-2", flexible = "2+")]
pub struct ElectLeadersRequest {
    /// 0: the preferred replica, 1: any replica, at the price of records.
    #[field(versions = "1+")]
    pub election_type: i8,
    /// The partitions; null for all.
    #[field(nullable = "0+")]
    pub topic_partitions: Option<Vec<ElectTopic>>,
    /// How long to wait, in milliseconds.
    #[field(default = 60_000)]
    pub timeout_ms: i32,
}

/// One topic's part of a request.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ElectTopic {
    /// The topic.
    pub topic: Str,
    /// Its partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-2", flexible = "2+")]
pub struct ElectLeadersResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome of the request as a whole.
    #[field(versions = "1+")]
    pub error_code: ErrorCode,
    /// The topics.
    pub replica_election_results: Vec<ElectionResult>,
}

/// One topic's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ElectionResult {
    /// The topic.
    pub topic: Str,
    /// Its partitions.
    pub partition_result: Vec<ElectionPartitionResult>,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ElectionPartitionResult {
    /// The partition.
    pub partition_id: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
}
