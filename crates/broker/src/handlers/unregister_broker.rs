//! UnregisterBroker (key 64), version 0: forgets a broker that is gone for good. One that runs, or that alone has all
//! of a partition, stays.

use super::admin::{answers, code_and_message};
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_wire::messages::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let outcome = context.shared.cluster.unregister_broker(request.broker_id).await;
    let answer = answers(outcome, 1).pop().expect("one answer");
    let (error_code, error_message) = code_and_message(&answer);
    UnregisterBrokerResponse { throttle_time_ms: 0, error_code, error_message }
}
