//! LeaveGroup (key 13): members leave a group.
//!
//! Version 3 removes several members at once, static ones by name (KIP-345), 4 is the first flexible one, 5 brings
//! a reason (KIP-800).

use crate::{ErrorCode, Message, Str};

/// Who leaves.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = LEAVE_GROUP, response = LeaveGroupResponse, versions = "0-5", flexible = "4+")]
pub struct LeaveGroupRequest {
    /// The group.
    pub group_id: Str,
    /// The member.
    #[field(versions = "0-2")]
    pub member_id: Str,
    /// The members.
    #[field(versions = "3+")]
    pub members: Vec<MemberIdentity>,
}

/// A member that leaves.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MemberIdentity {
    /// The member, empty for a static one whose id is not known.
    pub member_id: Str,
    /// The name of a static member.
    #[field(nullable = "3+")]
    pub group_instance_id: Option<Str>,
    /// Why it leaves, in words.
    #[field(versions = "5+", nullable = "5+")]
    pub reason: Option<Str>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-5", flexible = "4+")]
pub struct LeaveGroupResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The outcome of the request as a whole.
    pub error_code: ErrorCode,
    /// The members.
    #[field(versions = "3+")]
    pub members: Vec<MemberResponse>,
}

/// One member's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct MemberResponse {
    /// The member.
    pub member_id: Str,
    /// The name of a static member.
    #[field(nullable = "3+")]
    pub group_instance_id: Option<Str>,
    /// The outcome.
    pub error_code: ErrorCode,
}
