//! What a node does without being asked: retention.

use crate::state::Shared;
use highwater_env::{Env, Task};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Applies retention again and again, until the node stops. A pass that has begun is finished.
pub(crate) fn start<E: Env>(shared: &Arc<Shared<E>>) -> Task {
    let shared = Arc::clone(shared);
    let env = shared.env.clone();
    let interval = Duration::from_millis(shared.settings.log_retention_check_interval_ms.unsigned_abs());
    env.spawn("retention", async move {
        while rests(&shared, interval).await {
            let routing = shared.directory.load();
            let bound = |log| routing.partition(log).map(|partition| partition.high_watermark());
            let cleaned = shared.store.clean_up(bound).await;
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
