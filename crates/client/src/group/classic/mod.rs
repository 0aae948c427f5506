//! The task that speaks for a member in the classic protocol: it joins, and says that the member is alive while its
//! user works on records. It ends when the member is lost, and makes way for another when the member is to join again.

mod join;
mod led;

use super::Partitions;
use super::config::{ClassicAssignor, GroupConfig};
use super::line::{Heard, Line};
use crate::coordinator::Coordinator;
use highwater_env::{Env, sleep, timeout};
use highwater_wire::messages::HeartbeatRequest;
use highwater_wire::{ErrorCode, Str};
use join::{Joining, Outcome};
use led::Led;
use std::sync::Arc;

/// One who speaks for a member.
pub(super) struct Speaker<E: Env> {
    /// For joins, whose answers may take long.
    pub(super) joins: Arc<Coordinator<E>>,
    /// For heartbeats.
    pub(super) coordinator: Arc<Coordinator<E>>,
    pub(super) config: Arc<GroupConfig>,
    pub(super) assignor: ClassicAssignor,
    pub(super) topics: Vec<Str>,
    pub(super) line: Arc<Line>,
}

impl<E: Env> Speaker<E> {
    pub(super) async fn run(self) {
        let joining = Joining {
            coordinator: &self.joins,
            config: &self.config,
            assignor: self.assignor,
            topics: &self.topics,
            line: &self.line,
        };
        let led = match joining.run().await {
            Ok(Outcome::Member(share, led)) => {
                self.line.offer(share);
                led
            }
            Ok(Outcome::Lost) => return self.line.hear(Heard::Lost),
            Err(error) => return self.line.hear(Heard::Refused(error)),
        };
        let now = self.coordinator.client().env().clock().now();
        self.beat(led.map(|demand| Led::new(demand, now))).await;
    }

    async fn beat(&self, mut led: Option<Led>) {
        let client = self.coordinator.client();
        let clock = client.env().clock();
        let membership = self.line.membership();
        let request = HeartbeatRequest {
            group_id: self.coordinator.group().clone(),
            generation_id: membership.generation,
            member_id: membership.id,
            group_instance_id: membership.instance,
        };
        let session = self.config.session_timeout;
        let mut answered = clock.now();
        loop {
            sleep(clock, self.config.heartbeat_interval).await;
            let asked = clock.now();
            if asked.since(self.line.last_poll()) > self.config.max_poll_interval {
                return self.line.hear(Heard::Lost);
            }
            let answer = self.coordinator.call_once(&request, |answer| answer.error_code);
            match timeout(clock, session, answer).await {
                Ok(Ok(answer)) => match answer.error_code {
                    ErrorCode::NONE => answered = asked,
                    ErrorCode::REBALANCE_IN_PROGRESS => {
                        answered = asked;
                        self.line.hear(Heard::Rebalance);
                    }
                    code => {
                        let group = self.coordinator.group();
                        tracing::debug!(%group, code = code.name(), "the member is lost");
                        return self.line.hear(Heard::Lost);
                    }
                },
                Ok(Err(error)) => tracing::debug!(%error, "a heartbeat failed"),
                Err(_) => {}
            }
            if clock.now().since(answered) >= session {
                return self.line.hear(Heard::Lost);
            }
            if let Some(led) = &mut led
                && led.has_changed(client, self.config.heartbeat_interval).await
            {
                self.line.hear(Heard::Rebalance);
            }
        }
    }
}

/// Partitions that somebody assigned.
fn checked(share: Partitions, topics: &[Str]) -> Result<Partitions, String> {
    match share.iter().find(|(topic, partition)| partition.0 < 0 || !topics.contains(topic)) {
        Some((topic, partition)) => Err(format!("{topic}-{partition} is assigned, which nobody wants")),
        None => Ok(share),
    }
}
