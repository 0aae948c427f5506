//! Heartbeat, and the time that members have for their next step.

use super::super::heartbeat::Draft;
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::timers::Timer;
use crate::topics::Topics;
use crate::{Answer, Now, Token};
use highwater_wire::messages::HeartbeatRequest;
use highwater_wire::{ErrorCode, Str};

impl Group {
    pub(crate) fn mixed_heartbeat(
        &mut self,
        desk: &mut Desk,
        token: Token,
        request: &HeartbeatRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        let id = &request.member_id;
        let Some(consumers) = self.consumers.as_mut() else { return };
        match consumers.classic_member(id, request.group_instance_id.as_ref()) {
            Ok(member) if member.epoch == request.generation_id => {}
            Ok(_) => return desk.heartbeat(token, ErrorCode::ILLEGAL_GENERATION),
            Err(code) => return desk.heartbeat(token, code),
        }
        // It may be that nobody but members of the classic protocol is there to notice.
        let mut draft = Draft { group: self.id.clone(), consumers, records: Vec::new() };
        draft.bump_epoch(false, topics);
        let records = draft.records;
        self.consumer_session(desk, id, false, now);
        let joins = self.consumers.as_ref().is_some_and(|consumers| {
            consumers.members.get(id).is_some_and(|member| consumers.must_join(member))
        });
        if joins {
            self.begin_step_if_none(desk, id, now);
        }
        let code = if joins { ErrorCode::REBALANCE_IN_PROGRESS } else { ErrorCode::NONE };
        self.write_and_answer(desk, records, token, Answer::Heartbeat(code));
    }

    /// A member of the classic protocol gave a sign of life, if it is one.
    pub(crate) fn touch_mixed(&mut self, desk: &mut Desk, id: &Str, now: Now) {
        let members = self.consumers.as_ref().map(|consumers| &consumers.members);
        if members.and_then(|members| members.get(id)).is_some_and(|member| member.is_classic()) {
            self.consumer_session(desk, id, false, now);
        }
    }

    /// A member has its time for the next step, which begins now.
    pub(super) fn begin_step(&mut self, desk: &mut Desk, id: &Str, now: Now) {
        self.end_step(desk, id);
        self.begin_step_if_none(desk, id, now);
    }

    /// The same, unless it has begun.
    pub(super) fn begin_step_if_none(&mut self, desk: &mut Desk, id: &Str, now: Now) {
        let members = self.consumers.as_mut().map(|consumers| &mut consumers.members);
        let Some(member) = members.and_then(|members| members.get_mut(id)) else { return };
        if member.step_timer.is_none() {
            let timer = Timer::Step { group: self.id.clone(), member: id.clone() };
            member.step_timer = Some(desk.timers.set(now.instant.after(member.rebalance_timeout()), timer));
        }
    }

    pub(super) fn end_step(&mut self, desk: &mut Desk, id: &Str) {
        if let Some(member) = self.consumers.as_mut().and_then(|consumers| consumers.members.get_mut(id)) {
            desk.timers.cancel(&mut member.step_timer);
        }
    }

    /// A member had its time for the next step.
    pub(crate) fn step_due(&mut self, desk: &mut Desk, id: &Str, topics: &dyn Topics, now: Now) {
        let members = self.consumers.as_mut().map(|consumers| &mut consumers.members);
        let Some(member) = members.and_then(|members| members.get_mut(id)) else { return };
        if member.step_timer.take().is_some() && member.is_classic() {
            self.drop_consumers(desk, std::slice::from_ref(id), Then::Nothing, topics, now);
        }
    }
}
