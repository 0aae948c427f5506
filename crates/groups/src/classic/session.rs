//! Signs of life, and what happens without them.

use super::State;
use crate::desk::Desk;
use crate::group::Group;
use crate::timers::Timer;
use crate::topics::Topics;
use crate::{Now, Token};
use highwater_wire::messages::HeartbeatRequest;
use highwater_wire::{ErrorCode, Str};

impl Group {
    pub(crate) fn heartbeat(
        &mut self,
        desk: &mut Desk,
        token: Token,
        request: &HeartbeatRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        if self.has_consumers() {
            return self.mixed_heartbeat(desk, token, request, topics, now);
        }
        let code = self.classic_heartbeat(request, now).err().unwrap_or(ErrorCode::NONE);
        desk.heartbeat(token, code);
    }

    fn classic_heartbeat(&mut self, request: &HeartbeatRequest, now: Now) -> Result<(), ErrorCode> {
        let classic = &self.classic;
        classic.validate(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != classic.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let state = classic.state;
        self.touch(&request.member_id, now);
        match state {
            State::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// A member gave a sign of life.
    pub(crate) fn touch(&mut self, id: &str, now: Now) {
        if let Some(member) = self.classic.members.get_mut(id)
            && !member.is_new
        {
            member.deadline = now.instant.after(member.session_timeout);
        }
    }

    /// The coordinator was made from the log: every member has a whole session to find it.
    pub(crate) fn begin_sessions(&mut self, desk: &mut Desk, now: Now) {
        let ids: Vec<Str> = self.classic.members.keys().cloned().collect();
        for id in ids {
            self.set_session(desk, &id, now);
        }
    }

    /// A member's timer went off.
    pub(crate) fn session_due(&mut self, desk: &mut Desk, id: &Str, now: Now) {
        let Some(member) = self.classic.members.get_mut(id) else { return };
        member.timer = None;
        let waits = !member.is_new && (member.join.is_some() || member.sync.is_some());
        if waits {
            // It is this side that keeps the member waiting.
            member.deadline = now.instant.after(member.session_timeout);
        }
        if member.deadline > now.instant {
            let timer = Timer::Session { group: self.id.clone(), member: id.clone() };
            member.timer = Some(desk.timers.set(member.deadline, timer));
            return;
        }
        self.remove_member(desk, id);
        self.rebalance(desk, now);
    }

    /// A new member did not come back with its id.
    pub(crate) fn pending_due(&mut self, desk: &mut Desk, id: &Str, now: Now) {
        if self.classic.pending.remove(id).is_some() {
            self.complete_if_all_joined(desk, now);
        }
    }
}
