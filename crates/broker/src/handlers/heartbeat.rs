//! Heartbeat (key 12), versions 0 to 4.

use crate::dispatch::Context;
use crate::groups::RoutedTopics;
use highwater_env::Env;
use highwater_groups::Answer;
use highwater_wire::ErrorCode;
use highwater_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(context: Arc<Context<E>>, request: HeartbeatRequest) -> HeartbeatResponse {
    let groups = &context.shared.groups;
    let routing = context.shared.directory.load();
    let answer = groups
        .ask(&context.shared, &request.group_id, |coordinator, token, now| {
            coordinator.heartbeat(token, &request, &RoutedTopics(&routing), now);
        })
        .await;
    let error_code = match answer {
        Ok(Answer::Heartbeat(code)) | Err(code) => code,
        Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
    };
    HeartbeatResponse { error_code, ..HeartbeatResponse::default() }
}
