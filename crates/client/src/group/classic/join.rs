//! Joining a group of the classic protocol, until the member has its share.

use super::checked;
use crate::coordinator::Coordinator;
use crate::group::Partitions;
use crate::group::assignor::Wanting;
use crate::group::config::{ClassicAssignor, GroupConfig};
use crate::group::line::Line;
use crate::group::protocol::{Assignment, NO_GENERATION, Subscription, decode, each, encode, listed};
use crate::{Client, ClientError};
use bytes::Bytes;
use highwater_env::{Env, sleep};
use highwater_wire::messages::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, SyncGroupRequest,
    SyncGroupRequestAssignment,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeSet;
use std::time::Duration;

/// The kind of protocols that consumers have.
const CONSUMER: Str = Str::from_static("consumer");
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
    /// The member has a share in the generation that it was told of.
    Member(Partitions),
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
                Step::Done(share) => return Ok(Outcome::Member(share)),
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
        let mut subscription = Subscription::new(self.topics, owned, generation, rack);
        if self.assignor == ClassicAssignor::CooperativeSticky {
            subscription.user_data = Some(Bytes::copy_from_slice(&generation.to_be_bytes()));
        }
        encode(&subscription)
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
            protocol_type: CONSUMER,
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
    async fn sync(&self, joined: &JoinGroupResponse) -> Result<Step<Partitions>, ClientError> {
        let membership = self.line.membership();
        let leads = joined.leader == membership.id && !joined.skip_assignment;
        let assignments =
            if leads { assign(self.coordinator.client(), self.assignor, joined).await? } else { Vec::new() };
        let request = SyncGroupRequest {
            group_id: self.coordinator.group().clone(),
            generation_id: membership.joined,
            member_id: membership.id,
            group_instance_id: membership.instance,
            protocol_type: Some(CONSUMER),
            protocol_name: Some(Str::from_static(self.assignor.name())),
            assignments,
        };
        let answer = self.coordinator.call(&request, |answer| answer.error_code).await?;
        match answer.error_code {
            ErrorCode::NONE => {
                let assignment: Assignment = decode(&answer.assignment).map_err(unreadable)?;
                let share = each(assignment.assigned_partitions).collect();
                Ok(Step::Done(checked(share, self.topics).map_err(unreadable)?))
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

/// The leader's part: who gets what.
async fn assign<E: Env>(
    client: &Client<E>,
    assignor: ClassicAssignor,
    joined: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
    let mut members = Vec::new();
    for member in &joined.members {
        let subscription: Subscription = decode(&member.metadata).map_err(unreadable)?;
        members.push(Wanting::new(member.member_id.clone(), subscription));
    }
    let topics: BTreeSet<&Str> = members.iter().flat_map(Wanting::topics).collect();
    let names: Vec<&str> = topics.iter().map(|topic| &***topic).collect();
    // Topics that are not there have no partitions yet.
    client.retry("the metadata of a group's topics", || client.refresh(&names, false)).await?;
    let metadata = client.metadata();
    let counts = topics
        .iter()
        .filter_map(|topic| {
            let count = metadata.topics.get(*topic)?.partitions.len();
            Some(((*topic).clone(), i32::try_from(count).unwrap_or(i32::MAX)))
        })
        .collect();
    let shares = assignor.assign(&members, &counts).into_iter();
    Ok(shares
        .map(|(member_id, share)| SyncGroupRequestAssignment {
            member_id,
            assignment: encode(&Assignment::new(listed(&share))),
        })
        .collect())
}
