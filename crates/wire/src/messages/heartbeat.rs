//! Heartbeat (key 12): a member of a classic group says that it is alive, and hears of rebalances.
//!
//! Version 3 brings static members (KIP-345), 4 is the first flexible one.

use crate::{ErrorCode, Message, Str};

/// Who is alive.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = HEARTBEAT, response = HeartbeatResponse, versions = "0-4", flexible = "4+")]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: Str,
    /// The generation.
    pub generation_id: i32,
    /// The member.
    pub member_id: Str,
    /// The name of a static member.
    #[field(versions = "3+", nullable = "3+")]
    pub group_instance_id: Option<Str>,
}

/// What the member is to do.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-4", flexible = "4+")]
pub struct HeartbeatResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
}
