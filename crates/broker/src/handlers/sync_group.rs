//! SyncGroup (key 14), versions 0 to 5. Answered when the leader's assignment is committed.

use crate::dispatch::Context;
use crate::groups::RoutedTopics;
use highwater_env::Env;
use highwater_groups::Answer;
use highwater_wire::ErrorCode;
use highwater_wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(context: Arc<Context<E>>, request: SyncGroupRequest) -> SyncGroupResponse {
    let groups = &context.shared.groups;
    let routing = context.shared.directory.load();
    let answer = groups
        .ask(&context.shared, &request.group_id, |coordinator, token, now| {
            coordinator.sync(token, &request, &RoutedTopics(&routing), now);
        })
        .await;
    match answer {
        Ok(Answer::Sync(response)) => response,
        other => SyncGroupResponse {
            error_code: other.err().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR),
            ..SyncGroupResponse::default()
        },
    }
}
