//! JoinGroup of one that is a member already: for the next generation, because it lost an answer, or as a static
//! member that was restarted.

use super::join::{join_refused, refusal};
use super::member::Waiting;
use super::{Classic, State};
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::timers::Timer;
use crate::{Answer, Client, Now};
use highwater_types::mutant;
use highwater_wire::messages::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use highwater_wire::{ErrorCode, Str};

/// From here on a leader can be told to keep the assignment as it is (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

impl Group {
    /// A member joins again.
    pub(super) fn rejoin(
        &mut self,
        desk: &mut Desk,
        waiting: Waiting,
        client: &Client<'_>,
        request: &JoinGroupRequest,
        now: Now,
    ) {
        let id = &request.member_id;
        if let Err(code) = self.classic.validate(id, request.group_instance_id.as_ref()) {
            return desk.answer(waiting.token, join_refused(client, id, code));
        }
        let member = &self.classic.members[id];
        let same = member.matches(&request.protocols);
        let is_leader = self.classic.leader.as_ref() == Some(id);
        let current = match self.classic.state {
            State::Empty => {
                return desk.answer(waiting.token, join_refused(client, id, ErrorCode::UNKNOWN_MEMBER_ID));
            }
            State::PreparingRebalance => false,
            // The answer may have been lost: it is given again.
            State::CompletingRebalance => same,
            // A leader that joins again wants to assign anew.
            State::Stable => same && !is_leader,
        };
        if current {
            self.touch(id, now);
            let response = self.classic.joined(id, waiting.version);
            return desk.answer(waiting.token, Answer::Join(response));
        }
        self.update(id, client, request);
        self.await_join(desk, id, waiting);
        self.rebalance(desk, now);
    }

    /// A static member was restarted, and has another id from now on. Whoever still has the old one is fenced.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn replace(
        &mut self,
        desk: &mut Desk,
        waiting: Waiting,
        client: &Client<'_>,
        request: &JoinGroupRequest,
        old: &Str,
        new: Str,
        now: Now,
    ) {
        let was_leader = self.classic.leader.as_ref() == Some(old);
        let before = self.classic.protocol.clone();
        self.fence(desk, old);
        self.classic.rename(old, &new);
        self.update(&new, client, request);
        self.set_session(desk, &new, now);
        if self.classic.state != State::Stable || self.classic.select_protocol() != before {
            self.await_join(desk, &new, waiting);
            return self.rebalance(desk, now);
        }
        // Nothing changes for the others. The member goes on where it was, once its new id is written.
        let mut response = self.classic.joined(&new, waiting.version);
        if was_leader {
            if waiting.version >= SKIP_ASSIGNMENT_FROM {
                response.skip_assignment = true;
            } else {
                // It must not take itself for the leader, or it would assign anew.
                (response.leader, response.members) = (old.clone(), Vec::new());
            }
        }
        let instance = request.group_instance_id.clone().unwrap_or_default();
        let record = self.record(now.wall);
        let (token, answer, old) = (waiting.token, Answer::Join(response), old.clone());
        self.write(desk, vec![record], Then::Replaced { token, answer, instance, old, new });
    }

    /// Takes back that a static member has another id: that was not written.
    pub(crate) fn take_back(&mut self, desk: &mut Desk, instance: &str, old: &Str, new: &Str, now: Now) {
        if self.classic.statics.get(instance) == Some(new) {
            self.classic.rename(new, old);
            // It may never be heard of again, under either id.
            self.set_session(desk, old, now);
        }
    }

    /// Answers whoever waits under an id that is no longer good.
    fn fence(&mut self, desk: &mut Desk, id: &Str) {
        let Some(member) = self.classic.members.get_mut(id) else { return };
        desk.timers.cancel(&mut member.timer);
        if let Some(waiting) = member.join.take() {
            self.classic.joining -= 1;
            let response = refusal(waiting.version, id, ErrorCode::FENCED_INSTANCE_ID);
            desk.answer(waiting.token, Answer::Join(response));
        }
        if let Some(token) = member.sync.take() {
            desk.answer(token, super::sync::sync_refused(ErrorCode::FENCED_INSTANCE_ID));
        }
    }

    /// Takes what a member says of itself.
    fn update(&mut self, id: &Str, client: &Client<'_>, request: &JoinGroupRequest) {
        let Some(mut member) = self.classic.members.remove(id) else { return };
        self.classic.drop_support(&member);
        member.update(client, request);
        self.classic.add_support(&member);
        self.classic.members.insert(id.clone(), member);
    }

    /// Has a member wait for the next generation.
    fn await_join(&mut self, desk: &mut Desk, id: &Str, waiting: Waiting) {
        let Some(member) = self.classic.members.get_mut(id) else { return };
        match member.join.replace(waiting) {
            // It asks again because it does not wait for that any more.
            Some(before) => {
                let response = refusal(before.version, id, ErrorCode::REBALANCE_IN_PROGRESS);
                desk.answer(before.token, Answer::Join(response));
            }
            None => self.classic.joining += 1,
        }
    }

    /// Begins a member's session anew, with a timer of its own.
    pub(super) fn set_session(&mut self, desk: &mut Desk, id: &Str, now: Now) {
        let Some(member) = self.classic.members.get_mut(id) else { return };
        desk.timers.cancel(&mut member.timer);
        member.deadline = now.instant.after(member.session_timeout);
        let timer = Timer::Session { group: self.id.clone(), member: id.clone() };
        member.timer = Some(desk.timers.set(member.deadline, timer));
    }
}

impl Classic {
    /// Gives a static member another id.
    fn rename(&mut self, old: &Str, new: &Str) {
        let Some(mut member) = self.members.remove(old) else { return };
        if mutant!("group-static-dup") {
            self.add_support(&member);
            self.members.insert(old.clone(), member.clone());
        }
        member.id = new.clone();
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), new.clone());
        }
        self.members.insert(new.clone(), member);
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(new.clone());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(new.clone());
        }
    }

    /// The answer to a member that joined the present generation.
    pub(super) fn joined(&self, id: &Str, version: i16) -> JoinGroupResponse {
        let leader = self.leader.clone().unwrap_or_default();
        let protocol = self.protocol.clone().unwrap_or_default();
        let members = if leader == *id { self.described(&protocol) } else { Vec::new() };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone().filter(|_| version >= 7),
            protocol_name: Some(protocol),
            leader,
            member_id: id.clone(),
            members,
            ..JoinGroupResponse::default()
        }
    }

    fn described(&self, protocol: &str) -> Vec<JoinGroupResponseMember> {
        let of = |member: &super::Member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(of).collect()
    }
}
