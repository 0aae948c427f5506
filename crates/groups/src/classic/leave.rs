//! LeaveGroup.

use crate::desk::Desk;
use crate::group::Group;
use crate::topics::Topics;
use crate::{Answer, Now, Token};
use highwater_wire::ErrorCode;
use highwater_wire::messages::MemberIdentity;

impl Group {
    /// Members leave.
    pub(crate) fn leave(
        &mut self,
        desk: &mut Desk,
        token: Token,
        members: &[MemberIdentity],
        topics: &dyn Topics,
        now: Now,
    ) {
        if self.has_consumers() {
            return self.mixed_leave(desk, token, members, topics, now);
        }
        let codes = self.classic_leave(desk, members, now);
        desk.answer(token, Answer::Leave(codes));
    }

    /// What came of it for each.
    fn classic_leave(&mut self, desk: &mut Desk, members: &[MemberIdentity], now: Now) -> Vec<ErrorCode> {
        let mut removed = false;
        let mut waited_for = false;
        let mut codes = Vec::with_capacity(members.len());
        for leaving in members {
            if let Some(mut timer) = self.classic.pending.remove(&leaving.member_id) {
                desk.timers.cancel(&mut timer);
                waited_for = true;
                codes.push(ErrorCode::NONE);
                continue;
            }
            let named = leaving.group_instance_id.as_ref();
            let id = match named.filter(|_| leaving.member_id.is_empty()) {
                // An administrator removes a static member by its name.
                Some(instance) => self.classic.statics.get(instance).cloned(),
                None => Some(leaving.member_id.clone()),
            };
            let id = id.ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
            match id.and_then(|id| self.classic.validate(&id, named).map(|()| id)) {
                Ok(id) => {
                    self.remove_member(desk, &id);
                    removed = true;
                    codes.push(ErrorCode::NONE);
                }
                Err(code) => codes.push(code),
            }
        }
        if removed {
            self.rebalance(desk, now);
        } else if waited_for {
            self.complete_if_all_joined(desk, now);
        }
        codes
    }
}
