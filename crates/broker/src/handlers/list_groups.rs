//! ListGroups (key 16), versions 0 to 5: the groups that this broker coordinates.

use crate::dispatch::Context;
use highwater_env::Env;
use highwater_wire::ErrorCode;
use highwater_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let mut response = ListGroupsResponse::default();
    for shard in context.shared.groups.all() {
        match shard.read(|groups| groups.list(&request.states_filter, &request.types_filter)) {
            Ok(groups) => response.groups.extend(groups),
            // Others coordinate these.
            Err(ErrorCode::NOT_COORDINATOR) => {}
            Err(code) => response.error_code = code,
        }
    }
    response
}
