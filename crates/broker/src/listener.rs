//! Taking connections.

use crate::connection::{Connection, StreamOf};
use crate::link::Link;
use crate::state::Shared;
use highwater_env::{Env, Listener, Task, sleep};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long no connection is taken after one could not be: the process is out of descriptors, most likely, and trying
/// at once again would take the processor from those that could free some.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the task is aborted.
pub(crate) fn start<E, L>(shared: &Arc<Shared<E>>, index: usize, listener: L) -> Task
where
    E: Env,
    L: Listener<Stream = StreamOf<E>>,
{
    let shared = Arc::clone(shared);
    let env = shared.env.clone();
    env.spawn("listener", async move {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => serve(&shared, index, stream, peer),
                Err(error) => {
                    if shared.warnings.admit(shared.env.clock().now()).is_some() {
                        tracing::warn!(%error, "a connection could not be accepted");
                    }
                    sleep(shared.env.clock(), PAUSE).await;
                }
            }
        }
    })
}

fn serve<E: Env>(shared: &Arc<Shared<E>>, index: usize, stream: StreamOf<E>, peer: SocketAddr) {
    let link = Link::new(peer, index, shared.env.clock().now());
    let limit = usize::try_from(shared.settings.max_connections).unwrap_or(0);
    let Some(number) = shared.connections.enter(&link, limit) else {
        shared.metrics.connections_refused.one();
        shared.warn_of_peer(peer, &"there are max.connections already");
        return;
    };
    let connection = Connection::new(Arc::clone(shared), link, number, stream);
    shared.env.spawn("connection", connection).detach();
}
