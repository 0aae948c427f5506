//! DescribeCluster (key 60), versions 0 to 2.
//!
//! - The brokers with the addresses of the listener that the request came to. Fenced ones only if version 2 asks.
//! - Every node is broker and controller: the controller is this node. Clients that want the controllers' own endpoints
//!   (endpoint type 2) are told MISMATCHED_ENDPOINT_TYPE.

use super::admin::CLUSTER_OPERATIONS;
use crate::dispatch::Context;
use highwater_env::Env;
use highwater_metadata::BrokerRecord;
use highwater_types::BrokerId;
use highwater_wire::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use highwater_wire::{ErrorCode, Str};
use std::sync::Arc;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let (error_code, error_message) = match request.endpoint_type {
        BROKERS => (ErrorCode::NONE, None),
        CONTROLLERS => {
            let message = "The request was sent to a broker's listener and asks for those of controllers.";
            (ErrorCode::MISMATCHED_ENDPOINT_TYPE, Some(Str::from_static(message)))
        }
        _ => {
            let message = "The endpoint type is neither 1 (brokers) nor 2 (controllers).";
            (ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, Some(Str::from_static(message)))
        }
    };
    let mut response = DescribeClusterResponse {
        throttle_time_ms: 0,
        error_code,
        error_message,
        endpoint_type: request.endpoint_type,
        cluster_id: Str::new(),
        controller_id: BrokerId(-1),
        brokers: Vec::new(),
        cluster_authorized_operations: i32::MIN,
    };
    if error_code != ErrorCode::NONE {
        return response;
    }
    let routing = context.shared.directory.load();
    let listener = context.shared.config.listeners.get(context.link.listener);
    let listener = listener.map_or("", |listener| listener.name.as_str());
    response.cluster_id = routing.image.cluster_id().map(|id| Str::from(id.to_string())).unwrap_or_default();
    response.controller_id = context.shared.controller_id(&routing.image);
    response.brokers = routing
        .image
        .brokers()
        .filter(|broker| request.include_fenced_brokers || !broker.fenced)
        .filter_map(|broker| describe(broker, listener))
        .collect();
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

/// A broker's address under a listener; none if it has no such listener.
fn describe(broker: &BrokerRecord, listener: &str) -> Option<DescribeClusterBroker> {
    let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == listener)?;
    Some(DescribeClusterBroker {
        broker_id: broker.id,
        host: Str::from(endpoint.host.as_str()),
        port: endpoint.port.into(),
        rack: broker.rack.as_deref().map(Str::from),
        is_fenced: broker.fenced,
    })
}
