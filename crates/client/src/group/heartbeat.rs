//! The task that says that a member is alive, while its user works on records.

use super::membership::Membership;
use crate::coordinator::Coordinator;
use highwater_env::{Env, Task, sleep, timeout};
use highwater_types::Instant;
use highwater_wire::ErrorCode;
use highwater_wire::messages::HeartbeatRequest;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What a member has heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Heard {
    /// It may go on.
    #[default]
    Fine,
    /// The group shares its partitions anew: it is to join.
    Rebalance,
    /// It is no member any more, or may be none: others may have its partitions.
    Lost,
}

/// What the task and the member share.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    heard: Mutex<Heard>,
    /// There is something to hear.
    pub(super) news: Notify,
    /// When the user last polled.
    polled: AtomicU64,
}

impl Pulse {
    pub(super) fn heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn polled(&self, now: Instant) {
        self.polled.store(now.0, Ordering::Relaxed);
    }

    fn hear(&self, heard: Heard) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
        self.news.notify_one();
    }
}

/// How the task beats.
pub(super) struct Rhythm {
    pub(super) interval: Duration,
    pub(super) session: Duration,
    pub(super) max_poll_interval: Duration,
}

/// Starts it. It ends when the member is lost.
pub(super) fn start<E: Env>(
    coordinator: Arc<Coordinator<E>>,
    membership: Membership,
    pulse: Arc<Pulse>,
    rhythm: Rhythm,
) -> Task {
    let env = coordinator.client().env().clone();
    let name = env.clone();
    name.spawn("group-heartbeat", async move {
        let clock = env.clock();
        let request = HeartbeatRequest {
            group_id: coordinator.group().clone(),
            generation_id: membership.generation,
            member_id: membership.id,
            group_instance_id: membership.instance,
        };
        let mut answered = clock.now();
        loop {
            sleep(clock, rhythm.interval).await;
            let asked = clock.now();
            let polled = Instant(pulse.polled.load(Ordering::Relaxed));
            if asked.since(polled) > rhythm.max_poll_interval {
                return pulse.hear(Heard::Lost);
            }
            let answer = coordinator.call_once(&request, |answer| answer.error_code);
            match timeout(clock, rhythm.session, answer).await {
                Ok(Ok(answer)) => match answer.error_code {
                    ErrorCode::NONE => answered = asked,
                    ErrorCode::REBALANCE_IN_PROGRESS => {
                        answered = asked;
                        pulse.hear(Heard::Rebalance);
                    }
                    code => {
                        tracing::debug!(group = %coordinator.group(), code = code.name(), "the member is lost");
                        return pulse.hear(Heard::Lost);
                    }
                },
                Ok(Err(error)) => tracing::debug!(%error, "a heartbeat failed"),
                Err(_) => {}
            }
            if clock.now().since(answered) >= rhythm.session {
                return pulse.hear(Heard::Lost);
            }
        }
    })
}
