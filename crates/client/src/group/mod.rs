//! The consumer that shares topics with the other members of its group.
//!
//! [`GroupConsumer::poll`] does what there is to do: joins, asks for what was committed, hands out records, commits
//! what was handed out before. Heartbeats go out from a task of their own while the user works on records. Members
//! give all their partitions up for a rebalance ("eager").

mod assignor;
mod config;
mod heartbeat;
mod membership;
mod protocol;

pub use config::GroupConfig;
pub(crate) use protocol::assigned_partitions;

use crate::coordinator::Coordinator;
use crate::offsets_of_groups::topics_to_commit;
use crate::{Client, ClientConfig, ClientError, ConsumedRecord, Consumer, StartAt};
use heartbeat::{Heard, Pulse, Rhythm};
use highwater_env::{Env, Task};
use highwater_types::{Instant, Offset, PartitionIndex};
use highwater_wire::messages::{LeaveGroupRequest, MemberIdentity, OffsetCommitRequest};
use highwater_wire::{ErrorCode, Str};
use membership::{Membership, Partitions};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How much longer than the others may take an answer to a join may take.
const JOIN_SLACK: Duration = Duration::from_secs(5);

/// What happened to a member's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// It has these from now on.
    Assigned(Vec<(Str, PartitionIndex)>),
    /// It gives these up, and could still commit.
    Revoked(Vec<(Str, PartitionIndex)>),
    /// It had these, and others may have them by now.
    Lost(Vec<(Str, PartitionIndex)>),
}

/// Where each partition is to be read on.
pub type Positions = BTreeMap<(Str, PartitionIndex), Offset>;

/// Shares topics with the other members of its group.
pub struct GroupConsumer<E: Env> {
    config: GroupConfig,
    topics: Vec<Str>,
    consumer: Consumer<E>,
    /// For joins, whose answers may take long: connections of their own.
    joins: Coordinator<E>,
    coordinator: Arc<Coordinator<E>>,
    membership: Membership,
    /// While it is a member.
    beating: Option<Beating>,
    assigned: Partitions,
    committed: Positions,
    next_commit: Instant,
    rebalances: Vec<Rebalance>,
}

struct Beating {
    pulse: Arc<Pulse>,
    task: Task,
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<E: Env> GroupConsumer<E> {
    /// A member that joins with the first poll.
    ///
    /// # Errors
    ///
    /// When the configuration contradicts itself.
    pub fn new(
        client: Client<E>,
        topics: impl IntoIterator<Item = impl AsRef<str>>,
        config: GroupConfig,
    ) -> Result<Self, ClientError> {
        config.check()?;
        let waits_long = ClientConfig {
            request_timeout: client.config().request_timeout.max(config.max_poll_interval + JOIN_SLACK),
            ..client.config().clone()
        };
        let joins = Coordinator::new(client.apart(waits_long), &config.group);
        // Heartbeats must not wait behind fetches.
        let coordinator = Arc::new(Coordinator::new(client.apart(client.config().clone()), &config.group));
        let instance = config.instance.as_deref().map(Str::from);
        Ok(Self {
            consumer: Consumer::new(client, config.consumer.clone())?,
            topics: topics.into_iter().map(|topic| Str::from(topic.as_ref())).collect(),
            joins,
            coordinator,
            membership: Membership { instance, ..Membership::default() },
            beating: None,
            assigned: Partitions::new(),
            committed: Positions::new(),
            next_commit: Instant::default(),
            rebalances: Vec::new(),
            config,
        })
    }

    /// The member's id and generation, while it is one.
    pub fn member(&self) -> Option<(&str, i32)> {
        self.beating.as_ref().map(|_| (&*self.membership.id, self.membership.generation))
    }

    /// The partitions that it has.
    pub fn assignment(&self) -> impl Iterator<Item = &(Str, PartitionIndex)> {
        self.assigned.iter()
    }

    /// What happened to its partitions since this was last asked.
    pub fn take_rebalances(&mut self) -> Vec<Rebalance> {
        std::mem::take(&mut self.rebalances)
    }

    /// The offset of the next record that is handed out of a partition.
    pub fn position(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        self.consumer.position(topic, partition)
    }

    /// Records of the partitions that it has: none if none came in time. Takes longer than `wait` where it has to join.
    ///
    /// # Errors
    ///
    /// When a partition cannot be read, or the group refuses the member, for a reason that does not pass by itself.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumedRecord>, ClientError> {
        let now = self.now();
        if let Some(beating) = &self.beating {
            beating.pulse.polled(now);
        }
        match self.beating.as_ref().map(|beating| beating.pulse.heard()) {
            Some(Heard::Fine) => {
                if self.config.auto_commit.is_some() && now >= self.next_commit {
                    self.auto_commit().await;
                }
            }
            Some(Heard::Rebalance) => {
                if self.config.auto_commit.is_some() {
                    self.auto_commit().await;
                }
                self.give_up(Rebalance::Revoked);
                self.join().await?;
            }
            Some(Heard::Lost) => {
                self.give_up(Rebalance::Lost);
                self.join().await?;
            }
            None => self.join().await?,
        }
        let Some(beating) = &self.beating else { return Ok(Vec::new()) };
        let pulse = Arc::clone(&beating.pulse);
        let (mut news, mut records) = (pin!(pulse.news.notified()), pin!(self.consumer.poll(wait)));
        poll_fn(|cx| {
            if let Poll::Ready(records) = records.as_mut().poll(cx) {
                return Poll::Ready(records);
            }
            // What is heard is acted on with the next poll.
            news.as_mut().poll(cx).map(|()| Ok(Vec::new()))
        })
        .await
    }

    /// Commits all that was handed out.
    ///
    /// # Errors
    ///
    /// When it is not known to be committed: among others because the member is none any more.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let handed_out: Positions = self
            .assigned
            .iter()
            .filter_map(|(topic, partition)| {
                let offset = self.consumer.position(topic, *partition)?;
                Some(((topic.clone(), *partition), offset))
            })
            .filter(|(key, offset)| self.committed.get(key) != Some(offset))
            .collect();
        self.commit_offsets(handed_out).await
    }

    /// Commits offsets: the next ones to be read.
    ///
    /// # Errors
    ///
    /// As [`Self::commit`].
    pub async fn commit_offsets(&mut self, offsets: Positions) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let Membership { id, generation, instance } = self.membership.clone();
        let topics = topics_to_commit(&offsets);
        let request = OffsetCommitRequest {
            group_id: self.coordinator.group().clone(),
            generation_id_or_member_epoch: generation,
            member_id: id,
            group_instance_id: instance,
            topics,
            ..OffsetCommitRequest::default()
        };
        self.coordinator.commit(&request).await?;
        self.committed.extend(offsets);
        Ok(())
    }

    /// Leaves the group, so that the others need not wait for its session to end. A static member stays.
    ///
    /// # Errors
    ///
    /// When the coordinator does not say that it left.
    pub async fn close(mut self) -> Result<(), ClientError> {
        if self.config.auto_commit.is_some() {
            self.auto_commit().await;
        }
        if self.beating.take().is_none() || self.membership.instance.is_some() {
            return Ok(());
        }
        let request = LeaveGroupRequest {
            group_id: self.coordinator.group().clone(),
            member_id: self.membership.id.clone(),
            members: vec![MemberIdentity {
                member_id: self.membership.id.clone(),
                ..MemberIdentity::default()
            }],
        };
        self.coordinator.call(&request, |answer| answer.error_code).await.map(drop)
    }

    async fn auto_commit(&mut self) {
        if let Err(error) = self.commit().await {
            // It is committed with the next, or read again by whoever has the partitions then.
            tracing::debug!(group = %self.config.group, %error, "offsets were not committed");
        }
        self.next_commit = self.now().after(self.config.auto_commit.unwrap_or_default());
    }

    fn give_up(&mut self, how: impl FnOnce(Vec<(Str, PartitionIndex)>) -> Rebalance) {
        self.beating = None;
        self.consumer.assign([]);
        self.committed.clear();
        let given_up: Vec<_> = std::mem::take(&mut self.assigned).into_iter().collect();
        if !given_up.is_empty() {
            self.rebalances.push(how(given_up));
        }
    }

    async fn join(&mut self) -> Result<(), ClientError> {
        let assigned =
            membership::join(&self.joins, &self.config, &self.topics, &mut self.membership).await?;
        let pulse = Arc::new(Pulse::default());
        pulse.polled(self.now());
        let rhythm = Rhythm {
            interval: self.config.heartbeat_interval,
            session: self.config.session_timeout,
            max_poll_interval: self.config.max_poll_interval,
        };
        let (coordinator, membership) = (Arc::clone(&self.coordinator), self.membership.clone());
        let task = heartbeat::start(coordinator, membership, Arc::clone(&pulse), rhythm);
        self.beating = Some(Beating { pulse, task });
        let committed = self.coordinator.committed(&assigned).await?;
        let nothing = if self.config.from_beginning { StartAt::Earliest } else { StartAt::Latest };
        self.consumer.assign(assigned.iter().map(|(topic, partition)| {
            let known = committed.get(&(topic.clone(), *partition));
            (topic.clone(), *partition, known.map_or(nothing, |offset| StartAt::Offset(*offset)))
        }));
        self.committed = committed;
        self.next_commit = self.now().after(self.config.auto_commit.unwrap_or_default());
        self.rebalances.push(Rebalance::Assigned(assigned.iter().cloned().collect()));
        self.assigned = assigned;
        Ok(())
    }

    fn now(&self) -> Instant {
        self.coordinator.client().env().clock().now()
    }
}

/// The first error in an answer to a commit.
pub(crate) fn first_error(codes: impl IntoIterator<Item = ErrorCode>) -> ErrorCode {
    codes.into_iter().find(|code| !code.is_ok()).unwrap_or(ErrorCode::NONE)
}
