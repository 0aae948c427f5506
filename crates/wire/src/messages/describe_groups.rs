//! DescribeGroups (key 15): the members of classic groups and what they were assigned.
//!
//! Version 4 brings static members (KIP-345), 5 is the first flexible one, 6 says in words what is wrong and tells
//! groups that do not exist (KIP-1043).

use crate::{ErrorCode, Message, Str};
use bytes::Bytes;

/// Which groups to describe.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = DESCRIBE_GROUPS, response = DescribeGroupsResponse, versions = "0-6", flexible = "5+")]
pub struct DescribeGroupsRequest {
    /// The groups.
    pub groups: Vec<Str>,
    /// Whether to say what the client may do with them.
    #[field(versions = "3+")]
    pub include_authorized_operations: bool,
}

/// The groups.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-6", flexible = "5+")]
pub struct DescribeGroupsResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The groups.
    pub groups: Vec<DescribedGroup>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedGroup {
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(versions = "6+", nullable = "6+")]
    pub error_message: Option<Str>,
    /// The group.
    pub group_id: Str,
    /// Its state, in Kafka's words.
    pub group_state: Str,
    /// The kind of protocols.
    pub protocol_type: Str,
    /// The protocol that was chosen.
    pub protocol_data: Str,
    /// The members.
    pub members: Vec<DescribedGroupMember>,
    /// What the client may do with it, a bit each; the least number if it was not asked for.
    #[field(versions = "3+", default = i32::MIN)]
    pub authorized_operations: i32,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedGroupMember {
    /// The member.
    pub member_id: Str,
    /// The name of a static member.
    #[field(versions = "4+", nullable = "4+")]
    pub group_instance_id: Option<Str>,
    /// The client's name for itself.
    pub client_id: Str,
    /// Where it connects from.
    pub client_host: Str,
    /// What it has to say in the chosen protocol.
    pub member_metadata: Bytes,
    /// Its assignment.
    pub member_assignment: Bytes,
}
