//! InitProducerId, versions 0 to 5, for idempotent producers.
//!
//! Transactional producers are refused with UNSUPPORTED_VERSION: there are no transactions yet, and it is an error that
//! clients report and do not repeat the request on.

use crate::dispatch::Context;
use highwater_env::Env;
use highwater_types::{ProducerEpoch, ProducerId};
use highwater_wire::ErrorCode;
use highwater_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refuse = |error_code| InitProducerIdResponse {
        error_code,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        ..InitProducerIdResponse::default()
    };
    if request.transactional_id.is_some() {
        return refuse(ErrorCode::UNSUPPORTED_VERSION);
    }
    // Both or neither (KIP-360). Without a transactional id a new id is given in either case, as Kafka does.
    if request.producer_id.is_some() != (request.producer_epoch.0 >= 0) {
        return refuse(ErrorCode::INVALID_REQUEST);
    }
    let shared = &context.shared;
    match shared.producer_ids.next(shared.cluster.allocate_producer_ids()).await {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: ProducerEpoch(0),
            ..InitProducerIdResponse::default()
        },
        Err(error) => {
            tracing::error!(%error, "no producer ids were allocated");
            refuse(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        }
    }
}
