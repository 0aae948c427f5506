//! The consumer that shares topics with the other members of its group.

use super::config::{GroupConfig, GroupProtocol};
use super::line::{Heard, Line, Membership};
use super::{Partitions, Positions, Rebalance, classic, consumer_protocol};
use crate::coordinator::Coordinator;
use crate::offsets_of_groups::topics_to_commit;
use crate::{Client, ClientConfig, ClientError, ConsumedRecord, Consumer, StartAt};
use highwater_assign::protocol::NO_GENERATION;
use highwater_env::{Env, First, Purpose, Task, first, sleep};
use highwater_types::{Instant, Offset, PartitionIndex, Uuid};
use highwater_wire::messages::{LeaveGroupRequest, MemberIdentity, OffsetCommitRequest};
use highwater_wire::{ErrorCode, Str};
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// How much longer than the others may take an answer to a join may take.
const JOIN_SLACK: Duration = Duration::from_secs(5);
/// How long to wait for the next epoch after a commit of one before it was refused.
const NEXT_EPOCH: Duration = Duration::from_millis(100);

/// Shares topics with the other members of its group.
pub struct GroupConsumer<E: Env> {
    config: Arc<GroupConfig>,
    topics: Vec<Str>,
    consumer: Consumer<E>,
    /// For joins, whose answers may take long: connections of their own.
    joins: Arc<Coordinator<E>>,
    coordinator: Arc<Coordinator<E>>,
    /// What it was known by last.
    membership: Membership,
    /// Who speaks for it, while it is a member or wants to be one.
    speaker: Option<Speaking>,
    assigned: Partitions,
    /// What the user was told to be revoked.
    revoking: Partitions,
    /// It gave something up that the others wait for, and is to join again (KIP-429).
    rejoins: bool,
    committed: Positions,
    next_commit: Instant,
    rebalances: Vec<Rebalance>,
}

struct Speaking {
    line: Arc<Line>,
    task: Task,
}

impl Drop for Speaking {
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
        let joins = Arc::new(Coordinator::new(client.apart(waits_long), &config.group));
        // Heartbeats must not wait behind fetches.
        let coordinator = Arc::new(Coordinator::new(client.apart(client.config().clone()), &config.group));
        let id = match config.protocol {
            GroupProtocol::Classic { .. } => Str::new(),
            GroupProtocol::Consumer { .. } => {
                let bits: u128 = client.env().entropy(Purpose::Ids).random();
                Str::from(Uuid::from_random(bits).to_string())
            }
        };
        let instance = config.instance.as_deref().map(Str::from);
        Ok(Self {
            consumer: Consumer::new(client, config.consumer.clone())?,
            topics: topics.into_iter().map(|topic| Str::from(topic.as_ref())).collect(),
            joins,
            coordinator,
            membership: Membership { id, generation: NO_GENERATION, joined: NO_GENERATION, instance },
            speaker: None,
            assigned: Partitions::new(),
            revoking: Partitions::new(),
            rejoins: false,
            committed: Positions::new(),
            next_commit: Instant::default(),
            rebalances: Vec::new(),
            config: Arc::new(config),
        })
    }

    /// The member's id and its generation, or its epoch in the consumer protocol, while it is a member.
    pub fn member(&self) -> Option<(Str, i32)> {
        self.membership().map(|membership| (membership.id, membership.generation))
    }

    fn membership(&self) -> Option<Membership> {
        let membership = self.speaker.as_ref()?.line.membership();
        (membership.generation > NO_GENERATION).then_some(membership)
    }

    /// The partitions that it has.
    pub fn assignment(&self) -> impl Iterator<Item = &(Str, PartitionIndex)> {
        self.assigned.iter()
    }

    /// What happened to its partitions since this was last asked, in that order. To be asked after every poll by those
    /// who commit what they have done themselves.
    pub fn take_rebalances(&mut self) -> Vec<Rebalance> {
        std::mem::take(&mut self.rebalances)
    }

    /// The offset of the next record that is handed out of a partition.
    pub fn position(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        self.consumer.position(topic, partition)
    }

    /// Records of the partitions that it has: none if none came in time, or something happened to its partitions. May
    /// take longer than `wait` where offsets are committed or asked for.
    ///
    /// # Errors
    ///
    /// When a partition cannot be read, or the group refuses the member, for a reason that does not pass by itself.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumedRecord>, ClientError> {
        if let Some(speaker) = &self.speaker {
            speaker.line.polled(self.now());
        }
        if !self.settle().await? {
            return Ok(Vec::new());
        }
        let Some(speaker) = &self.speaker else { return Ok(Vec::new()) };
        let line = Arc::clone(&speaker.line);
        match first(self.consumer.poll(wait), line.news.notified()).await {
            First::One(records) => records,
            // What is heard is acted on with the next poll.
            First::Other(()) => Ok(Vec::new()),
        }
    }

    /// Does what there is to do before records are handed out. False: partitions are to be given up with the next poll,
    /// and the user can commit first.
    async fn settle(&mut self) -> Result<bool, ClientError> {
        match self.heard() {
            None => self.speak(),
            Some(Heard::Lost) => {
                self.lose();
                self.speak();
            }
            Some(Heard::Refused(error)) => {
                self.lose();
                return Err(error);
            }
            Some(Heard::Fine | Heard::Rebalance) => {}
        }
        if !self.revoking.is_empty() {
            self.auto_commit().await;
            self.release();
        }
        if let Some(target) = self.speaker.as_ref().and_then(|speaker| speaker.line.target()) {
            let going: Partitions = self.assigned.difference(&target).cloned().collect();
            if !going.is_empty() {
                return Ok(self.revoke(going));
            }
            self.take(target).await?;
        }
        if self.rejoins {
            self.speak();
        } else if let Some(Heard::Rebalance) = self.heard() {
            if self.config.is_eager() && !self.assigned.is_empty() {
                return Ok(self.revoke(self.assigned.clone()));
            }
            self.auto_commit().await;
            self.speak();
        } else if self.now() >= self.next_commit {
            self.auto_commit().await;
        }
        Ok(true)
    }

    fn heard(&self) -> Option<Heard> {
        self.speaker.as_ref().map(|speaker| speaker.line.heard())
    }

    /// The user is told, and the next poll does it.
    fn revoke(&mut self, going: Partitions) -> bool {
        self.rebalances.push(Rebalance::Revoked(going.iter().cloned().collect()));
        self.revoking = going;
        false
    }

    /// Gives up what the user was told of.
    fn release(&mut self) {
        for key in std::mem::take(&mut self.revoking) {
            self.consumer.remove(&key.0, key.1);
            self.assigned.remove(&key);
            self.committed.remove(&key);
        }
        match self.config.protocol {
            GroupProtocol::Consumer { .. } => self.tell_owned(),
            GroupProtocol::Classic { .. } => self.rejoins = !self.config.is_eager(),
        }
    }

    /// Others may have its partitions by now.
    fn lose(&mut self) {
        self.hang_up();
        (self.membership.generation, self.membership.joined) = (NO_GENERATION, NO_GENERATION);
        self.consumer.assign([]);
        self.committed.clear();
        self.revoking.clear();
        self.rejoins = false;
        let lost: Vec<_> = std::mem::take(&mut self.assigned).into_iter().collect();
        if !lost.is_empty() {
            self.rebalances.push(Rebalance::Lost(lost));
        }
    }

    /// Takes what is new of what it is to have.
    async fn take(&mut self, target: Partitions) -> Result<(), ClientError> {
        let added: Partitions = target.difference(&self.assigned).cloned().collect();
        let member = match self.config.protocol {
            GroupProtocol::Consumer { .. } => self.member(),
            GroupProtocol::Classic { .. } => None,
        };
        let committed = match self.coordinator.committed(&added, member).await {
            Ok(committed) => committed,
            // It is asked again when the member has heard of its epoch, or that it is lost.
            Err(error) if is_about_epoch(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let nothing = if self.config.from_beginning { StartAt::Earliest } else { StartAt::Latest };
        for (topic, partition) in &added {
            let known = committed.get(&(topic.clone(), *partition));
            let start = known.map_or(nothing, |offset| StartAt::Offset(*offset));
            self.consumer.add(topic.clone(), *partition, start);
        }
        self.committed.extend(committed);
        self.rebalances.push(Rebalance::Assigned(added.into_iter().collect()));
        if let Some(speaker) = &self.speaker {
            speaker.line.took(&target);
        }
        self.assigned = target;
        self.tell_owned();
        Ok(())
    }

    fn tell_owned(&self) {
        if let Some(speaker) = &self.speaker {
            speaker.line.own(self.assigned.clone());
        }
    }

    /// Has somebody speak for the member: it joins, with what it has.
    fn speak(&mut self) {
        self.hang_up();
        self.rejoins = false;
        let line = Arc::new(Line::new(self.membership.clone(), self.assigned.clone(), self.now()));
        let env = self.coordinator.client().env().clone();
        let (config, topics) = (Arc::clone(&self.config), self.topics.clone());
        let (coordinator, shared) = (Arc::clone(&self.coordinator), Arc::clone(&line));
        let task = match &self.config.protocol {
            GroupProtocol::Classic { assignor } => {
                let joins = Arc::clone(&self.joins);
                let assignor = *assignor;
                let speaker = classic::Speaker { joins, coordinator, config, assignor, topics, line: shared };
                env.spawn("group-member", speaker.run())
            }
            GroupProtocol::Consumer { assignor } => {
                let assignor = assignor.clone();
                let speaker = consumer_protocol::Speaker::new(coordinator, config, assignor, topics, shared);
                env.spawn("group-member", speaker.run())
            }
        };
        self.speaker = Some(Speaking { line, task });
    }

    fn hang_up(&mut self) {
        if let Some(speaker) = self.speaker.take() {
            self.membership = speaker.line.membership();
        }
    }

    /// Commits all that was handed out.
    ///
    /// # Errors
    ///
    /// When it is not known to be committed: among others because the member is none any more, or, in the classic
    /// protocol, because the group is about to share its partitions anew.
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
        let topics = topics_to_commit(&offsets);
        let deadline = self.now().after(self.coordinator.client().config().operation_timeout);
        loop {
            let Some(membership) = self.membership() else {
                return Err(self.coordinator.refused(ErrorCode::UNKNOWN_MEMBER_ID, None));
            };
            if membership.joined != membership.generation {
                // Nobody knows yet whether these partitions stay.
                return Err(self.coordinator.refused(ErrorCode::REBALANCE_IN_PROGRESS, None));
            }
            let request = OffsetCommitRequest {
                group_id: self.coordinator.group().clone(),
                generation_id_or_member_epoch: membership.generation,
                member_id: membership.id,
                group_instance_id: membership.instance,
                topics: topics.clone(),
                ..OffsetCommitRequest::default()
            };
            match self.coordinator.commit(&request).await {
                Ok(()) => break,
                // The member's next epoch is on its way.
                Err(error)
                    if error.code() == Some(ErrorCode::STALE_MEMBER_EPOCH)
                        && matches!(self.heard(), Some(Heard::Fine))
                        && self.now() < deadline =>
                {
                    if let Some(speaker) = &self.speaker {
                        speaker.line.wake.notify_one();
                    }
                    sleep(self.coordinator.client().env().clock(), NEXT_EPOCH).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.committed.extend(offsets);
        Ok(())
    }

    /// Leaves the group, so that the others need not wait for its session to end. A static member stays; in the
    /// consumer protocol it says that it may come back.
    ///
    /// # Errors
    ///
    /// When the coordinator does not say that it left.
    pub async fn close(mut self) -> Result<(), ClientError> {
        self.auto_commit().await;
        let is_member = self.member().is_some();
        let Some(speaker) = self.speaker.take().filter(|_| is_member) else { return Ok(()) };
        let line = Arc::clone(&speaker.line);
        drop(speaker);
        if matches!(self.config.protocol, GroupProtocol::Consumer { .. }) {
            return consumer_protocol::leave(&self.coordinator, &line).await;
        }
        if self.membership.instance.is_some() {
            return Ok(());
        }
        let member_id = line.membership().id;
        let request = LeaveGroupRequest {
            group_id: self.coordinator.group().clone(),
            member_id: member_id.clone(),
            members: vec![MemberIdentity { member_id, ..MemberIdentity::default() }],
        };
        self.coordinator.call(&request, |answer| answer.error_code).await.map(drop)
    }

    /// Commits what was handed out, if that is to be done by itself.
    async fn auto_commit(&mut self) {
        let Some(interval) = self.config.auto_commit else { return };
        if let Err(error) = self.commit().await {
            // It is committed with the next, or read again by whoever has the partitions then.
            tracing::debug!(group = %self.config.group, %error, "offsets were not committed");
        }
        self.next_commit = self.now().after(interval);
    }

    fn now(&self) -> Instant {
        self.coordinator.client().env().clock().now()
    }
}

/// Whether the coordinator and a member of the consumer protocol do not agree on the member's epoch.
fn is_about_epoch(error: &ClientError) -> bool {
    matches!(error.code(), Some(ErrorCode::STALE_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID))
}
