//! DeleteGroups (key 42), versions 0 to 2: deletes groups without members, and their offsets.

use crate::dispatch::Context;
use highwater_env::Env;
use highwater_groups::Answer;
use highwater_wire::ErrorCode;
use highwater_wire::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let shared = &context.shared;
    // All are asked for before one is waited for.
    let asked: Vec<_> = request
        .groups_names
        .into_iter()
        .map(|group| {
            let reply =
                shared.groups.begin(shared, &group, |groups, token, _| groups.delete_group(token, &group));
            (group, reply)
        })
        .collect();
    let mut results = Vec::with_capacity(asked.len());
    for (group_id, reply) in asked {
        let answer = match reply {
            Ok(reply) => reply.answer().await,
            Err(code) => Err(code),
        };
        let error_code = match answer {
            Ok(Answer::DeleteGroup(code)) | Err(code) => code,
            Ok(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
        };
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
