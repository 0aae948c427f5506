//! Looking through this node's logs for damage, in the background.
//!
//! What nobody reads rots unseen, and may be all that is left when another replica is lost. So all partitions are read
//! again and again, slowly, and every batch is checked. What is found is quarantined, and put back by
//! [`crate::replication`].

use crate::maintenance::rests;
use crate::state::Shared;
use highwater_env::{Env, Purpose, Rng, Task};
use highwater_types::{LogId, mutant};
use rand::RngExt as _;
use std::sync::Arc;
use std::time::Duration;

/// How much is read at once, at most: what `log.scrub.io.max.bytes.per.second` allows in this time.
const PIECE: Duration = Duration::from_millis(100);
/// The most that is read at once.
const MAX_PIECE_BYTES: u64 = 1 << 20;
/// How long after a start the first pass begins, if passes are not more frequent than that.
const FIRST_PASS_AFTER: Duration = Duration::from_secs(30);

/// Looks through the logs again and again, until the node stops.
pub(crate) fn start<E: Env>(shared: &Arc<Shared<E>>) -> Task {
    let shared = Arc::clone(shared);
    let env = shared.env.clone();
    env.spawn("scrub", async move {
        let Ok(interval) = u64::try_from(shared.settings.log_scrub_interval_ms).map(Duration::from_millis)
        else {
            return;
        };
        let mut rng = shared.env.entropy(Purpose::Jitter);
        let mut pause = FIRST_PASS_AFTER.min(interval);
        while rests(&shared, pause).await {
            if mutant!("scrub-idle") {
                continue;
            }
            let begun = shared.env.clock().now();
            pass(&shared, &mut rng).await;
            pause = interval.saturating_sub(shared.env.clock().now().since(begun)).max(PIECE);
        }
    })
}

/// One pass over all logs. It begins anywhere: a node that is restarted often would else never come to the last ones.
async fn pass<E: Env>(shared: &Shared<E>, rng: &mut Rng) {
    let routing = shared.directory.load();
    let partitions = routing.partitions();
    let mut logs: Vec<LogId> = partitions.map(|partition| partition.id()).collect();
    drop(routing);
    if logs.is_empty() {
        return;
    }
    let first = rng.random_range(0..logs.len());
    logs.rotate_left(first);
    let found = shared.metrics.damage_found.get();
    for log in logs {
        if !scrub(shared, log).await {
            return;
        }
    }
    let found = shared.metrics.damage_found.get() - found;
    tracing::debug!(found, "all logs were looked through for damage");
}

/// Looks through one log; false if the node stops meanwhile.
async fn scrub<E: Env>(shared: &Shared<E>, log: LogId) -> bool {
    let rate = shared.settings.log_scrub_io_max_bytes_per_second.unsigned_abs().max(1);
    let piece = (rate / 10).clamp(1, MAX_PIECE_BYTES) as usize;
    let mut next = None;
    loop {
        // Looked up each time: who keeps a partition keeps the files of one that is deleted.
        let Some(partition) = shared.directory.load().partition(log).cloned() else { return true };
        let from = next.unwrap_or_else(|| partition.log().start_offset());
        let scrubbed = match partition.log().scrub(from, piece).await {
            Ok(scrubbed) => scrubbed,
            Err(error) => {
                tracing::warn!(%log, %error, "a log could not be looked through for damage");
                return !shared.stop.is_raised();
            }
        };
        drop(partition);
        shared.metrics.scrubbed_bytes.add(scrubbed.bytes as u64);
        let pause = Duration::from_secs_f64(scrubbed.bytes as f64 / rate as f64);
        if !rests(shared, pause).await {
            return false;
        }
        next = scrubbed.next;
        if next.is_none() {
            return true;
        }
    }
}
