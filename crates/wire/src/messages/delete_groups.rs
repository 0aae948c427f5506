//! DeleteGroups (key 42): deletes groups without members, and their offsets (KIP-229). Version 2 is the first
//! flexible one.

use crate::{ErrorCode, Message, Str};

/// Which groups to delete.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = DELETE_GROUPS, response = DeleteGroupsResponse, versions = "0-2", flexible = "2+")]
pub struct DeleteGroupsRequest {
    /// The groups.
    pub groups_names: Vec<Str>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-2", flexible = "2+")]
pub struct DeleteGroupsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The groups.
    pub results: Vec<DeletableGroupResult>,
}

/// One group's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DeletableGroupResult {
    /// The group.
    pub group_id: Str,
    /// The outcome.
    pub error_code: ErrorCode,
}
