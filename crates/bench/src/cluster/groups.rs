//! What groups cost: a large one, many of them after a crash, and commits beside produces.

use super::{Nodes, Places, Setup, TOPIC};
use crate::load::frames::{PRODUCE_VERSION, batch, encoded, produce};
use crate::load::{Connection, call, create_topic};
use crate::process::cpu_time;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use highwater_types::{Offset, PartitionIndex};
use highwater_wire::messages::join_group::JoinGroupRequestProtocol;
use highwater_wire::messages::sync_group::SyncGroupRequestAssignment;
use highwater_wire::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest,
    OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetFetchRequest, OffsetFetchRequestGroup,
    SyncGroupRequest, SyncGroupResponse,
};
use highwater_wire::{ErrorCode, Message, Request, Str, decode_response_header};
use std::time::{Duration, Instant};

const JOIN: i16 = 7;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
const COMMIT: i16 = 8;
const FETCH: i16 = 8;
/// What a member says of its subscription, and gets as its assignment: about as much as clients do.
const MEMBER_BYTES: usize = 100;
/// How many clients commit, or produce, side by side.
const CLIENTS: usize = 16;
/// How long something may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Groups {
    #[command(flatten)]
    places: Places,
    /// How many members the large group has.
    #[arg(long, default_value_t = 1_000)]
    members: usize,
    /// How many groups there are when the broker is killed.
    #[arg(long, default_value_t = 10_000)]
    groups: usize,
    /// For how many seconds commits and produces are counted.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Prints what groups cost a broker that is alone.
pub fn groups(options: &Groups) -> Result<()> {
    for broker in options.places.brokers()? {
        println!("{}\n| what | figure |\n|---|---|", broker.display());
        let setup =
            Setup { broker, dir: options.places.dir()?, count: 1, durability: "sync", kafka: String::new() };
        let mut nodes = Nodes::start(setup)?;
        create_topic(nodes.address(0), TOPIC, CLIENTS, 1)?;
        let mut connection = nodes.connect(0)?;
        wait_for_coordinators(&mut connection)?;
        large_group(&nodes, options.members)?;
        rates(&nodes, options.seconds)?;
        fail_over(&mut nodes, options.groups)?;
    }
    Ok(())
}

fn wait_for_coordinators(connection: &mut Connection) -> Result<()> {
    let began = Instant::now();
    loop {
        let request =
            FindCoordinatorRequest { key: Str::from_static("any"), ..FindCoordinatorRequest::default() };
        let found = call(connection, 3, &request)?;
        let committed = call(connection, COMMIT, &commit("any", 0, 0))?;
        let code =
            committed.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code).next();
        if found.error_code == ErrorCode::NONE && code == Some(ErrorCode::NONE) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "there is no coordinator: {:?}, {code:?}", found.error_code);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A member of the large group.
struct Member {
    connection: Connection,
    id: Str,
    generation: i32,
}

/// All join, and then one more.
fn large_group(nodes: &Nodes, count: usize) -> Result<()> {
    let pid = *nodes.pids().first().context("a node that runs")?;
    let mut members = (0..count).map(|_| Member::new(nodes)).collect::<Result<Vec<_>>>()?;
    let (cpu, began) = (cpu_time(pid)?, Instant::now());
    let last = settle(&mut members)?;
    told(&format!("{count} members join a new group"), last, began.elapsed(), cpu_time(pid)? - cpu);
    members.push(Member::new(nodes)?);
    let (cpu, began) = (cpu_time(pid)?, Instant::now());
    let newest = members.last_mut().context("the one that was just added")?;
    newest.connection.send(&encoded(JOIN, &join(&newest.id))?)?;
    let (newest, others) = members.split_last_mut().context("there are some")?;
    for member in others.iter_mut() {
        let request = HeartbeatRequest {
            group_id: Str::from_static("large"),
            generation_id: member.generation,
            member_id: member.id.clone(),
            ..HeartbeatRequest::default()
        };
        let code = call(&mut member.connection, HEARTBEAT, &request)?.error_code;
        ensure!(code == ErrorCode::REBALANCE_IN_PROGRESS, "a heartbeat is answered with {code:?}");
        member.connection.send(&encoded(JOIN, &join(&member.id))?)?;
    }
    let joined = others.iter_mut().chain([newest]).map(Member::joined).collect::<Result<Vec<_>>>()?;
    share(&mut members, &joined)?;
    told("one more joins it", began.elapsed(), began.elapsed(), cpu_time(pid)? - cpu);
    Ok(())
}

fn told(what: &str, settled: Duration, wall: Duration, cpu: Duration) {
    println!(
        "| {what}: settled after the last join | {:.2} s, the broker using {:.2} of a core |",
        settled.as_secs_f64(),
        cpu.as_secs_f64() / wall.as_secs_f64()
    );
}

/// All join; how long it took from the last join until all had their parts.
fn settle(members: &mut [Member]) -> Result<Duration> {
    for member in members.iter_mut() {
        member.connection.send(&encoded(JOIN, &join(&member.id))?)?;
    }
    let sent = Instant::now();
    let joined = members.iter_mut().map(Member::joined).collect::<Result<Vec<_>>>()?;
    share(members, &joined)?;
    Ok(sent.elapsed())
}

/// The leader gives each its part, and all take theirs.
fn share(members: &mut [Member], joined: &[JoinGroupResponse]) -> Result<()> {
    let parts: Vec<SyncGroupRequestAssignment> = members
        .iter()
        .map(|member| SyncGroupRequestAssignment {
            member_id: member.id.clone(),
            assignment: Bytes::from(vec![1; MEMBER_BYTES]),
        })
        .collect();
    for (member, joined) in members.iter_mut().zip(joined) {
        member.generation = joined.generation_id;
        let request = SyncGroupRequest {
            group_id: Str::from_static("large"),
            generation_id: joined.generation_id,
            member_id: member.id.clone(),
            protocol_type: Some(Str::from_static("consumer")),
            protocol_name: Some(Str::from_static("range")),
            assignments: if joined.leader == member.id { parts.clone() } else { Vec::new() },
            ..SyncGroupRequest::default()
        };
        member.connection.send(&encoded(SYNC, &request)?)?;
    }
    for member in members {
        let answer: SyncGroupResponse = receive::<SyncGroupRequest>(&mut member.connection, SYNC)?;
        ensure!(answer.error_code == ErrorCode::NONE, "a member got no part: {:?}", answer.error_code);
        ensure!(answer.assignment.len() == MEMBER_BYTES, "a member got another part");
    }
    Ok(())
}

impl Member {
    fn new(nodes: &Nodes) -> Result<Self> {
        let mut connection = nodes.connect(0)?;
        let answer = call(&mut connection, JOIN, &join(&Str::new()))?;
        ensure!(answer.error_code == ErrorCode::MEMBER_ID_REQUIRED, "an id: {:?}", answer.error_code);
        Ok(Self { connection, id: answer.member_id, generation: -1 })
    }

    fn joined(&mut self) -> Result<JoinGroupResponse> {
        let answer = receive::<JoinGroupRequest>(&mut self.connection, JOIN)?;
        ensure!(answer.error_code == ErrorCode::NONE, "a member was refused: {:?}", answer.error_code);
        Ok(answer)
    }
}

fn join(id: &Str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from_static("large"),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        member_id: id.clone(),
        protocol_type: Str::from_static("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from_static("range"),
            metadata: Bytes::from(vec![0; MEMBER_BYTES]),
        }],
        ..JoinGroupRequest::default()
    }
}

fn commit(group: &str, partition: usize, offset: i64) -> OffsetCommitRequest {
    let part = OffsetCommitRequestPartition {
        partition_index: PartitionIndex(partition as i32),
        committed_offset: Offset(offset),
        committed_metadata: Some(Str::new()),
        ..OffsetCommitRequestPartition::default()
    };
    OffsetCommitRequest {
        group_id: Str::from(group),
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: vec![part],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

/// Commits and produces of about the same size, each client with one at a time.
fn rates(nodes: &Nodes, seconds: u64) -> Result<()> {
    let (records, _) = batch(MEMBER_BYTES, 1);
    let mut rates = Vec::new();
    for commits in [false, true] {
        let counts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let records = &records;
                    scope.spawn(move || -> Result<u64> {
                        let mut connection = nodes.connect(0)?;
                        let ends = Instant::now() + Duration::from_secs(seconds);
                        let mut done = 0;
                        while Instant::now() < ends {
                            if commits {
                                let request = commit(&format!("client-{client}"), client, done as i64);
                                call(&mut connection, COMMIT, &request)?;
                            } else {
                                connection.send(&produce(TOPIC, client, records)?)?;
                                connection.receive()?;
                            }
                            done += 1;
                        }
                        Ok(done)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("it panicked"))?)
                .sum::<Result<u64>>()
        })?;
        rates.push(counts as f64 / seconds as f64);
    }
    println!(
        "| commits and produces a second, {CLIENTS} clients with one at a time (Produce {PRODUCE_VERSION}) | {:.0} and {:.0}: {:.2} |",
        rates[1],
        rates[0],
        rates[1] / rates[0]
    );
    Ok(())
}

/// Groups commit, the broker is killed, and all is asked for as soon as it answers again.
fn fail_over(nodes: &mut Nodes, count: usize) -> Result<()> {
    let mut connection = nodes.connect(0)?;
    let name = |group: usize| format!("group-{group}");
    for first in (0..count).step_by(500) {
        let some = first..count.min(first + 500);
        for group in some.clone() {
            connection.send(&encoded(COMMIT, &commit(&name(group), 0, group as i64))?)?;
        }
        for _ in some {
            let answer = receive::<OffsetCommitRequest>(&mut connection, COMMIT)?;
            let code =
                answer.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code).next();
            ensure!(code == Some(ErrorCode::NONE), "a commit is answered with {code:?}");
        }
    }
    nodes.kill(0);
    nodes.restart(0)?;
    let began = Instant::now();
    let mut connection = nodes.connect(0)?;
    let group = |group: usize| OffsetFetchRequestGroup {
        group_id: Str::from(name(group)),
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest {
        groups: (0..count).map(group).collect(),
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    loop {
        let answer = call(&mut connection, FETCH, &request)?;
        let ready = answer.groups.iter().filter(|group| group.error_code == ErrorCode::NONE);
        let right = ready.clone().filter(|group| {
            let offset =
                group.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.committed_offset);
            offset
                .map(|offset| name(usize::try_from(offset.0).unwrap_or(usize::MAX)))
                .eq([group.group_id.to_string()])
        });
        if right.count() == count {
            break;
        }
        if ready.count() == count {
            bail!("a group has lost its offset");
        }
        ensure!(began.elapsed() < PATIENCE, "the groups are not coordinated");
    }
    println!(
        "| {count} groups after kill -9, from the first answer on | {:.2} s |",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn receive<R: Request>(connection: &mut Connection, version: i16) -> Result<R::Response> {
    let mut frame = Bytes::copy_from_slice(connection.receive()?);
    decode_response_header(&mut frame, R::KEY, version)?;
    Ok(R::Response::decode_body(frame, version)?)
}
