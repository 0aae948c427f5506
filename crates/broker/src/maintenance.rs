//! What a node does without being asked: retention and compaction.

use crate::directory::Routing;
use crate::state::Shared;
use highwater_env::{Env, Task};
use highwater_types::{LogId, Offset, mutant};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// The shortest rest between two looks at which logs are due.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// Up to where a log's records may be removed. One whose partition is not known yet has neither a high watermark nor
/// its own configuration: nothing of it is touched.
fn bound<E: Env>(routing: &Routing<E>, log: LogId) -> Option<Offset> {
    let known = routing.partition(log).map(|partition| partition.high_watermark());
    if mutant!("retention-unknown") { known } else { Some(known.unwrap_or_default()) }
}

/// Applies retention again and again, until the node stops. A pass that has begun is finished.
pub(crate) fn start<E: Env>(shared: &Arc<Shared<E>>) -> Task {
    let shared = Arc::clone(shared);
    let env = shared.env.clone();
    let interval = Duration::from_millis(shared.settings.log_retention_check_interval_ms.unsigned_abs());
    env.spawn("retention", async move {
        while rests(&shared, interval).await {
            let routing = shared.directory.load();
            let cleaned = shared.store.clean_up(|log| bound(&routing, log)).await;
            if cleaned.segments > 0 || cleaned.failures > 0 {
                tracing::info!(
                    segments = cleaned.segments,
                    bytes = cleaned.bytes,
                    failures = cleaned.failures,
                    "retention removed old segments"
                );
            }
        }
    })
}

/// Compacts logs again and again, until the node stops.
pub(crate) fn start_cleaner<E: Env>(shared: &Arc<Shared<E>>) -> Task {
    let shared = Arc::clone(shared);
    let env = shared.env.clone();
    let pause = Duration::from_millis(shared.settings.log_cleaner_backoff_ms.unsigned_abs()).max(LEAST_PAUSE);
    let memory = usize::try_from(shared.settings.log_cleaner_dedupe_buffer_size).unwrap_or(usize::MAX);
    env.spawn("log-cleaner", async move {
        while rests(&shared, pause).await {
            loop {
                let routing = shared.directory.load();
                let bound = |log| bound(&routing, log);
                let done = shared.store.compact(bound, memory, || shared.stop.is_raised()).await;
                for pass in &done {
                    let (log, up_to, before, saved) =
                        (pass.log, pass.up_to, pass.before_bytes, pass.saved_bytes);
                    tracing::info!(%log, %up_to, before, saved, "compacted a log");
                }
                if done.is_empty() || shared.stop.is_raised() {
                    break;
                }
            }
        }
    })
}

/// Waits for a while; false if the node stops meanwhile.
pub(crate) async fn rests<E: Env>(shared: &Shared<E>, interval: Duration) -> bool {
    let clock = shared.env.clock();
    let mut sleep = clock.sleep_until(clock.now().after(interval));
    let mut stopped = pin!(shared.stop.raised());
    poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        sleep.as_mut().poll(cx).map(|()| true)
    })
    .await
}
