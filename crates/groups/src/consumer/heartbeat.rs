//! ConsumerGroupHeartbeat: joins, stays, and brings a member nearer to what it is to have.

use super::assignor::Assignor;
use super::{
    Consumers, JOINS, LEAVES, LEAVES_FOR_A_WHILE, Member, MemberState, Partitions, gathered, listed,
};
use crate::desk::Desk;
use crate::group::Group;
use crate::records::{ConsumerMemberValue, CurrentMemberValue, OwnedPartitions};
use crate::timers::Timer;
use crate::topics::Topics;
use crate::{Answer, Client, Now, Record, Token};
use highwater_wire::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use highwater_wire::{ErrorCode, Str};

/// From here on a member makes its own id.
const OWN_ID_FROM: i16 = 1;

/// What is refused, and in which words.
pub(super) type Refusal = (ErrorCode, &'static str);

pub(crate) fn heartbeat_refused((error_code, message): Refusal) -> Answer {
    refused(error_code, Str::from_static(message))
}

fn refused(error_code: ErrorCode, message: Str) -> Answer {
    Answer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
        error_code,
        error_message: Some(message),
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

/// Whether a request can be what it says it is.
pub(crate) fn check(client: &Client<'_>, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |message| Err((ErrorCode::INVALID_REQUEST, message));
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if request.member_id.is_empty() && (client.version >= OWN_ID_FROM || request.member_epoch != JOINS) {
        return invalid("MemberId can't be empty.");
    }
    if request.instance_id.as_ref().is_some_and(|instance| instance.is_empty()) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_ref().is_some_and(|rack| rack.is_empty()) {
        return invalid("RackId can't be empty.");
    }
    if request.member_epoch < LEAVES_FOR_A_WHILE {
        return invalid("MemberEpoch is invalid.");
    }
    if request.member_epoch == LEAVES_FOR_A_WHILE && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    }
    if request.member_epoch == JOINS {
        if request.rebalance_timeout_ms < 0 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.topic_partitions.as_ref().is_none_or(|partitions| !partitions.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be provided.");
        }
    }
    if let Some(assignor) = &request.server_assignor
        && !assignor.is_empty()
        && Assignor::of_name(assignor).is_none()
    {
        return Err((ErrorCode::UNSUPPORTED_ASSIGNOR, "ServerAssignor is not one of: uniform, range."));
    }
    if let Some(regex) = &request.subscribed_topic_regex
        && !regex.is_empty()
        && super::subscribe::compiled(regex).is_err()
    {
        return Err((
            ErrorCode::INVALID_REGULAR_EXPRESSION,
            "SubscribedTopicRegex is not a regular expression.",
        ));
    }
    Ok(())
}

/// What is to be written, as it comes to be. Every record is applied at once.
pub(super) struct Draft<'a> {
    pub(super) group: Str,
    pub(super) consumers: &'a mut Consumers,
    pub(super) records: Vec<Record>,
}

impl Draft<'_> {
    pub(super) fn add(&mut self, record: Record) {
        self.consumers.apply(&record);
        self.records.push(record);
    }

    /// What a member has, from now on.
    pub(super) fn set_current(&mut self, id: &Str, value: CurrentMemberValue) {
        self.add(Record::CurrentMember(self.group.clone(), id.clone(), Some(value)));
    }
}

impl Group {
    pub(crate) fn consumer_heartbeat(
        &mut self,
        desk: &mut Desk,
        token: Token,
        client: &Client<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        if matches!(request.member_epoch, LEAVES | LEAVES_FOR_A_WHILE) {
            return self.consumer_leave(desk, token, request, topics, now);
        }
        let upgrades = self.consumers.is_none();
        let mut records = Vec::new();
        if upgrades {
            if request.member_epoch != JOINS {
                let refusal = match self.classic.is_vacant() {
                    true => (ErrorCode::UNKNOWN_MEMBER_ID, "The member is not known."),
                    false => {
                        (ErrorCode::GROUP_ID_NOT_FOUND, "The group has members of the classic protocol.")
                    }
                };
                return desk.answer(token, heartbeat_refused(refusal));
            }
            match self.upgraded(&desk.settings.consumer, topics) {
                Ok((consumers, moved)) => (self.consumers, records) = (Some(consumers), moved),
                Err(why) => return desk.answer(token, refused(ErrorCode::GROUP_ID_NOT_FOUND, why)),
            }
        }
        let consumers = self.consumers.get_or_insert_default();
        let mut draft = Draft { group: self.id.clone(), consumers, records };
        let before = draft.records.len();
        match draft.heartbeat(desk, client, request, topics) {
            Ok((id, response)) => {
                let records = draft.records;
                let is_step =
                    |record: &Record| matches!(record, Record::CurrentMember(_, of, _) if *of == id);
                let moved = records.iter().any(is_step);
                if upgrades {
                    self.end_classic(desk);
                    self.begin_consumer_sessions(desk, now);
                }
                self.consumer_session(desk, &id, moved, now);
                self.write_and_answer(desk, records, token, Answer::ConsumerHeartbeat(response));
            }
            Err(refusal) => {
                debug_assert!(draft.records.len() == before, "who is refused changes nothing");
                if upgrades {
                    self.consumers = None;
                }
                desk.answer(token, heartbeat_refused(refusal));
            }
        }
    }

    /// Begins a member's session anew, and sees to it that it gives up in time what it has to: in a time that begins
    /// whenever it takes a step.
    pub(super) fn consumer_session(&mut self, desk: &mut Desk, id: &Str, moved: bool, now: Now) {
        let Some(member) = self.consumers.as_mut().and_then(|consumers| consumers.members.get_mut(id)) else {
            return;
        };
        member.deadline = now.instant.after(member.session_timeout(&desk.settings.consumer));
        if member.timer.is_none_or(|timer| timer.due() > member.deadline) {
            desk.timers.cancel(&mut member.timer);
            let timer = Timer::ConsumerSession { group: self.id.clone(), member: id.clone() };
            member.timer = Some(desk.timers.set(member.deadline, timer));
        }
        // Those of the classic protocol have their time for each step.
        let gives_up = member.state == MemberState::Unrevoked && !member.is_classic();
        if moved || !gives_up {
            desk.timers.cancel(&mut member.revoke_timer);
        }
        if gives_up && member.revoke_timer.is_none() {
            let timeout = member.rebalance_timeout();
            let timer = Timer::Revocation { group: self.id.clone(), member: id.clone(), epoch: member.epoch };
            member.revoke_timer = Some(desk.timers.set(now.instant.after(timeout), timer));
        }
    }

    /// The coordinator was made from the log: every member has a whole session to find it.
    pub(crate) fn begin_consumer_sessions(&mut self, desk: &mut Desk, now: Now) {
        let Some(consumers) = &self.consumers else { return };
        let ids: Vec<Str> = consumers.members.keys().cloned().collect();
        for id in ids {
            self.consumer_session(desk, &id, true, now);
        }
    }
}

impl Draft<'_> {
    fn heartbeat(
        &mut self,
        desk: &Desk,
        client: &Client<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn Topics,
    ) -> Result<(Str, ConsumerGroupHeartbeatResponse), Refusal> {
        let owned = request.topic_partitions.as_ref().map(|owned| reported(owned));
        let id = self.admit(desk, client, request, owned.as_ref())?;
        let changed = self.update_member(&id, client, request);
        self.bump_epoch(changed, topics);
        self.retarget(topics);
        let before =
            self.consumers.members.get(&id).map(|member| member.assigned.clone()).unwrap_or_default();
        self.reconcile(&id, owned.as_ref());
        let member =
            self.consumers.members.get(&id).ok_or((ErrorCode::UNKNOWN_MEMBER_ID, "The member is gone."))?;
        // A member that says all it has to say wants to hear all.
        let full = request.member_epoch == JOINS
            || (request.rebalance_timeout_ms != -1
                && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
                && request.topic_partitions.is_some());
        let assignment = (full || member.assigned != before)
            .then(|| Assignment { topic_partitions: told(&member.assigned) });
        let interval = desk.settings.consumer.heartbeat_interval.as_millis();
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: member.epoch,
            heartbeat_interval_ms: i32::try_from(interval).unwrap_or(i32::MAX),
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        };
        Ok((id, response))
    }

    /// Who it is that speaks, if it may.
    fn admit(
        &mut self,
        desk: &Desk,
        client: &Client<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&Partitions>,
    ) -> Result<Str, Refusal> {
        let unknown = (ErrorCode::UNKNOWN_MEMBER_ID, "The member is not known.");
        let id = if request.member_id.is_empty() {
            Str::from(client.fresh.to_string())
        } else {
            Str::from(&*request.member_id)
        };
        if let Some(instance) = &request.instance_id
            && let Some(current) = self.consumers.statics.get(instance).cloned()
            && current != id
        {
            // Those of the classic protocol do not say when they leave for a while.
            let released = self
                .consumers
                .members
                .get(&current)
                .is_some_and(|member| member.epoch == LEAVES_FOR_A_WHILE || member.is_classic());
            if request.member_epoch != JOINS {
                return Err((ErrorCode::FENCED_INSTANCE_ID, "Another member has that instance id."));
            }
            if !released {
                return Err((
                    ErrorCode::UNRELEASED_INSTANCE_ID,
                    "The member with that instance id did not leave.",
                ));
            }
            self.succeed(&current, &id);
            return Ok(id);
        }
        if request.member_epoch > JOINS
            && request
                .instance_id
                .as_ref()
                .is_some_and(|instance| !self.consumers.statics.contains_key(instance))
        {
            return Err(unknown);
        }
        let Some(member) = self.consumers.members.get(&id) else {
            if request.member_epoch != JOINS {
                return Err(unknown);
            }
            if self.consumers.members.len() >= desk.settings.consumer.max_size {
                return Err((ErrorCode::GROUP_MAX_SIZE_REACHED, "The group is full."));
            }
            return Ok(id);
        };
        let epoch = request.member_epoch;
        // It may not have heard of its last epoch.
        let is_late = epoch == member.previous_epoch
            && owned.is_some_and(|owned| super::without(owned, &member.assigned).is_empty());
        if epoch != JOINS && epoch != member.epoch && !is_late {
            return Err((ErrorCode::FENCED_MEMBER_EPOCH, "The member's epoch is not the one it was given."));
        }
        Ok(id)
    }

    /// Gives what a static member had to its successor.
    pub(super) fn succeed(&mut self, old: &Str, new: &Str) {
        let Some(member) = self.consumers.members.get(old).cloned() else { return };
        let target = self.consumers.targets.get(old).cloned();
        let group = self.group.clone();
        self.add(Record::CurrentMember(group.clone(), old.clone(), None));
        self.add(Record::TargetMember(group.clone(), old.clone(), None));
        self.add(Record::ConsumerMember(group.clone(), old.clone(), None));
        self.add(Record::ConsumerMember(group.clone(), new.clone(), Some(member.value())));
        if let Some(target) = target {
            let value = crate::records::TargetMemberValue { topic_partitions: listed(&target) };
            self.add(Record::TargetMember(group, new.clone(), Some(value)));
        }
        let epoch = if member.epoch < 0 { member.previous_epoch.max(0) } else { member.epoch };
        self.set_current(
            new,
            CurrentMemberValue {
                member_epoch: epoch,
                previous_member_epoch: epoch,
                // It may have waited for more in this epoch.
                state: MemberState::Unreleased.number(),
                assigned_partitions: listed(&member.assigned),
                partitions_pending_revocation: Vec::new(),
            },
        );
    }

    /// Takes what a member says of itself; whether the target may be another one now.
    fn update_member(
        &mut self,
        id: &Str,
        client: &Client<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> bool {
        let mut value = self.consumers.members.get(id).map(Member::value).unwrap_or_default();
        let some = |text: &Option<Str>| text.as_deref().filter(|text| !text.is_empty()).map(Str::from);
        if request.instance_id.is_some() {
            value.instance_id = some(&request.instance_id);
        }
        if request.rack_id.is_some() {
            value.rack_id = some(&request.rack_id);
        }
        if request.rebalance_timeout_ms >= 0 {
            value.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(names) = &request.subscribed_topic_names {
            value.subscribed_topic_names = super::subscribe::sorted(names);
        }
        if request.subscribed_topic_regex.is_some() {
            value.subscribed_topic_regex = some(&request.subscribed_topic_regex);
        }
        if request.server_assignor.is_some() {
            value.server_assignor = some(&request.server_assignor);
        }
        (value.client_id, value.client_host) = (Str::from(client.id), Str::from(client.host));
        value.classic_member_metadata = None;
        self.set_value(id, value)
    }

    /// Takes what a member wants; whether the target may be another one now.
    pub(super) fn set_value(&mut self, id: &Str, value: ConsumerMemberValue) -> bool {
        let before = self.consumers.members.get(id).map(Member::value);
        if before.as_ref() == Some(&value) {
            return false;
        }
        let wants = |value: &ConsumerMemberValue| {
            (
                value.subscribed_topic_names.clone(),
                value.subscribed_topic_regex.clone(),
                value.server_assignor.clone(),
                value.rack_id.clone(),
            )
        };
        let changed = before.as_ref().is_none_or(|before| wants(before) != wants(&value));
        self.add(Record::ConsumerMember(self.group.clone(), id.clone(), Some(value)));
        changed
    }
}

impl Member {
    /// What it wants, as a record has it.
    pub(super) fn value(&self) -> ConsumerMemberValue {
        ConsumerMemberValue {
            instance_id: self.instance.clone(),
            rack_id: self.rack.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.topics.iter().cloned().collect(),
            subscribed_topic_regex: self.regex.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.clone(),
            classic_member_metadata: self.classic.clone(),
        }
    }
}

/// The partitions that a member says it has.
fn reported(owned: &[TopicPartitions]) -> Partitions {
    let listed: Vec<OwnedPartitions> = owned
        .iter()
        .map(|topic| OwnedPartitions { topic_id: topic.topic_id, partitions: topic.partitions.clone() })
        .collect();
    gathered(&listed)
}

/// Partitions as a member is told of them.
fn told(partitions: &Partitions) -> Vec<TopicPartitions> {
    let of_topic =
        |topic: OwnedPartitions| TopicPartitions { topic_id: topic.topic_id, partitions: topic.partitions };
    listed(partitions).into_iter().map(of_topic).collect()
}
