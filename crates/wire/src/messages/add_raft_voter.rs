//! AddRaftVoter (key 80): makes a node a voter of the metadata quorum (KIP-853).

use crate::{ErrorCode, Message, Str};
use highwater_types::{BrokerId, Uuid};

/// The new voter.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = ADD_RAFT_VOTER, response = AddRaftVoterResponse, versions = "0", flexible = "0+")]
pub struct AddRaftVoterRequest {
    /// The cluster, if the sender says.
    #[field(nullable = "0+")]
    pub cluster_id: Option<Str>,
    /// How long to wait, in milliseconds.
    pub timeout_ms: i32,
    /// The node.
    pub voter_id: BrokerId,
    /// Its disk.
    pub voter_directory_id: Uuid,
    /// Where it is reached.
    pub listeners: Vec<RaftVoterListener>,
}

/// Where a voter is reached.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct RaftVoterListener {
    /// The listener's name.
    pub name: Str,
    /// Its host.
    pub host: Str,
    /// Its port.
    pub port: u16,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct AddRaftVoterResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
}
