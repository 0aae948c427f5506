//! RemoveRaftVoter (key 81): takes a node out of the voters of the metadata quorum (KIP-853).

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, Uuid};

/// Who votes no more.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = REMOVE_RAFT_VOTER, response = RemoveRaftVoterResponse, versions = "0", flexible = "0+")]
pub struct RemoveRaftVoterRequest {
    /// The cluster, if the sender says.
    #[field(nullable = "0+")]
    pub cluster_id: Option<Str>,
    /// The node.
    pub voter_id: BrokerId,
    /// Its disk.
    pub voter_directory_id: Uuid,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct RemoveRaftVoterResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
}
