//! ConsumerGroupHeartbeat (key 68), versions 0 and 1: the whole of the new group protocol (KIP-848).
//!
//! - The assignors are `uniform`, which is the default, and `range`.
//! - A member that joins a classic group makes it one of the new protocol, if `group.consumer.migration.policy` allows
//!   that and it can be read what its members want and have; else it is refused with GROUP_ID_NOT_FOUND.

use crate::dispatch::Context;
use crate::groups::RoutedTopics;
use highwater_env::Env;
use highwater_groups::{Answer, Client};
use highwater_wire::ErrorCode;
use highwater_wire::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let groups = &context.shared.groups;
    let fresh = groups.draw();
    let host = format!("/{}", context.link.peer.ip());
    let routing = context.shared.directory.load();
    let asked = groups.ask(&context.shared, &request.group_id, |coordinator, token, now| {
        let id = context.header.client_id.as_deref().unwrap_or_default();
        let client = Client { id, host: &host, version: context.version(), fresh };
        coordinator.consumer_heartbeat(token, &client, &request, &RoutedTopics(&routing), now);
    });
    match asked.await {
        Ok(Answer::ConsumerHeartbeat(response)) => response,
        other => ConsumerGroupHeartbeatResponse {
            error_code: other.err().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR),
            ..ConsumerGroupHeartbeatResponse::default()
        },
    }
}
