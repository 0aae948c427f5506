//! ConsumerGroupDescribe (key 69), versions 0 and 1: groups of the new protocol.

use crate::dispatch::Context;
use crate::groups::RoutedTopics;
use highwater_env::Env;
use highwater_wire::Str;
use highwater_wire::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
};
use std::sync::Arc;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let routing = context.shared.directory.load();
    let topics = RoutedTopics(&routing);
    let describe = |group_id: Str| {
        let shard = context.shared.groups.of(&routing, &group_id);
        let found =
            shard.and_then(|shard| shard.read(|groups| groups.describe_consumers(&group_id, &topics)));
        found.unwrap_or_else(|error_code| DescribedGroup {
            error_code,
            group_id,
            ..DescribedGroup::default()
        })
    };
    let groups = request.group_ids.into_iter().map(describe).collect();
    ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }
}
