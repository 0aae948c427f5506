//! SyncGroup: from the leader's assignment to every member's.

use super::State;
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::topics::Topics;
use crate::{Answer, MemberMetadata, Now, Record, Token};
use bytes::Bytes;
use highwater_wire::messages::{SyncGroupRequest, SyncGroupResponse};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeMap;

pub(crate) fn sync_refused(error_code: ErrorCode) -> Answer {
    Answer::Sync(SyncGroupResponse { error_code, ..SyncGroupResponse::default() })
}

impl Group {
    pub(crate) fn sync(
        &mut self,
        desk: &mut Desk,
        token: Token,
        request: &SyncGroupRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        if self.has_consumers() {
            return self.mixed_sync(desk, token, request, topics, now);
        }
        if let Err(code) = self.may_sync(request) {
            return desk.answer(token, sync_refused(code));
        }
        let id = &request.member_id;
        self.touch(id, now);
        self.classic.unsynced.remove(id);
        if self.classic.unsynced.is_empty() {
            desk.timers.cancel(&mut self.classic.sync_timer);
        }
        if self.classic.state == State::Stable {
            return desk.answer(token, self.classic.assignment_of(id));
        }
        let Some(member) = self.classic.members.get_mut(id) else { return };
        if let Some(before) = member.sync.replace(token) {
            // It asks again because it does not wait for that any more.
            desk.answer(before, sync_refused(ErrorCode::REBALANCE_IN_PROGRESS));
        }
        if self.classic.leader.as_ref() == Some(id) && !self.classic.assigning {
            self.classic.assigning = true;
            let assignments: BTreeMap<&str, &Bytes> = request
                .assignments
                .iter()
                .map(|assignment| (&*assignment.member_id, &assignment.assignment))
                .collect();
            let mut record = self.record(now.wall);
            if let Record::Group(_, Some(value)) = &mut record {
                for member in &mut value.members {
                    let own = assignments.get(&*member.member_id);
                    member.assignment = own.map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(bytes));
                }
            }
            let generation = self.classic.generation;
            self.write(desk, vec![record], Then::Assign { generation });
        }
    }

    fn may_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let classic = &self.classic;
        classic.validate(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != classic.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |said: &Option<Str>, known: &Option<Str>| said.is_some() && said != known;
        if differs(&request.protocol_type, &classic.protocol_type)
            || differs(&request.protocol_name, &classic.protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match classic.state {
            State::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// The assignments of a generation are in the log.
    pub(crate) fn assigned(
        &mut self,
        desk: &mut Desk,
        generation: i32,
        members: &[MemberMetadata],
        now: Now,
    ) {
        let classic = &mut self.classic;
        if classic.state != State::CompletingRebalance || classic.generation != generation {
            return;
        }
        classic.state = State::Stable;
        classic.assigning = false;
        for assigned in members {
            let Some(member) = classic.members.get_mut(&assigned.member_id) else { continue };
            member.assignment = assigned.assignment.clone();
        }
        let waiting: Vec<(Str, Token)> = classic
            .members
            .values_mut()
            .filter_map(|member| member.sync.take().map(|token| (member.id.clone(), token)))
            .collect();
        for (id, token) in waiting {
            desk.answer(token, self.classic.assignment_of(&id));
            self.touch(&id, now);
        }
    }

    /// The assignments of a generation could not be written: it is tried again in the next one.
    pub(crate) fn not_assigned(&mut self, desk: &mut Desk, generation: i32, code: ErrorCode, now: Now) {
        if self.classic.state == State::CompletingRebalance && self.classic.generation == generation {
            self.refuse_syncs(desk, code);
            self.rebalance(desk, now);
        }
    }

    pub(super) fn refuse_syncs(&mut self, desk: &mut Desk, code: ErrorCode) {
        for member in self.classic.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(token) = member.sync.take() {
                desk.answer(token, sync_refused(code));
            }
        }
    }

    /// Members have had their time to ask for their assignments: those that did not are gone.
    pub(crate) fn sync_due(&mut self, desk: &mut Desk, now: Now) {
        self.classic.sync_timer = None;
        let silent = std::mem::take(&mut self.classic.unsynced);
        let awaited = matches!(self.classic.state, State::CompletingRebalance | State::Stable);
        if awaited && !silent.is_empty() {
            for id in &silent {
                self.remove_member(desk, id);
            }
            self.rebalance(desk, now);
        }
    }
}

impl super::Classic {
    fn assignment_of(&self, id: &Str) -> Answer {
        let assignment = self.members.get(id).map_or_else(Bytes::new, |member| member.assignment.clone());
        Answer::Sync(SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment,
            ..SyncGroupResponse::default()
        })
    }
}
