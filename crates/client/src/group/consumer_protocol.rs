//! The task that speaks for a member in the consumer protocol (KIP-848). With its heartbeats the member joins, says
//! what it has, and hears what it is to have: what it is to give up first, and what is new once nobody else has it. The
//! task ends when the member is lost.

use super::Partitions;
use super::config::GroupConfig;
use super::line::{Heard, Line};
use crate::ClientError;
use crate::coordinator::Coordinator;
use highwater_env::{Env, first, sleep};
use highwater_types::{PartitionIndex, TopicId};
use highwater_wire::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The epoch of one that joins.
const JOINS: i32 = 0;
/// The epoch of one that leaves.
const LEAVES: i32 = -1;
/// The epoch of a static member that leaves, and may come back.
const LEAVES_FOR_A_WHILE: i32 = -2;

/// One who speaks for a member.
pub(super) struct Speaker<E: Env> {
    coordinator: Arc<Coordinator<E>>,
    config: Arc<GroupConfig>,
    assignor: Option<String>,
    topics: Vec<Str>,
    line: Arc<Line>,
    /// What the coordinator was last heard to know the member to have. None: it is to be told everything.
    told: Option<Partitions>,
    /// What the member is to have, as the coordinator last said.
    assignment: Option<Assignment>,
    /// What of it the member has been told.
    offered: Option<Partitions>,
    ids: BTreeMap<Str, TopicId>,
    interval: Duration,
}

impl<E: Env> Speaker<E> {
    pub(super) fn new(
        coordinator: Arc<Coordinator<E>>,
        config: Arc<GroupConfig>,
        assignor: Option<String>,
        topics: Vec<Str>,
        line: Arc<Line>,
    ) -> Self {
        let interval = config.heartbeat_interval;
        let (told, assignment, offered, ids) = (None, None, None, BTreeMap::new());
        Self { coordinator, config, assignor, topics, line, told, assignment, offered, ids, interval }
    }

    pub(super) async fn run(mut self) {
        let env = self.coordinator.client().env().clone();
        let mut failures = 0;
        loop {
            let wait = match self.beat().await {
                Ok(true) => {
                    failures = 0;
                    self.interval
                }
                Ok(false) => return self.line.hear(Heard::Lost),
                Err(error) if error.is_retriable() => {
                    tracing::debug!(%error, "a heartbeat failed");
                    // Nobody knows what of it arrived.
                    self.told = None;
                    failures += 1;
                    self.coordinator.client().backoff(failures)
                }
                Err(error) => return self.line.hear(Heard::Refused(error)),
            };
            first(self.line.wake.notified(), sleep(env.clock(), wait)).await;
            if env.clock().now().since(self.line.last_poll()) > self.config.max_poll_interval {
                if let Err(error) = leave(&self.coordinator, &self.line).await {
                    tracing::debug!(%error, "a member that is not used any more did not leave");
                }
                return self.line.hear(Heard::Lost);
            }
        }
    }

    /// One heartbeat; false: the member is lost.
    async fn beat(&mut self) -> Result<bool, ClientError> {
        let owned = self.line.owned();
        let request = self.request(&owned);
        let answer = self.coordinator.call_once(&request, |answer| answer.error_code).await?;
        match answer.error_code {
            ErrorCode::NONE => {
                self.told = Some(owned);
                self.take_in(answer).await?;
                Ok(true)
            }
            ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID => Ok(false),
            // Without its members the group was forgotten.
            ErrorCode::GROUP_ID_NOT_FOUND if request.member_epoch != JOINS => Ok(false),
            code => Err(self.coordinator.refused(code, answer.error_message.as_deref())),
        }
    }

    /// What did not change since the last heartbeat is not said again.
    fn request(&self, owned: &Partitions) -> ConsumerGroupHeartbeatRequest {
        let membership = self.line.membership();
        let whole = self.told.is_none();
        let millis = i32::try_from(self.config.max_poll_interval.as_millis()).unwrap_or(i32::MAX);
        ConsumerGroupHeartbeatRequest {
            group_id: self.coordinator.group().clone(),
            member_id: membership.id,
            member_epoch: membership.generation.max(JOINS),
            instance_id: membership.instance,
            rack_id: self.config.rack.as_deref().filter(|_| whole).map(Str::from),
            rebalance_timeout_ms: if whole { millis } else { -1 },
            subscribed_topic_names: whole.then(|| self.topics.clone()),
            subscribed_topic_regex: None,
            server_assignor: self.assignor.as_deref().filter(|_| whole).map(Str::from),
            topic_partitions: (self.told.as_ref() != Some(owned)).then(|| self.by_id(owned)),
        }
    }

    /// Partitions as the coordinator is told of them.
    fn by_id(&self, partitions: &Partitions) -> Vec<TopicPartitions> {
        let mut topics: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for (topic, partition) in partitions {
            if let Some(id) = self.ids.get(topic) {
                topics.entry(*id).or_default().push(*partition);
            }
        }
        topics.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
    }

    async fn take_in(&mut self, answer: ConsumerGroupHeartbeatResponse) -> Result<(), ClientError> {
        let id = self.line.membership().id;
        self.line.identify(id, answer.member_epoch);
        self.interval = Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0))
            .max(self.coordinator.client().config().retry_backoff);
        self.assignment = answer.assignment.or(self.assignment.take());
        let Some(assignment) = self.assignment.clone() else { return Ok(()) };
        let target = self.by_name(&assignment).await?;
        if self.offered.as_ref() != Some(&target) {
            self.offered = Some(target.clone());
            self.line.offer(target);
        }
        Ok(())
    }

    /// Partitions as the user knows them. Topics that no broker knows yet are left out, and looked for again with the
    /// next heartbeat.
    async fn by_name(&mut self, assignment: &Assignment) -> Result<Partitions, ClientError> {
        let is_known = |ids: &BTreeMap<Str, TopicId>, id| ids.values().any(|known| *known == id);
        if assignment.topic_partitions.iter().any(|topic| !is_known(&self.ids, topic.topic_id)) {
            let names: Vec<&str> = self.topics.iter().map(|topic| &**topic).collect();
            let metadata = match self.coordinator.client().refresh(&names, false).await {
                Err(error) if !error.is_retriable() => return Err(error),
                _ => self.coordinator.client().metadata(),
            };
            let known = self.topics.iter().filter_map(|name| Some((name, metadata.topics.get(name)?.id)));
            self.ids.extend(known.map(|(name, id)| (name.clone(), id)));
        }
        let mut target = Partitions::new();
        for topic in &assignment.topic_partitions {
            let Some((name, _)) = self.ids.iter().find(|(_, id)| **id == topic.topic_id) else { continue };
            if let Some(partition) = topic.partitions.iter().find(|partition| partition.0 < 0) {
                let (peer, cause) = ("the coordinator".to_owned(), format!("{name}-{partition} is assigned"));
                return Err(ClientError::Protocol { peer, cause });
            }
            target.extend(topic.partitions.iter().map(|partition| (name.clone(), *partition)));
        }
        Ok(target)
    }
}

/// A member leaves; a static one so that it may come back to what it has.
pub(super) async fn leave<E: Env>(coordinator: &Coordinator<E>, line: &Line) -> Result<(), ClientError> {
    let membership = line.membership();
    let member_epoch = if membership.instance.is_some() { LEAVES_FOR_A_WHILE } else { LEAVES };
    let request = ConsumerGroupHeartbeatRequest {
        group_id: coordinator.group().clone(),
        member_id: membership.id,
        member_epoch,
        instance_id: membership.instance,
        ..ConsumerGroupHeartbeatRequest::default()
    };
    coordinator.call(&request, |answer| answer.error_code).await.map(drop)
}
