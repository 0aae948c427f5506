//! JoinGroup (key 11): becomes a member of a classic group, or takes part in its next generation.
//!
//! Version 1 brings the rebalance timeout, 4 gives a new member its id before it joins (KIP-394), 5 brings static
//! members (KIP-345), 6 is the first flexible one, 7 names the kind of protocol in the answer, 8 a reason, and 9
//! tells a leader that it need not assign anything (KIP-814).

use crate::{ErrorCode, Message, Str};
use bytes::Bytes;

/// Who joins.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = JOIN_GROUP, response = JoinGroupResponse, versions = "0-9", flexible = "6+")]
pub struct JoinGroupRequest {
    /// The group.
    pub group_id: Str,
    /// Without a word from the member for how long it is taken for dead, in milliseconds.
    pub session_timeout_ms: i32,
    /// For how long the others wait for the member to rejoin, in milliseconds.
    #[field(versions = "1+", default = -1)]
    pub rebalance_timeout_ms: i32,
    /// The member, empty for a new one.
    pub member_id: Str,
    /// The name that a static member keeps over restarts.
    #[field(versions = "5+", nullable = "5+")]
    pub group_instance_id: Option<Str>,
    /// What kind of protocols these are; "consumer" for consumers.
    pub protocol_type: Str,
    /// The protocols that the member knows, the preferred one first.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// Why the member joins, in words.
    #[field(versions = "8+", nullable = "8+")]
    pub reason: Option<Str>,
}

/// A protocol that a member knows.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct JoinGroupRequestProtocol {
    /// Its name.
    pub name: Str,
    /// What the member has to say in it.
    pub metadata: Bytes,
}

/// The generation that was joined.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-9", flexible = "6+")]
pub struct JoinGroupResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "2+")]
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The generation.
    #[field(default = -1)]
    pub generation_id: i32,
    /// The kind of protocols.
    #[field(versions = "7+", nullable = "7+")]
    pub protocol_type: Option<Str>,
    /// The protocol that was chosen. Empty rather than null by default: most versions have no null here.
    #[field(nullable = "7+", default = Some(Str::new()))]
    pub protocol_name: Option<Str>,
    /// The member that assigns.
    pub leader: Str,
    /// Whether the leader is to keep the assignment as it is.
    #[field(versions = "9+")]
    pub skip_assignment: bool,
    /// This member.
    pub member_id: Str,
    /// All members, for the leader alone.
    pub members: Vec<JoinGroupResponseMember>,
}

/// A member of the generation.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct JoinGroupResponseMember {
    /// The member.
    pub member_id: Str,
    /// The name of a static member.
    #[field(versions = "5+", nullable = "5+")]
    pub group_instance_id: Option<Str>,
    /// What it has to say in the chosen protocol.
    pub metadata: Bytes,
}
