//! FindCoordinator (key 10): which broker coordinates a group or a transactional id.
//!
//! Version 1 asks for a kind of coordinator, 3 is the first flexible one, 4 asks for several keys at once
//! (KIP-699), 6 brings share groups.

use crate::{ErrorCode, Message, Str};
use highwater_types::BrokerId;

/// Whose coordinator to find.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = FIND_COORDINATOR, response = FindCoordinatorResponse, versions = "0-6", flexible = "3+")]
pub struct FindCoordinatorRequest {
    /// The group or transactional id.
    #[field(versions = "0-3")]
    pub key: Str,
    /// 0: a group, 1: a transactional id, 2: a share group's partition.
    #[field(versions = "1+")]
    pub key_type: i8,
    /// The groups or transactional ids.
    #[field(versions = "4+")]
    pub coordinator_keys: Vec<Str>,
}

/// Who coordinates them.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-6", flexible = "3+")]
pub struct FindCoordinatorResponse {
    /// How long the client is held back by a quota, in milliseconds.
    #[field(versions = "1+")]
    pub throttle_time_ms: i32,
    /// The outcome.
    #[field(versions = "0-3")]
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(versions = "1-3", nullable = "1-3")]
    pub error_message: Option<Str>,
    /// The coordinator.
    #[field(versions = "0-3")]
    pub node_id: BrokerId,
    /// Its host name.
    #[field(versions = "0-3")]
    pub host: Str,
    /// Its port.
    #[field(versions = "0-3")]
    pub port: i32,
    /// The coordinators, one for each key.
    #[field(versions = "4+")]
    pub coordinators: Vec<Coordinator>,
}

/// One key's part of an answer.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Coordinator {
    /// The group or transactional id.
    pub key: Str,
    /// The coordinator.
    pub node_id: BrokerId,
    /// Its host name.
    pub host: Str,
    /// Its port.
    pub port: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "4+")]
    pub error_message: Option<Str>,
}
