//! FindCoordinator (key 10), versions 0 to 6: the broker that coordinates a group.
//!
//! - That is the leader of the group's partition of `__consumer_offsets`, which is created when it is first asked for.
//! - Versions 4 and up ask for many groups at once.
//! - There are no transactions and no share groups yet: their coordinators are refused with INVALID_REQUEST.

use crate::dispatch::Context;
use crate::groups::{OFFSETS_TOPIC, offsets_topic, place_of};
use crate::handlers::endpoints::endpoints;
use highwater_env::Env;
use highwater_types::BrokerId;
use highwater_wire::messages::NodeEndpoint;
use highwater_wire::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

const GROUP: i8 = 0;
const MANY_FROM: i16 = 4;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let many = context.version() >= MANY_FROM;
    let keys = if many { request.coordinator_keys } else { vec![request.key] };
    if request.key_type == GROUP {
        create_offsets_topic(&context).await;
    }
    let mut found = keys.into_iter().map(|key| {
        let result = match request.key_type {
            GROUP => find(&context, &key),
            _ => Err((ErrorCode::INVALID_REQUEST, "only groups have coordinators here")),
        };
        coordinator(key, result)
    });
    if many {
        return FindCoordinatorResponse {
            coordinators: found.collect(),
            ..FindCoordinatorResponse::default()
        };
    }
    let one = found.next().unwrap_or_default();
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..FindCoordinatorResponse::default()
    }
}

async fn create_offsets_topic<E: Env>(context: &Context<E>) {
    let routing = context.shared.directory.load();
    if routing.topic(OFFSETS_TOPIC).is_none() {
        context.shared.cluster.create_topics(vec![offsets_topic(&routing)]).await;
    }
}

fn find<E: Env>(context: &Context<E>, group: &str) -> Result<NodeEndpoint, (ErrorCode, &'static str)> {
    let missing = |text| (ErrorCode::COORDINATOR_NOT_AVAILABLE, text);
    let routing = context.shared.directory.load();
    let topic = routing.topic(OFFSETS_TOPIC).ok_or(missing(
        "the topic __consumer_offsets is not there yet; too few brokers may be alive for it",
    ))?;
    if context.shared.groups.of(&routing, group).is_ok_and(|shard| shard.is_cut_off()) {
        return Err(missing("this broker is cut off from the others, one of which may coordinate the group"));
    }
    let leader = topic.leader(place_of(topic, group)).leader_id;
    let is_live = routing.image.broker(leader).is_some_and(|broker| !broker.fenced);
    let endpoint =
        Some(leader).filter(|_| is_live).and_then(|leader| endpoints(context, [leader].into_iter()).pop());
    endpoint.ok_or(missing("the group's partition of __consumer_offsets has no leader now"))
}

fn coordinator(key: Str, result: Result<NodeEndpoint, (ErrorCode, &'static str)>) -> Coordinator {
    match result {
        Ok(node) => Coordinator {
            key,
            node_id: node.node_id,
            host: node.host,
            port: node.port,
            ..Coordinator::default()
        },
        Err((error_code, message)) => Coordinator {
            key,
            error_code,
            error_message: Some(Str::from_static(message)),
            node_id: BrokerId(-1),
            port: -1,
            ..Coordinator::default()
        },
    }
}
