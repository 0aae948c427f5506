//! LeaveGroup.

use super::super::Consumers;
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::topics::Topics;
use crate::{Answer, Now, Token};
use highwater_wire::messages::MemberIdentity;
use highwater_wire::{ErrorCode, Str};

impl Group {
    pub(crate) fn mixed_leave(
        &mut self,
        desk: &mut Desk,
        token: Token,
        members: &[MemberIdentity],
        topics: &dyn Topics,
        now: Now,
    ) {
        let Some(consumers) = &self.consumers else { return };
        let mut ids = Vec::new();
        let mut codes = Vec::with_capacity(members.len());
        for leaving in members {
            match consumers.leaving(leaving) {
                Ok(id) if !ids.contains(id) => {
                    ids.push(id.clone());
                    codes.push(ErrorCode::NONE);
                }
                Ok(_) => codes.push(ErrorCode::UNKNOWN_MEMBER_ID),
                Err(code) => codes.push(code),
            }
        }
        let answer = Answer::Leave(codes);
        if ids.is_empty() {
            return desk.answer(token, answer);
        }
        self.drop_consumers(desk, &ids, Then::Answer(token, answer), topics, now);
    }
}

impl Consumers {
    /// The member that leaves. An administrator removes a static member by its name, whichever its protocol.
    fn leaving(&self, leaving: &MemberIdentity) -> Result<&Str, ErrorCode> {
        let instance = leaving.group_instance_id.as_ref();
        match instance.filter(|_| leaving.member_id.is_empty()) {
            Some(instance) => self.statics.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID),
            None => self.classic_member(&leaving.member_id, instance).map(|member| &member.id),
        }
    }
}
