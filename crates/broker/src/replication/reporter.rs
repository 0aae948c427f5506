//! Telling one broker how far the logs that are followed there are on disk.
//!
//! Each request is answered at once and carries no records: as long as one is under way, what is synced meanwhile
//! gathers for the next.

use super::connection::Connection;
use super::fetcher::until_stop;
use super::requests;
use super::source::Source;
use crate::state::Shared;
use highwater_env::{Env, Task, sleep};
use highwater_types::LogId;
use highwater_wire::messages::FetchRequest;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Reports until the node stops.
pub(super) fn start<E: Env>(shared: &Arc<Shared<E>>, source: &Arc<Source<E>>) -> Task {
    let (shared, source) = (Arc::clone(shared), Arc::clone(source));
    let env = shared.env.clone();
    env.spawn("reporter", async move {
        let mut connection = None;
        while let Some(logs) = until_stop(&shared, source.reports().next()).await {
            let reported = until_stop(&shared, report(&shared, &source, &mut connection, &logs)).await;
            let Some(Err(error)) = reported else { continue };
            connection = None;
            tracing::debug!(broker = %source.broker(), %error, "a report to the broker failed");
            // The next fetch says as much; this is to be quick, not to be sure.
            let pause = Duration::from_millis(shared.settings.replica_fetch_backoff_ms.unsigned_abs().into());
            until_stop(&shared, sleep(shared.env.clock(), pause / 2)).await;
        }
    })
}

async fn report<E: Env>(
    shared: &Shared<E>,
    source: &Source<E>,
    connection: &mut Option<Connection<E>>,
    logs: &BTreeSet<LogId>,
) -> io::Result<()> {
    let patience = Duration::from_millis(shared.settings.replica_socket_timeout_ms.unsigned_abs().into());
    let link = match connection {
        Some(link) => link,
        None => connection.insert(Connection::open(shared, source.broker(), patience).await?),
    };
    let mut request = FetchRequest { session_epoch: -1, max_bytes: 0, ..requests::empty(shared) };
    for partition in logs.iter().filter_map(|&log| source.partition(log)) {
        if let Some(followed) = partition.followed(source.broker()) {
            requests::add(&mut request, partition.id(), &followed, 0);
        }
    }
    if !request.topics.is_empty() {
        // What it says of the partitions, the fetches find out as well.
        link.call(&request, requests::VERSION, patience).await?;
    }
    Ok(())
}
