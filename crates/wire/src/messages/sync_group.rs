//! SyncGroup (key 14): brings the leader's assignment to every member of a classic group.
//!
//! Version 3 brings static members (KIP-345), 4 is the first flexible one, 5 names the protocol (KIP-559).

use crate::{ErrorCode, Message, Str};
use bytes::Bytes;

/// The assignment, from the leader, or the wish for it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = SYNC_GROUP, response = SyncGroupResponse, versions = "0-5", flexible = "4+")]
pub struct SyncGroupRequest {
    /// The group.
    pub group_id: Str,
    /// The generation.
    pub generation_id: i32,
    /// The member.
    pub member_id: Str,
    /// The name of a static member.
    #[field(versions = "3+", nullable = "3+")]
    pub group_instance_id: Option<Str>,
    /// The kind of protocols.
    #[field(versions = "5+", nullable = "5+")]
    pub protocol_type: Option<Str>,
    /// The protocol that was chosen.
    #[field(versions = "5+", nullable = "5+")]
    pub protocol_name: Option<Str>,
    /// Each member's assignment, from the leader alone.
    pub assignments: Vec<SyncGroupRequestAssignment>,
}

/// One member's assignment.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct SyncGroupRequestAssignment {
    /// The member.
    pub member_id: Str,
    /// Its assignment.
    pub assignment: Bytes,
}

/// The member's own assignment.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-5", flexible = "4+")]
pub struct SyncGroupResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The kind of protocols.
    #[field(versions = "5+", nullable = "5+")]
    pub protocol_type: Option<Str>,
    /// The protocol that was chosen.
    #[field(versions = "5+", nullable = "5+")]
    pub protocol_name: Option<Str>,
    /// The assignment.
    pub assignment: Bytes,
}
