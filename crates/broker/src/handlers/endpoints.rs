//! Where brokers listen that an answer sends its client to.

use crate::dispatch::Context;
use highwater_env::Env;
use highwater_types::BrokerId;
use highwater_wire::Str;
use highwater_wire::messages::NodeEndpoint;
use std::collections::BTreeSet;

/// Where brokers listen, by the kind of listener that the client came to. Those that are not known, or none, are left
/// out.
pub(crate) fn endpoints<E: Env>(
    context: &Context<E>,
    brokers: impl Iterator<Item = BrokerId>,
) -> Vec<NodeEndpoint> {
    let brokers: BTreeSet<BrokerId> = brokers.filter(|broker| broker.0 >= 0).collect();
    if brokers.is_empty() {
        return Vec::new();
    }
    let routing = context.shared.directory.load();
    let listener = &context.shared.config.listeners[context.link.listener].name;
    let endpoint = |id| {
        let broker = routing.image.broker(id)?;
        let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == *listener)?;
        Some(NodeEndpoint {
            node_id: id,
            host: Str::from(endpoint.host.as_str()),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Str::from),
        })
    };
    brokers.into_iter().filter_map(endpoint).collect()
}
