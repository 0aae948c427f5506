//! LeaveGroup (key 13), versions 0 to 5. Versions 3 and up remove several members at once.

use crate::dispatch::Context;
use crate::groups::RoutedTopics;
use highwater_env::Env;
use highwater_groups::Answer;
use highwater_wire::ErrorCode;
use highwater_wire::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};
use std::sync::Arc;

const MANY_FROM: i16 = 3;

pub(crate) async fn handle<E: Env>(
    context: Arc<Context<E>>,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let many = context.version() >= MANY_FROM;
    let members = match many {
        true => request.members,
        false => vec![MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() }],
    };
    let routing = context.shared.directory.load();
    let answer = context
        .shared
        .groups
        .ask(&context.shared, &request.group_id, |coordinator, token, now| {
            coordinator.leave(token, &request.group_id, &members, &RoutedTopics(&routing), now);
        })
        .await;
    let codes = match answer {
        Ok(Answer::Leave(codes)) => codes,
        other => {
            let error_code = other.err().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
            return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
        }
    };
    if !many {
        let error_code = codes.first().copied().unwrap_or_default();
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let response = |(member, error_code): (MemberIdentity, ErrorCode)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code,
    };
    let members = members.into_iter().zip(codes).map(response).collect();
    LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
}
