//! What the small cluster does for groups: the coordinator of brokers, on broker 0, whose records are committed at
//! once.

use super::{FakeCluster, Outcome, State, answer, decode};
use bytes::Bytes;
use highwater_env::{Env, sleep};
use highwater_groups::{
    Action, Answer, Client, Commit, ConsumerSettings, Coordinator, GroupSettings, NewOffset, Now, Racks,
    Token, Topics,
};
use highwater_sim::SimEnv;
use highwater_types::{BrokerId, Offset, TopicId, Uuid};
use highwater_wire::messages::*;
use highwater_wire::{ApiKey, ErrorCode, Str};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often it is looked whether an answer is there.
const GLANCE: Duration = Duration::from_millis(5);

/// The coordinator, and its answers to requests that wait.
#[derive(Debug)]
pub(crate) struct Groups {
    coordinator: Coordinator,
    answers: BTreeMap<Token, Answer>,
    next: u64,
}

impl Default for Groups {
    fn default() -> Self {
        let consumer = ConsumerSettings {
            heartbeat_interval: Duration::from_millis(200),
            ..ConsumerSettings::default()
        };
        let settings = GroupSettings {
            min_session_timeout: Duration::from_millis(1),
            initial_rebalance_delay: Duration::from_millis(50),
            consumer,
            ..GroupSettings::default()
        };
        Self { coordinator: Coordinator::new(settings), answers: BTreeMap::new(), next: 0 }
    }
}

impl Groups {
    fn work(&mut self, topics: &Known, now: Now) {
        self.coordinator.tick(topics, now);
        while let Some(action) = self.coordinator.poll_action() {
            match action {
                Action::Answer(token, answer) => drop(self.answers.insert(token, answer)),
                Action::Write(id, _) => self.coordinator.committed(id, now),
                Action::Reload | Action::Note(_) => {}
            }
        }
    }
}

/// The topics of the cluster.
struct Known(BTreeMap<Str, (TopicId, i32)>);

impl Topics for Known {
    fn version(&self) -> u64 {
        1
    }

    fn topic(&self, name: &str) -> Option<(TopicId, i32)> {
        self.0.get(name).copied()
    }

    fn by_id(&self, id: TopicId) -> Option<(Str, i32)> {
        self.0.iter().find(|(_, known)| known.0 == id).map(|(name, known)| (name.clone(), known.1))
    }

    fn racks(&self, _id: TopicId) -> Racks {
        Racks::new()
    }

    fn names(&self) -> Vec<Str> {
        self.0.keys().cloned().collect()
    }
}

/// Serves a call of groups; None if it is another.
pub(super) async fn serve(
    cluster: &FakeCluster,
    env: &SimEnv,
    (key, version, id): (ApiKey, i16, i32),
    frame: &Bytes,
) -> Option<Outcome> {
    let token = {
        let mut state = cluster.state();
        match state.asked(env, key, version, frame)? {
            Ok(at_once) => return Some(at_once(id)),
            Err(token) => token,
        }
    };
    loop {
        let found = {
            let mut state = cluster.state();
            let known = state.known();
            state.groups.work(&known, now(env));
            state.groups.answers.remove(&token)
        };
        if let Some(found) = found {
            return Some(written(found, frame, version, id));
        }
        sleep(env.clock(), GLANCE).await;
    }
}

fn now(env: &SimEnv) -> Now {
    Now { instant: env.clock().now(), wall: env.clock().wall() }
}

type AtOnce = Box<dyn FnOnce(i32) -> Outcome + Send>;

impl State {
    fn known(&self) -> Known {
        let known = self.topics.iter().map(|(name, topic)| {
            let count = i32::try_from(topic.partitions.len()).expect("there are few");
            (Str::from(name.as_str()), (topic.id, count))
        });
        Known(known.collect())
    }

    /// What is answered at once, or the request that waits.
    fn asked(
        &mut self,
        env: &SimEnv,
        key: ApiKey,
        version: i16,
        frame: &Bytes,
    ) -> Option<Result<AtOnce, Token>> {
        let frame = frame.clone();
        let now = now(env);
        self.groups.next += 1;
        let number = self.groups.next;
        let token = Token(number);
        let fresh = Uuid::from_random(u128::from(number));
        let client = Client { id: "client", host: "/test", version, fresh };
        let known = self.known();
        let coordinator = &mut self.groups.coordinator;
        match key {
            ApiKey::FIND_COORDINATOR => return Some(Ok(Box::new(move |id| found(version, id)))),
            ApiKey::OFFSET_FETCH => {
                let response = offsets(coordinator, &decode(frame, version));
                return Some(Ok(Box::new(move |id| answer::<OffsetFetchRequest>(id, version, &response))));
            }
            ApiKey::JOIN_GROUP => coordinator.join(token, &client, &decode(frame, version), &known, now),
            ApiKey::SYNC_GROUP => coordinator.sync(token, &decode(frame, version), &known, now),
            ApiKey::HEARTBEAT => coordinator.heartbeat(token, &decode(frame, version), &known, now),
            ApiKey::LEAVE_GROUP => {
                let request: LeaveGroupRequest = decode(frame, version);
                coordinator.leave(token, &request.group_id, &request.members, &known, now);
            }
            ApiKey::CONSUMER_GROUP_HEARTBEAT => {
                coordinator.consumer_heartbeat(token, &client, &decode(frame, version), &known, now);
            }
            ApiKey::OFFSET_COMMIT => {
                let request: OffsetCommitRequest = decode(frame, version);
                let group = request.group_id.clone();
                coordinator.commit(token, &group, commit(request), now);
            }
            _ => return None,
        }
        Some(Err(token))
    }
}

fn found(version: i16, id: i32) -> Outcome {
    let one = highwater_wire::messages::find_coordinator::Coordinator {
        node_id: BrokerId(0),
        ..Default::default()
    };
    let response = FindCoordinatorResponse { coordinators: vec![one], ..FindCoordinatorResponse::default() };
    answer::<FindCoordinatorRequest>(id, version, &response)
}

fn commit(request: OffsetCommitRequest) -> Commit {
    let offsets = request.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |part| NewOffset {
            topic: name.clone(),
            partition: part.partition_index,
            offset: part.committed_offset,
            leader_epoch: part.committed_leader_epoch,
            metadata: Str::new(),
        })
    });
    Commit {
        generation: request.generation_id_or_member_epoch,
        member: request.member_id,
        instance: request.group_instance_id,
        retention: None,
        offsets: offsets.collect(),
    }
}

fn offsets(coordinator: &Coordinator, request: &OffsetFetchRequest) -> OffsetFetchResponse {
    let of_group = |group: &OffsetFetchRequestGroup| {
        let topics = group.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
            name: topic.name.clone(),
            partitions: topic
                .partition_indexes
                .iter()
                .map(|partition| {
                    let known = coordinator.offset(&group.group_id, &topic.name, *partition);
                    OffsetFetchResponsePartitions {
                        partition_index: *partition,
                        committed_offset: known.map_or(Offset(-1), |known| known.offset),
                        ..OffsetFetchResponsePartitions::default()
                    }
                })
                .collect(),
            ..OffsetFetchResponseTopics::default()
        });
        let allowed = coordinator.may_fetch(&group.group_id, group.member_id.as_ref(), group.member_epoch);
        OffsetFetchResponseGroup {
            group_id: group.group_id.clone(),
            topics: topics.collect(),
            error_code: allowed.err().unwrap_or(ErrorCode::NONE),
        }
    };
    let groups = request.groups.iter().map(of_group).collect();
    OffsetFetchResponse { groups, ..OffsetFetchResponse::default() }
}

/// An answer as it goes out.
fn written(found: Answer, frame: &Bytes, version: i16, id: i32) -> Outcome {
    match found {
        Answer::Join(response) => answer::<JoinGroupRequest>(id, version, &response),
        Answer::Sync(response) => answer::<SyncGroupRequest>(id, version, &response),
        Answer::ConsumerHeartbeat(response) => {
            answer::<ConsumerGroupHeartbeatRequest>(id, version, &response)
        }
        Answer::Heartbeat(error_code) => {
            answer::<HeartbeatRequest>(id, version, &HeartbeatResponse { error_code, ..Default::default() })
        }
        Answer::Leave(_) => answer::<LeaveGroupRequest>(id, version, &LeaveGroupResponse::default()),
        Answer::Commit(codes) => {
            let request: OffsetCommitRequest = decode(frame.clone(), version);
            answer::<OffsetCommitRequest>(id, version, &committed(request, codes))
        }
        other => panic!("nobody asked for {other:?}"),
    }
}

fn committed(request: OffsetCommitRequest, codes: Result<Vec<ErrorCode>, ErrorCode>) -> OffsetCommitResponse {
    let error_code = codes.err().unwrap_or(ErrorCode::NONE);
    let of_topic = |topic: OffsetCommitRequestTopic| {
        let partitions = topic.partitions.into_iter();
        let partitions = partitions
            .map(|part| OffsetCommitResponsePartition { partition_index: part.partition_index, error_code });
        OffsetCommitResponseTopic {
            name: topic.name,
            partitions: partitions.collect(),
            ..OffsetCommitResponseTopic::default()
        }
    };
    let topics = request.topics.into_iter().map(of_topic).collect();
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}
