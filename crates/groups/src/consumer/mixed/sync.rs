//! SyncGroup: a member is told what it has.

use super::super::names::named;
use super::super::{Consumers, MemberState};
use crate::classic::sync_refused;
use crate::desk::Desk;
use crate::group::Group;
use crate::topics::Topics;
use crate::{Answer, Now, Token};
use highwater_assign::protocol::{CONSUMER, answer};
use highwater_wire::messages::{SyncGroupRequest, SyncGroupResponse};
use highwater_wire::{ErrorCode, Str};

impl Group {
    pub(crate) fn mixed_sync(
        &mut self,
        desk: &mut Desk,
        token: Token,
        request: &SyncGroupRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        let Some(consumers) = &self.consumers else { return };
        match consumers.synced(request, topics) {
            Ok(response) => {
                self.end_step(desk, &request.member_id);
                self.consumer_session(desk, &request.member_id, false, now);
                self.write_and_answer(desk, Vec::new(), token, Answer::Sync(response));
            }
            Err(code) => {
                if code == ErrorCode::REBALANCE_IN_PROGRESS {
                    self.begin_step_if_none(desk, &request.member_id, now);
                }
                desk.answer(token, sync_refused(code));
            }
        }
    }
}

impl Consumers {
    fn synced(
        &self,
        request: &SyncGroupRequest,
        topics: &dyn Topics,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let member = self.classic_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != member.epoch {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let first = member.classic.as_ref().and_then(|classic| classic.supported_protocols.first());
        let first = first.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let differs = |said: &Option<Str>, known: &str| said.as_ref().is_some_and(|said| **said != *known);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol_name, &first.name) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        // One that has to give something up hears of that first.
        if member.epoch < self.epoch && member.state != MemberState::Unrevoked {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(SyncGroupResponse {
            protocol_type: Some(Str::from_static(CONSUMER)),
            protocol_name: Some(first.name.clone()),
            assignment: answer(named(&member.assigned, topics), &first.metadata),
            ..SyncGroupResponse::default()
        })
    }
}
