//! Noticing that this node is cut off, so that clients do not wait here for what cannot be.
//!
//! A leader that hears neither the controller nor its followers cannot commit anything, and is being replaced on the
//! other side, which it does not hear of. What clients sent it would wait until their patience ends, and with it all
//! that they send after that. So it gives back what waits, as not for it to lead, and takes no more: clients look for
//! the leader elsewhere. While the controller alone is missing, records are committed as ever.

use super::fetcher::until_stop;
use crate::state::Shared;
use highwater_env::{Env, Task, sleep};
use highwater_types::{LeaderEpoch, LogId, Offset, mutant};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a high watermark must have stood still, at most.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Where high watermarks stand that are behind their logs.
type Behind = BTreeMap<LogId, (LeaderEpoch, Offset)>;

/// Looks until the node stops.
pub(super) fn start<E: Env>(shared: &Arc<Shared<E>>) -> Task {
    let shared = Arc::clone(shared);
    let env = shared.env.clone();
    let session = Duration::from_millis(shared.settings.broker_session_timeout_ms.unsigned_abs().into());
    let pause = (session / 8).min(LONGEST_LOOK);
    env.spawn("cut-off", async move {
        let mut behind = None;
        while until_stop(&shared, sleep(shared.env.clock(), pause)).await.is_some() {
            let is_heard = shared.directory.replication().is_heard(shared.env.clock().now());
            if !is_heard && !mutant!("cut-off-parked") {
                behind = Some(look(&shared, &behind.unwrap_or_default()));
            } else if behind.take().is_some() {
                let routing = shared.directory.load();
                routing.partitions().for_each(|partition| partition.progress().reconnected());
            }
        }
    })
}

/// Ends what waits where nothing has moved since the look before; where high watermarks stand now.
fn look<E: Env>(shared: &Shared<E>, before: &Behind) -> Behind {
    let routing = shared.directory.load();
    let mut now = Behind::new();
    for partition in routing.partitions() {
        let Some(standing) = partition.waits_for_others() else {
            // It moved to the end in the moment in which it was found standing.
            partition.progress().reconnected();
            continue;
        };
        if before.get(&partition.id()) == Some(&standing) {
            partition.progress().cut_off();
        }
        now.insert(partition.id(), standing);
    }
    now
}
