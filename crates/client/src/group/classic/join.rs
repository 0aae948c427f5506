//! Joining a group of the classic protocol, until the member has its share.

use super::checked;
use crate::coordinator::Coordinator;
use crate::group::Partitions;
use crate::group::assignor::{Wanting, demand};
use crate::group::config::{ClassicAssignor, GroupConfig};
use crate::group::line::Line;
use crate::{Client, ClientError};
use bytes::Bytes;
use highwater_assign::Demand;
use highwater_assign::protocol::{
    Assignment, CONSUMER, NO_GENERATION, Subscription, assigned, decode, encode, listed,
};
use highwater_env::{Env, sleep};
use highwater_wire::messages::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, SyncGroupRequest,
    SyncGroupRequestAssignment,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long to wait before joining is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// A member on its way into its group.
pub(super) struct Joining<'a, E: Env> {
    pub(super) coordinator: &'a Coordinator<E>,
    pub(super) config: &'a GroupConfig,
    pub(super) assignor: ClassicAssignor,
    pub(super) topics: &'a [Str],
    pub(super) line: &'a Line,
}

/// How joining ends.
pub(super) enum Outcome {
    /// The member has a share in the generation that it was told of. If it leads, it knows of what it gave shares.
    Member(Partitions, Option<Demand<Str>>),
    /// The group does not know the member any more, which still has partitions.
    Lost,
}

/// What comes of one step.
enum Step<T> {
    Done(T),
    Again,
    Unknown,
}

impl<E: Env> Joining<'_, E> {
    /// Joins, as long as it takes.
    pub(super) async fn run(&self) -> Result<Outcome, ClientError> {
        let clock = self.coordinator.client().env().clock();
        loop {
            let step = match self.join().await? {
                Step::Done(joined) => self.sync(&joined).await?,
                Step::Again => Step::Again,
                Step::Unknown => Step::Unknown,
            };
            match step {
                Step::Done((share, led)) => return Ok(Outcome::Member(share, led)),
                Step::Again => {}
                Step::Unknown => {
                    self.line.identify(Str::new(), NO_GENERATION);
                    if !self.line.owned().is_empty() {
                        return Ok(Outcome::Lost);
                    }
                }
            }
            sleep(clock, PAUSE).await;
        }
    }

    fn subscription(&self) -> Bytes {
        let generation = self.line.membership().joined;
        let rack = self.config.rack.as_deref().map(Str::from);
        let owned = listed(&self.line.owned());
        let is_sticky = self.assignor == ClassicAssignor::CooperativeSticky;
        let user_data = is_sticky.then(|| Bytes::copy_from_slice(&generation.to_be_bytes()));
        encode(&Subscription { topics: self.topics.to_vec(), user_data, owned, generation, rack })
    }

    async fn join(&self) -> Result<Step<JoinGroupResponse>, ClientError> {
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let membership = self.line.membership();
        let name = Str::from_static(self.assignor.name());
        let request = JoinGroupRequest {
            group_id: self.coordinator.group().clone(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.max_poll_interval),
            member_id: membership.id,
            group_instance_id: membership.instance,
            protocol_type: Str::from_static(CONSUMER),
            protocols: vec![JoinGroupRequestProtocol { name, metadata: self.subscription() }],
            reason: None,
        };
        let answer = self.coordinator.call(&request, |answer| answer.error_code).await?;
        match answer.error_code {
            ErrorCode::NONE => {
                self.line.join(Str::from(&*answer.member_id), answer.generation_id);
                Ok(Step::Done(answer))
            }
            ErrorCode::MEMBER_ID_REQUIRED => {
                self.line.identify(Str::from(&*answer.member_id), NO_GENERATION);
                Ok(Step::Again)
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => Ok(Step::Unknown),
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(Step::Again),
            code => Err(self.coordinator.refused(code, None)),
        }
    }

    /// Again: the group shares its partitions anew.
    async fn sync(
        &self,
        joined: &JoinGroupResponse,
    ) -> Result<Step<(Partitions, Option<Demand<Str>>)>, ClientError> {
        let membership = self.line.membership();
        let leads = joined.leader == membership.id && !joined.skip_assignment;
        let (assignments, led) = if leads {
            let (assignments, demand) = assign(self.coordinator.client(), self.assignor, joined).await?;
            (assignments, Some(demand))
        } else {
            (Vec::new(), None)
        };
        let request = SyncGroupRequest {
            group_id: self.coordinator.group().clone(),
            generation_id: membership.joined,
            member_id: membership.id,
            group_instance_id: membership.instance,
            protocol_type: Some(Str::from_static(CONSUMER)),
            protocol_name: Some(Str::from_static(self.assignor.name())),
            assignments,
        };
        let answer = self.coordinator.call(&request, |answer| answer.error_code).await?;
        match answer.error_code {
            ErrorCode::NONE => {
                let share = assigned(&answer.assignment).map_err(unreadable)?;
                Ok(Step::Done((checked(share, self.topics).map_err(unreadable)?, led)))
            }
            ErrorCode::UNKNOWN_MEMBER_ID => Ok(Step::Unknown),
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => Ok(Step::Again),
            code => Err(self.coordinator.refused(code, None)),
        }
    }
}

fn unreadable(cause: impl ToString) -> ClientError {
    ClientError::Protocol { peer: "another member".to_owned(), cause: cause.to_string() }
}

/// The leader's part: who gets what, and of what.
async fn assign<E: Env>(
    client: &Client<E>,
    assignor: ClassicAssignor,
    joined: &JoinGroupResponse,
) -> Result<(Vec<SyncGroupRequestAssignment>, Demand<Str>), ClientError> {
    let mut members = Vec::new();
    for member in &joined.members {
        let subscription = decode(&member.metadata).map_err(unreadable)?;
        members.push(Wanting::new(member.member_id.clone(), subscription));
    }
    let topics: BTreeSet<&Str> = members.iter().flat_map(Wanting::topics).collect();
    let names: Vec<&str> = topics.iter().map(|topic| &***topic).collect();
    // Topics that are not there have no partitions yet.
    client.retry("the metadata of a group's topics", || client.refresh(&names, false)).await?;
    let demand = demand(&members, &client.metadata());
    let shares = assignor.assign(&members, &demand).into_iter();
    let assignments = shares.map(|(member_id, share)| SyncGroupRequestAssignment {
        member_id,
        assignment: encode(&Assignment { partitions: listed(&share), user_data: None }),
    });
    Ok((assignments.collect(), demand))
}
