//! Groups: found, joined, committed, kept over restarts.

use crate::support::*;
use bytes::Bytes;
use highwater_broker::Node;
use highwater_env::Env;
use highwater_types::{Offset, PartitionIndex, TopicId};
use highwater_wire::messages::*;
use highwater_wire::{ErrorCode, Str};
use std::time::Duration;

/// Groups that begin without waiting for more members.
const AT_ONCE: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0")];

pub fn commit_request(group: &str, topic: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: PartitionIndex(0),
        committed_offset: Offset(offset),
        committed_metadata: Some("kept".into()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub fn fetch_request(group: &str, topic: &str) -> OffsetFetchRequest {
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic.into(),
                partition_indexes: vec![PartitionIndex(0)],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Commits an offset of partition 0, as nobody in particular; asks again while the coordinator begins.
pub async fn commit<E: Env>(
    env: &E,
    client: &mut Client<E>,
    group: &str,
    topic: &str,
    offset: i64,
) -> ErrorCode {
    for _ in 0..200 {
        let response = client.call(9, &commit_request(group, topic, offset)).await;
        let code = response.topics[0].partitions[0].error_code;
        if code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
            return code;
        }
        pause(env, Duration::from_millis(20)).await;
    }
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
}

/// The offset that is committed for partition 0, or what is wrong with the group.
pub async fn committed<E: Env>(
    env: &E,
    client: &mut Client<E>,
    group: &str,
    topic: &str,
) -> Result<i64, ErrorCode> {
    for _ in 0..200 {
        let response = client.call(9, &fetch_request(group, topic)).await;
        match response.groups[0].error_code {
            ErrorCode::NONE => return Ok(response.groups[0].topics[0].partitions[0].committed_offset.0),
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => pause(env, Duration::from_millis(20)).await,
            code => return Err(code),
        }
    }
    Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
}

pub async fn find<E: Env>(client: &mut Client<E>, group: &str) -> Coordinator {
    let request =
        FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..FindCoordinatorRequest::default() };
    client.call(6, &request).await.coordinators.remove(0)
}

fn join_request(group: &str, member: &Str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"),
        }],
        ..Default::default()
    }
}

/// A member of its own group, with an assignment.
async fn member<E: Env>(client: &mut Client<E>, group: &str) -> Str {
    let refused = client.call(9, &join_request(group, &Str::new())).await;
    assert_eq!(refused.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    let id = refused.member_id;
    let joined = client.call(9, &join_request(group, &id)).await;
    assert_eq!((joined.error_code, joined.generation_id, &joined.leader), (ErrorCode::NONE, 1, &id));
    let sync = SyncGroupRequest {
        group_id: group.into(),
        generation_id: 1,
        member_id: id.clone(),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: id.clone(),
            assignment: Bytes::from_static(b"all of it"),
        }],
        ..Default::default()
    };
    let synced = client.call(5, &sync).await;
    assert_eq!((synced.error_code, &*synced.assignment), (ErrorCode::NONE, &b"all of it"[..]));
    id
}

async fn heartbeat<E: Env>(client: &mut Client<E>, group: &str, member: &Str) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id: 1,
        member_id: member.clone(),
        group_instance_id: None,
    };
    client.call(4, &request).await.error_code
}

async fn begin<E: Env>(env: &E, node: &Node<E>, group: &str) -> Client<E> {
    let mut client = Client::to(env, node).await;
    let found = find(&mut client, group).await;
    assert_eq!((found.error_code, found.node_id.0), (ErrorCode::NONE, 1));
    assert!(committed(env, &mut client, group, "t").await.is_ok());
    client
}

#[test]
fn a_group_and_its_offsets_are_there_after_a_restart() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, AT_ONCE).await;
        let mut client = begin(&env, &node, "g").await;
        client.create_topic("t", 1, &[]).await;
        let id = member(&mut client, "g").await;
        let mut request = commit_request("g", "t", 5);
        (request.generation_id_or_member_epoch, request.member_id) = (1, id.clone());
        let response = client.call(9, &request).await;
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
        request.generation_id_or_member_epoch = 2;
        let response = client.call(9, &request).await;
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::ILLEGAL_GENERATION);
        assert_eq!(commit(&env, &mut client, "other", "t", 7).await, ErrorCode::NONE);
        assert_eq!(
            commit(&env, &mut client, "other", "missing", 7).await,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        );
        node.shutdown().await.unwrap();

        let node = start(&env, &dir, AT_ONCE).await;
        let mut client = begin(&env, &node, "g").await;
        assert_eq!(committed(&env, &mut client, "g", "t").await, Ok(5));
        assert_eq!(committed(&env, &mut client, "other", "t").await, Ok(7));
        assert_eq!(committed(&env, &mut client, "nobody", "t").await, Ok(-1));
        // The member goes on where it was.
        assert_eq!(heartbeat(&mut client, "g", &id).await, ErrorCode::NONE);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn offsets_are_read_in_every_version() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, AT_ONCE).await;
        let mut client = begin(&env, &node, "g").await;
        let topic_id = client.create_topic("t", 1, &[]).await;
        for version in 2..=10 {
            let mut request = commit_request("g", "t", i64::from(version));
            request.topics[0].topic_id = topic_id;
            let response = client.call(version, &request).await;
            assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE, "{version}");
        }
        for version in 1..=7 {
            let topic =
                OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![PartitionIndex(0)] };
            let mut request = OffsetFetchRequest {
                group_id: "g".into(),
                topics: Some(vec![topic]),
                ..OffsetFetchRequest::default()
            };
            for _ in 0..2 {
                let response = client.call(version, &request).await;
                let partition = &response.topics[0].partitions[0];
                assert_eq!((partition.committed_offset.0, partition.metadata.as_deref()), (10, Some("kept")));
                if version >= 2 {
                    request.topics = None;
                }
            }
        }
        for version in 8..=10 {
            let mut request = fetch_request("g", "t");
            request.groups[0].topics.as_mut().unwrap()[0].topic_id = topic_id;
            let mut all = request.groups[0].clone();
            all.topics = None;
            request.groups.push(all);
            let response = client.call(version, &request).await;
            for group in &response.groups {
                assert_eq!(group.topics[0].partitions[0].committed_offset.0, 10, "{version}");
                let named = (&*group.topics[0].name, group.topics[0].topic_id);
                let expected = if version >= 10 { ("", topic_id) } else { ("t", TopicId::default()) };
                assert_eq!(named, expected);
            }
        }
        let mut unknown = commit_request("g", "t", 1);
        unknown.topics[0].topic_id = TopicId(highwater_types::Uuid([9; 16]));
        let response = client.call(10, &unknown).await;
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn groups_are_listed_described_and_deleted() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, AT_ONCE).await;
        let mut client = begin(&env, &node, "g").await;
        client.create_topic("t", 1, &[]).await;
        let id = member(&mut client, "g").await;
        assert_eq!(commit(&env, &mut client, "idle", "t", 1).await, ErrorCode::NONE);
        let listed = client.call(5, &ListGroupsRequest::default()).await;
        let mut groups: Vec<_> = listed
            .groups
            .iter()
            .map(|group| (&*group.group_id, &*group.group_state, &*group.protocol_type, &*group.group_type))
            .collect();
        groups.sort();
        assert_eq!(groups, [("g", "Stable", "consumer", "Classic"), ("idle", "Empty", "", "Classic")]);
        let request = DescribeGroupsRequest { groups: vec!["g".into(), "none".into()], ..Default::default() };
        let described = client.call(6, &request).await.groups;
        assert_eq!((&*described[0].group_state, &*described[0].protocol_data), ("Stable", "range"));
        let member = &described[0].members[0];
        assert_eq!(
            (&member.member_id, &*member.client_id, &*member.client_host),
            (&id, "test", "/127.0.0.1")
        );
        assert_eq!(described[1].error_code, ErrorCode::GROUP_ID_NOT_FOUND);

        let delete = DeleteGroupsRequest { groups_names: vec!["g".into(), "idle".into(), "none".into()] };
        let codes: Vec<_> =
            client.call(2, &delete).await.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [ErrorCode::NON_EMPTY_GROUP, ErrorCode::NONE, ErrorCode::GROUP_ID_NOT_FOUND]);
        assert_eq!(committed(&env, &mut client, "idle", "t").await, Ok(-1));

        let forget = OffsetDeleteRequest {
            group_id: "g".into(),
            topics: vec![OffsetDeleteRequestTopic {
                name: "t".into(),
                partitions: vec![OffsetDeleteRequestPartition { partition_index: PartitionIndex(0) }],
            }],
        };
        let response = client.call(0, &forget).await;
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
        let leave = LeaveGroupRequest {
            group_id: "g".into(),
            members: vec![MemberIdentity { member_id: id, ..Default::default() }],
            ..Default::default()
        };
        let left = client.call(5, &leave).await;
        assert_eq!((left.error_code, left.members[0].error_code), (ErrorCode::NONE, ErrorCode::NONE));
        let response = client.call(0, &forget).await;
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn only_groups_have_coordinators() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[("offsets.topic.num.partitions", "3")]).await;
        let mut client = Client::to(&env, &node).await;
        for version in 0..=6 {
            let request = FindCoordinatorRequest {
                key: "g".into(),
                coordinator_keys: vec!["g".into(), "h".into()],
                ..Default::default()
            };
            let found = client.call(version, &request).await;
            let port = i32::from(node.local_addrs()[0].port());
            if version >= 4 {
                assert_eq!(found.coordinators.len(), 2);
                assert!(found.coordinators.iter().all(|one| one.port == port && one.node_id.0 == 1));
            } else {
                assert_eq!((found.error_code, found.port), (ErrorCode::NONE, port));
            }
        }
        let request = FindCoordinatorRequest { key: "t".into(), key_type: 1, ..Default::default() };
        assert_eq!(client.call(3, &request).await.error_code, ErrorCode::INVALID_REQUEST);
        let request = MetadataRequest { topics: None, ..Default::default() };
        let topics = client.call(12, &request).await.topics;
        assert_eq!((topics[0].name.as_deref(), topics[0].is_internal), (Some("__consumer_offsets"), true));
        assert_eq!(topics[0].partitions.len(), 3);
        node.shutdown().await.unwrap();
    });
}

#[test]
fn a_member_that_waits_does_not_hold_up_a_shutdown() {
    on_tokio(|env, dir| async move {
        let node = start(&env, &dir, &[]).await;
        let mut client = begin(&env, &node, "g").await;
        let refused = client.call(9, &join_request("g", &Str::new())).await;
        client.send(9, &join_request("g", &refused.member_id)).await;
        pause(&env, Duration::from_millis(50)).await;
        node.shutdown().await.unwrap();
        let (_, answer) = client.receive::<JoinGroupRequest>(9).await;
        assert_eq!(answer.error_code, ErrorCode::NOT_COORDINATOR);
    });
}
