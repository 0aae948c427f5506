//! Becoming a member, and what a member is.

use super::assignor::{Wanting, range};
use super::config::GroupConfig;
use super::protocol::{Assignment, Subscription, TopicPartitions, decode, encode};
use crate::coordinator::Coordinator;
use crate::{Client, ClientError};
use bytes::Bytes;
use highwater_env::{Env, sleep};
use highwater_types::PartitionIndex;
use highwater_wire::messages::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, SyncGroupRequest,
    SyncGroupRequestAssignment,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::BTreeSet;
use std::time::Duration;

/// The kind of protocols that consumers have.
const CONSUMER: Str = Str::from_static("consumer");
/// The protocol that is offered.
const RANGE: Str = Str::from_static("range");
/// How long to wait before joining is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// What a member is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    /// Empty before the first join.
    pub(super) id: Str,
    pub(super) generation: i32,
    pub(super) instance: Option<Str>,
}

/// Partitions, by topic.
pub(super) type Partitions = BTreeSet<(Str, PartitionIndex)>;

/// Joins, as long as it takes, and gives what the member is to have.
pub(super) async fn join<E: Env>(
    coordinator: &Coordinator<E>,
    config: &GroupConfig,
    topics: &[Str],
    membership: &mut Membership,
) -> Result<Partitions, ClientError> {
    let clock = coordinator.client().env().clock();
    loop {
        let joined = match join_once(coordinator, config, topics, membership).await? {
            Some(joined) => joined,
            None => {
                sleep(clock, PAUSE).await;
                continue;
            }
        };
        if let Some(assignment) = sync(coordinator, membership, &joined).await? {
            return Ok(assignment);
        }
        sleep(clock, PAUSE).await;
    }
}

/// None: it is to be tried again.
async fn join_once<E: Env>(
    coordinator: &Coordinator<E>,
    config: &GroupConfig,
    topics: &[Str],
    membership: &mut Membership,
) -> Result<Option<JoinGroupResponse>, ClientError> {
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let metadata = encode(&Subscription::new(topics, Vec::new()));
    let request = JoinGroupRequest {
        group_id: coordinator.group().clone(),
        session_timeout_ms: millis(config.session_timeout),
        rebalance_timeout_ms: millis(config.max_poll_interval),
        member_id: membership.id.clone(),
        group_instance_id: membership.instance.clone(),
        protocol_type: CONSUMER,
        protocols: vec![JoinGroupRequestProtocol { name: RANGE, metadata }],
        reason: None,
    };
    let answer = coordinator.call(&request, |answer| answer.error_code).await?;
    match answer.error_code {
        ErrorCode::NONE => {
            membership.id = Str::from(&*answer.member_id);
            membership.generation = answer.generation_id;
            Ok(Some(answer))
        }
        ErrorCode::MEMBER_ID_REQUIRED => {
            membership.id = Str::from(&*answer.member_id);
            Ok(None)
        }
        ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
            membership.id = Str::new();
            Ok(None)
        }
        ErrorCode::REBALANCE_IN_PROGRESS => Ok(None),
        code => Err(coordinator.refused(code, None)),
    }
}

/// None: the group shares its partitions anew.
async fn sync<E: Env>(
    coordinator: &Coordinator<E>,
    membership: &mut Membership,
    joined: &JoinGroupResponse,
) -> Result<Option<Partitions>, ClientError> {
    let leads = joined.leader == membership.id && !joined.skip_assignment;
    let assignments = if leads { assign(coordinator.client(), joined).await? } else { Vec::new() };
    let request = SyncGroupRequest {
        group_id: coordinator.group().clone(),
        generation_id: membership.generation,
        member_id: membership.id.clone(),
        group_instance_id: membership.instance.clone(),
        protocol_type: Some(CONSUMER),
        protocol_name: Some(RANGE),
        assignments,
    };
    let answer = coordinator.call(&request, |answer| answer.error_code).await?;
    match answer.error_code {
        ErrorCode::NONE => Ok(Some(partitions(&answer.assignment)?)),
        ErrorCode::UNKNOWN_MEMBER_ID => {
            membership.id = Str::new();
            Ok(None)
        }
        ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => Ok(None),
        code => Err(coordinator.refused(code, None)),
    }
}

fn partitions(assignment: &Bytes) -> Result<Partitions, ClientError> {
    let assignment: Assignment = decode(assignment).map_err(|error| unreadable(&error))?;
    let of_topic = |part: TopicPartitions| {
        let topic = Str::from(&*part.topic);
        part.partitions.into_iter().map(move |partition| (topic.clone(), partition))
    };
    Ok(assignment.assigned_partitions.into_iter().flat_map(of_topic).collect())
}

fn unreadable(error: &highwater_wire::DecodeError) -> ClientError {
    ClientError::Protocol { peer: "another member".to_owned(), cause: error.to_string() }
}

/// The leader's part: who gets what.
async fn assign<E: Env>(
    client: &Client<E>,
    joined: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
    let mut members = Vec::new();
    for member in &joined.members {
        let subscription: Subscription = decode(&member.metadata).map_err(|error| unreadable(&error))?;
        let topics = subscription.topics.into_iter().collect();
        members.push(Wanting { member: member.member_id.clone(), topics });
    }
    let topics: BTreeSet<&Str> = members.iter().flat_map(|member| &member.topics).collect();
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
    let shares = range(&members, &counts).into_iter();
    Ok(shares
        .map(|(member_id, share)| SyncGroupRequestAssignment {
            member_id,
            assignment: encode(&Assignment::new(share)),
        })
        .collect())
}
