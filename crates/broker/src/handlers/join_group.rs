//! JoinGroup (key 11), versions 0 to 9. Answered when the next generation begins.

use crate::dispatch::Context;
use crate::groups::RoutedTopics;
use highwater_env::Env;
use highwater_groups::{Answer, Client};
use highwater_wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

/// From here on an answer may be without a protocol.
const NULL_PROTOCOL_FROM: i16 = 7;

pub(crate) async fn handle<E: Env>(context: Arc<Context<E>>, request: JoinGroupRequest) -> JoinGroupResponse {
    let groups = &context.shared.groups;
    let fresh = groups.draw();
    let host = format!("/{}", context.link.peer.ip());
    let routing = context.shared.directory.load();
    let answer = groups
        .ask(&context.shared, &request.group_id, |coordinator, token, now| {
            let id = context.header.client_id.as_deref().unwrap_or_default();
            let client = Client { id, host: &host, version: context.version(), fresh };
            coordinator.join(token, &client, &request, &RoutedTopics(&routing), now);
        })
        .await;
    match answer {
        Ok(Answer::Join(response)) => response,
        other => JoinGroupResponse {
            error_code: other.err().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR),
            protocol_name: (context.version() < NULL_PROTOCOL_FROM).then(Str::new),
            member_id: request.member_id,
            ..JoinGroupResponse::default()
        },
    }
}
