//! ListGroups (key 16): the groups that a broker coordinates.
//!
//! Version 3 is the first flexible one, 4 brings states (KIP-518), 5 types (KIP-848).

use crate::{ErrorCode, Message, Str};

/// Which groups to list.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = LIST_GROUPS, response = ListGroupsResponse, versions = "0-5", flexible = "3+")]
pub struct ListGroupsRequest {
    /// The states that they may have, empty for all.
    #[field(versions = "4+")]
    pub states_filter: Vec<Str>,
    /// The types that they may have, empty for all.
    #[field(versions = "5+")]
    pub types_filter: Vec<Str>,
}

/// The groups.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-5", flexible = "3+")]
pub struct ListGroupsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The groups.
    pub groups: Vec<ListedGroup>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListedGroup {
    /// The group.
    pub group_id: Str,
    /// The kind of protocols; empty for a group of offsets alone.
    pub protocol_type: Str,
    /// Its state, in Kafka's words.
    #[field(versions = "4+")]
    pub group_state: Str,
    /// Its type, in Kafka's words.
    #[field(versions = "5+")]
    pub group_type: Str,
}
