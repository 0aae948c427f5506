//! Members that leave, and those that are taken for dead.

use super::heartbeat::{Draft, heartbeat_refused};
use super::{Consumers, LEAVES_FOR_A_WHILE, MemberState, listed};
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::records::{ConsumerGroupValue, CurrentMemberValue};
use crate::timers::Timer;
use crate::topics::Topics;
use crate::{Answer, Now, Record, Token};
use highwater_types::mutant;
use highwater_wire::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use highwater_wire::{ErrorCode, Str};

impl Group {
    pub(super) fn consumer_leave(
        &mut self,
        desk: &mut Desk,
        token: Token,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        let id = &request.member_id;
        let refusal = match self.consumers.as_ref().and_then(|consumers| consumers.members.get(id)) {
            None => Some((ErrorCode::UNKNOWN_MEMBER_ID, "The member is not known.")),
            Some(member) if request.instance_id.is_some() && member.instance != request.instance_id => {
                Some((ErrorCode::FENCED_INSTANCE_ID, "Another member has that instance id."))
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            return desk.answer(token, heartbeat_refused(refusal));
        }
        let answer = Answer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        });
        let then = Then::Answer(token, answer);
        if request.member_epoch == LEAVES_FOR_A_WHILE {
            self.step_aside(desk, id, then);
        } else {
            self.drop_consumers(desk, std::slice::from_ref(id), then, topics, now);
        }
    }

    /// A static member goes, and what it has waits for its successor, for as long as its session lasts.
    fn step_aside(&mut self, desk: &mut Desk, id: &Str, then: Then) {
        let Some(consumers) = self.consumers.as_mut() else { return };
        let Some(member) = consumers.members.get(id) else { return };
        let value = CurrentMemberValue {
            member_epoch: LEAVES_FOR_A_WHILE,
            previous_member_epoch: member.epoch,
            state: MemberState::Stable.number(),
            assigned_partitions: listed(&member.assigned),
            partitions_pending_revocation: Vec::new(),
        };
        let mut draft = Draft { group: self.id.clone(), consumers, records: Vec::new() };
        draft.set_current(id, value);
        let records = draft.records;
        self.write(desk, records, then);
    }

    /// Members are gone: what they had is free.
    pub(super) fn drop_consumers(
        &mut self,
        desk: &mut Desk,
        ids: &[Str],
        then: Then,
        topics: &dyn Topics,
        now: Now,
    ) {
        if self.would_downgrade(&desk.settings, ids) {
            return self.downgrade(desk, ids, then, topics, now);
        }
        let Some(consumers) = self.consumers.as_mut() else { return };
        let group = self.id.clone();
        let mut draft = Draft { group: group.clone(), consumers, records: Vec::new() };
        for id in ids {
            if let Some(member) = draft.consumers.members.get_mut(id) {
                member.cancel_timers(desk);
            }
            draft.add(Record::CurrentMember(group.clone(), id.clone(), None));
            draft.add(Record::TargetMember(group.clone(), id.clone(), None));
            draft.add(Record::ConsumerMember(group.clone(), id.clone(), None));
        }
        let value = ConsumerGroupValue {
            epoch: draft.consumers.epoch + 1,
            metadata_hash: draft.consumers.metadata_hash,
        };
        draft.add(Record::ConsumerGroup(group, Some(value)));
        let records = draft.records;
        self.write(desk, records, then);
    }

    /// A member's timer went off.
    pub(crate) fn consumer_session_due(&mut self, desk: &mut Desk, id: &Str, topics: &dyn Topics, now: Now) {
        let Some(member) = self.consumers.as_mut().and_then(|consumers| consumers.members.get_mut(id)) else {
            return;
        };
        member.timer = None;
        if member.deadline > now.instant {
            let timer = Timer::ConsumerSession { group: self.id.clone(), member: id.clone() };
            member.timer = Some(desk.timers.set(member.deadline, timer));
            return;
        }
        self.drop_consumers(desk, std::slice::from_ref(id), Then::Nothing, topics, now);
    }

    /// A member had its time to give up what it has to.
    pub(crate) fn revocation_due(
        &mut self,
        desk: &mut Desk,
        id: &Str,
        epoch: i32,
        topics: &dyn Topics,
        now: Now,
    ) {
        let Some(member) = self.consumers.as_mut().and_then(|consumers| consumers.members.get_mut(id)) else {
            return;
        };
        member.revoke_timer = None;
        if member.state == MemberState::Unrevoked && member.epoch == epoch {
            self.drop_consumers(desk, std::slice::from_ref(id), Then::Nothing, topics, now);
        }
    }
}

impl Consumers {
    /// Whether a member may commit offsets, or, with a negative epoch, somebody who is none.
    pub(crate) fn may_commit(&self, id: &Str, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        match self.members.get(id) {
            None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(member) if member.epoch == epoch || mutant!("group-stale-member-epoch") => Ok(()),
            Some(member) if member.is_classic() => Err(ErrorCode::ILLEGAL_GENERATION),
            Some(_) => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }
}
