//! JoinGroup.

use super::super::heartbeat::Draft;
use super::super::names::identified;
use super::super::{Partitions, subscribe};
use crate::classic::{ID_FIRST_FROM, NULL_PROTOCOL_FROM, join_refused, new_id};
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::records::{ClassicMemberMetadata, ClassicProtocol, ConsumerMemberValue};
use crate::topics::Topics;
use crate::{Answer, Client, Now, Token};
use bytes::Bytes;
use highwater_assign::protocol::{CONSUMER, Subscription, decode};
use highwater_types::mutant;
use highwater_wire::messages::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use highwater_wire::{ErrorCode, Str};

/// Why a member may not join, and the id that it is to come back with.
type Refusal = (ErrorCode, Str);

impl Group {
    pub(crate) fn mixed_join(
        &mut self,
        desk: &mut Desk,
        token: Token,
        client: &Client<'_>,
        request: &JoinGroupRequest,
        topics: &dyn Topics,
        now: Now,
    ) {
        let Some(consumers) = self.consumers.as_mut() else { return };
        let draft = Draft { group: self.id.clone(), consumers, records: Vec::new() };
        let subscription = match draft.may_join(desk, request) {
            Ok(subscription) => subscription,
            Err(code) => return desk.answer(token, join_refused(client, &request.member_id, code)),
        };
        if let Some(old) = draft.replaced(request).cloned()
            && self.would_downgrade(&desk.settings, std::slice::from_ref(&old))
        {
            // The last member of the new protocol was restarted as one of the classic.
            self.downgrade(desk, &[old], Then::Nothing, topics, now);
            return self.classic_join(desk, token, client, request, now);
        }
        let Some(consumers) = self.consumers.as_mut() else { return };
        let mut draft = Draft { group: self.id.clone(), consumers, records: Vec::new() };
        match draft.join(client, request, &subscription, topics) {
            Ok((id, response)) => {
                let records = draft.records;
                self.consumer_session(desk, &id, true, now);
                self.begin_step(desk, &id, now);
                self.write_and_answer(desk, records, token, Answer::Join(response));
            }
            Err((code, id)) => desk.answer(token, join_refused(client, &id, code)),
        }
    }
}

impl Draft<'_> {
    /// What the member wants, if it may join.
    fn may_join(&self, desk: &Desk, request: &JoinGroupRequest) -> Result<Subscription, ErrorCode> {
        let known =
            self.consumers.members.contains_key(&request.member_id) || self.replaced(request).is_some();
        if !known && self.consumers.members.len() >= desk.settings.consumer.max_size {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        let mut names = request.protocols.iter().map(|protocol| &protocol.name);
        if *request.protocol_type != *CONSUMER || !self.consumers.supports(&mut names) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let first = request.protocols.first().and_then(|protocol| decode(&protocol.metadata).ok());
        first.ok_or(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
    }

    /// The member that a static one comes back as.
    fn replaced(&self, request: &JoinGroupRequest) -> Option<&Str> {
        let instance = request.group_instance_id.as_ref().filter(|_| request.member_id.is_empty())?;
        self.consumers.statics.get(instance)
    }

    fn join(
        &mut self,
        client: &Client<'_>,
        request: &JoinGroupRequest,
        subscription: &Subscription,
        topics: &dyn Topics,
    ) -> Result<(Str, JoinGroupResponse), Refusal> {
        let id = self.joining(client, request, subscription)?;
        let changed = self.set_value(&id, value(client, request, subscription));
        self.bump_epoch(changed, topics);
        self.retarget(topics);
        let owned = match mutant!("group-mixed-no-revoke") {
            true => Partitions::new(),
            false => identified(&subscription.owned, topics),
        };
        self.reconcile(&id, Some(&owned));
        let epoch = self.consumers.members.get(&id).map_or(0, |member| member.epoch);
        let response = JoinGroupResponse {
            generation_id: epoch,
            protocol_type: Some(Str::from_static(CONSUMER)).filter(|_| client.version >= NULL_PROTOCOL_FROM),
            protocol_name: request.protocols.first().map(|protocol| Str::from(&*protocol.name)),
            member_id: id.clone(),
            ..JoinGroupResponse::default()
        };
        Ok((id, response))
    }

    /// Who it is that joins. A member that says an id that is not known was given it lately, unless it has partitions:
    /// then it was dropped, and is to give them up before it comes back.
    fn joining(
        &mut self,
        client: &Client<'_>,
        request: &JoinGroupRequest,
        subscription: &Subscription,
    ) -> Result<Str, Refusal> {
        let said = &request.member_id;
        let Some(instance) = &request.group_instance_id else {
            return match said.is_empty() {
                false if !subscription.owned.is_empty() && !self.consumers.members.contains_key(said) => {
                    Err((ErrorCode::UNKNOWN_MEMBER_ID, said.clone()))
                }
                false => Ok(Str::from(&**said)),
                true if client.version >= ID_FIRST_FROM => {
                    Err((ErrorCode::MEMBER_ID_REQUIRED, new_id(client.id, client)))
                }
                true => Ok(new_id(client.id, client)),
            };
        };
        match self.consumers.statics.get(instance).cloned() {
            Some(current) if said.is_empty() => {
                let id = new_id(instance, client);
                self.succeed(&current, &id);
                Ok(id)
            }
            None if said.is_empty() => Ok(new_id(instance, client)),
            Some(current) if current == *said => Ok(current),
            Some(_) => Err((ErrorCode::FENCED_INSTANCE_ID, said.clone())),
            None => Err((ErrorCode::UNKNOWN_MEMBER_ID, said.clone())),
        }
    }
}

/// What a member says of itself, as a record has it.
fn value(
    client: &Client<'_>,
    request: &JoinGroupRequest,
    subscription: &Subscription,
) -> ConsumerMemberValue {
    let copied = |text: &Option<Str>| text.as_deref().map(Str::from);
    let protocol = |protocol: &JoinGroupRequestProtocol| ClassicProtocol {
        name: Str::from(&*protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    // The first version has one timeout for both.
    let own = Some(request.rebalance_timeout_ms).filter(|timeout| *timeout >= 0);
    ConsumerMemberValue {
        instance_id: copied(&request.group_instance_id),
        rack_id: copied(&subscription.rack),
        client_id: Str::from(client.id),
        client_host: Str::from(client.host),
        subscribed_topic_names: subscribe::sorted(&subscription.topics),
        subscribed_topic_regex: None,
        rebalance_timeout_ms: own.unwrap_or(request.session_timeout_ms),
        server_assignor: None,
        classic_member_metadata: Some(ClassicMemberMetadata {
            session_timeout_ms: request.session_timeout_ms,
            supported_protocols: request.protocols.iter().map(protocol).collect(),
        }),
    }
}
