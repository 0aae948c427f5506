//! JoinGroup: who may join, and as whom.

use super::member::{Member, Waiting};
use super::{Classic, State};
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::timers::Timer;
use crate::topics::Topics;
use crate::{Answer, Client, Now, Token};
use highwater_wire::messages::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use highwater_wire::{ErrorCode, Str};
use std::time::Duration;

/// From here on a new member gets its id before it joins, so that one that asks again is not taken for another
/// (KIP-394).
pub(crate) const ID_FIRST_FROM: i16 = 4;
/// From here on an answer may be without a protocol, and tells the kind of protocols.
pub(crate) const NULL_PROTOCOL_FROM: i16 = 7;
/// How long a member that was in no generation yet may wait for the first.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(300);
/// How much of a client's name for itself becomes a part of the member's id.
const MAX_PREFIX_BYTES: usize = 255;
/// How many ids may be given out in one group to members that did not come back with them yet.
const MAX_PENDING: usize = 10_000;

/// The refusal of a request to join.
pub(crate) fn join_refused(client: &Client<'_>, member: &Str, error_code: ErrorCode) -> Answer {
    Answer::Join(refusal(client.version, member, error_code))
}

pub(super) fn refusal(version: i16, member: &Str, error_code: ErrorCode) -> JoinGroupResponse {
    let protocol_name = (version < NULL_PROTOCOL_FROM).then(Str::new);
    JoinGroupResponse { error_code, protocol_name, member_id: member.clone(), ..JoinGroupResponse::default() }
}

impl Group {
    pub(crate) fn join(
        &mut self,
        desk: &mut Desk,
        token: Token,
        client: &Client<'_>,
        request: &JoinGroupRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        if self.has_consumers() {
            return self.mixed_join(desk, token, client, request, topics, now);
        }
        self.classic_join(desk, token, client, request, now);
    }

    pub(crate) fn classic_join(
        &mut self,
        desk: &mut Desk,
        token: Token,
        client: &Client<'_>,
        request: &JoinGroupRequest,
        now: Now,
    ) {
        let (member, instance) = (&request.member_id, request.group_instance_id.as_ref());
        if let Err(code) = self.may_join(desk, client, request) {
            return desk.answer(token, join_refused(client, member, code));
        }
        if self.consumers.is_some() {
            let records = self.dissolved();
            self.write(desk, records, Then::Nothing);
        }
        let waiting = Waiting { token, version: client.version };
        if !member.is_empty() && !self.classic.pending.contains_key(member) {
            return self.rejoin(desk, waiting, client, request, now);
        }
        if self.classic.members.is_empty() {
            self.classic.protocol_type = Some(Str::from(&*request.protocol_type));
        }
        if !member.is_empty() {
            return self.add(desk, waiting, Member::new(Str::from(&**member), client, request), now);
        }
        let id = new_id(instance.map_or(client.id, |instance| instance), client);
        match instance.and_then(|instance| self.classic.statics.get(instance)) {
            Some(old) => {
                let old = old.clone();
                self.replace(desk, waiting, client, request, &old, id, now);
            }
            None if instance.is_none() && client.version >= ID_FIRST_FROM => {
                let session = Member::new(id.clone(), client, request).session_timeout;
                let timer = Timer::Pending { group: self.id.clone(), member: id.clone() };
                let timer = desk.timers.set(now.instant.after(session), timer);
                self.classic.pending.insert(id.clone(), Some(timer));
                desk.answer(token, join_refused(client, &id, ErrorCode::MEMBER_ID_REQUIRED));
            }
            None => self.add(desk, waiting, Member::new(id, client, request), now),
        }
    }

    fn may_join(
        &self,
        desk: &Desk,
        client: &Client<'_>,
        request: &JoinGroupRequest,
    ) -> Result<(), ErrorCode> {
        let (member, classic) = (&request.member_id, &self.classic);
        if !classic.has_room(member, desk.settings.max_size) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if !classic.accepts(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if classic.pending.contains_key(member) && request.group_instance_id.is_some() {
            // Such an id is given to members without a name alone.
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if member.is_empty() && client.version >= ID_FIRST_FROM && classic.pending.len() >= MAX_PENDING {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        Ok(())
    }

    /// A member that was none.
    fn add(&mut self, desk: &mut Desk, waiting: Waiting, mut member: Member, now: Now) {
        let classic = &mut self.classic;
        if let Some(mut timer) = classic.pending.remove(&member.id) {
            desk.timers.cancel(&mut timer);
        }
        if let Some(round) = &mut classic.first_round {
            round.quiet_at = now.instant.after(desk.settings.initial_rebalance_delay);
        }
        member.deadline = now.instant.after(NEW_MEMBER_TIMEOUT.max(member.session_timeout));
        let timer = Timer::Session { group: self.id.clone(), member: member.id.clone() };
        member.timer = Some(desk.timers.set(member.deadline, timer));
        member.join = Some(waiting);
        classic.joining += 1;
        if let Some(instance) = &member.instance {
            classic.statics.insert(instance.clone(), member.id.clone());
        }
        if classic.leader.is_none() {
            classic.leader = Some(member.id.clone());
        }
        classic.add_support(&member);
        classic.members.insert(member.id.clone(), member);
        self.rebalance(desk, now);
    }
}

impl Classic {
    /// Whether a member may join as to the number of members.
    fn has_room(&self, member: &Str, most: usize) -> bool {
        let known = self.members.get(member);
        match self.state {
            State::Empty => most > 0,
            // Those that wait count: those of the last generation that do not come back are gone after it.
            State::PreparingRebalance => {
                known.is_some_and(|member| member.join.is_some()) || self.joining < most
            }
            State::CompletingRebalance | State::Stable => known.is_some() || self.members.len() < most,
        }
    }

    /// Whether a member has a protocol in common with all members.
    fn accepts(&self, protocol_type: &Str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        self.protocol_type.as_ref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.all_support(&protocol.name))
    }
}

/// The id of a new member.
pub(crate) fn new_id(prefix: &str, client: &Client<'_>) -> Str {
    let mut length = prefix.len().min(MAX_PREFIX_BYTES);
    while !prefix.is_char_boundary(length) {
        length -= 1;
    }
    Str::from(format!("{}-{}", &prefix[..length], client.fresh))
}
