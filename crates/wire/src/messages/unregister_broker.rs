//! UnregisterBroker (key 64): forgets a broker that is gone for good (KIP-500).

use crate::{ErrorCode, Message, Str};
use highwater_types::BrokerId;

/// Whom to forget.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = UNREGISTER_BROKER, response = UnregisterBrokerResponse, versions = "0", flexible = "0+")]
pub struct UnregisterBrokerRequest {
    /// The broker.
    pub broker_id: BrokerId,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct UnregisterBrokerResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
}
