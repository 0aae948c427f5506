//! DescribeGroups (key 15), versions 0 to 6. A group that does not exist is "Dead", and from version 6 on an error.

use crate::dispatch::Context;
use highwater_env::Env;
use highwater_wire::Str;
use highwater_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let routing = context.shared.directory.load();
    let describe = |group_id: Str| {
        let shard = context.shared.groups.of(&routing, &group_id);
        let found =
            shard.and_then(|shard| shard.read(|groups| groups.describe(&group_id, context.version())));
        found.unwrap_or_else(|error_code| DescribedGroup {
            error_code,
            group_id,
            ..DescribedGroup::default()
        })
    };
    let groups = request.groups.into_iter().map(describe).collect();
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
}
