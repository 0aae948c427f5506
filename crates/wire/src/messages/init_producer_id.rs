//! InitProducerId (key 22): gives an idempotent producer its id and epoch.
//!
//! Version 2 is the first flexible one; from 3 on a producer can raise its own epoch (KIP-360).

use crate::{ErrorCode, Message, Str};
use highwater_types::{ProducerEpoch, ProducerId};

/// Asks for a producer id.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(key = INIT_PRODUCER_ID, response = InitProducerIdResponse, versions = "0-5", flexible = "2+")]
pub struct InitProducerIdRequest {
    /// The transactional id; null unless the producer is transactional.
    #[field(nullable = "0+")]
    pub transactional_id: Option<Str>,
    /// How long a transaction may stay idle, in milliseconds.
    pub transaction_timeout_ms: i32,
    /// The id that the producer has, -1 for none.
    #[field(versions = "3+", default = ProducerId::NONE)]
    pub producer_id: ProducerId,
    /// The epoch that the producer has, -1 for none.
    #[field(versions = "3+", default = ProducerEpoch::NONE)]
    pub producer_epoch: ProducerEpoch,
}

/// The producer id.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-5", flexible = "2+")]
pub struct InitProducerIdResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The producer's id.
    #[field(default = ProducerId::NONE)]
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
}
