//! A driver for tests: a log in memory that commits at once, or when told, and answers as text.

use crate::{
    Action, Answer, Client, Commit, Coordinator, GroupSettings, NewOffset, Now, Record, Token, WriteId,
};
use bytes::Bytes;
use highwater_types::{Instant, LeaderEpoch, Offset, PartitionIndex, Timestamp, Uuid};
use highwater_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, MemberIdentity, SyncGroupRequest,
    SyncGroupRequestAssignment,
};
use highwater_wire::{ErrorCode, Str};
use std::collections::VecDeque;
use std::time::Duration;

pub(crate) const GROUP: &str = "group";

/// A member as a test speaks of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) client: &'static str,
    /// "a#1": the id that was the first to be drawn, for client a.
    pub(crate) id: &'static str,
    pub(crate) instance: Option<&'static str>,
    pub(crate) version: i16,
    pub(crate) protocols: &'static [&'static str],
}

/// A client that is no member yet.
pub(crate) fn new(client: &'static str) -> Who {
    Who { client, id: "", instance: None, version: 9, protocols: &["range"] }
}

/// A member.
pub(crate) fn known(id: &'static str) -> Who {
    Who { id, ..new(id.split('#').next().expect("there is always a first part")) }
}

pub(crate) struct Bench {
    pub(crate) core: Coordinator,
    pub(crate) log: Vec<Record>,
    /// Writes are not committed before this is taken back.
    pub(crate) hold: bool,
    held: VecDeque<(WriteId, Vec<Record>)>,
    now_ms: u64,
    next_token: u64,
    next_id: u128,
    answers: Vec<(u64, Answer)>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut bench = Self {
            core: Coordinator::new(GroupSettings::default()),
            log: Vec::new(),
            hold: false,
            held: VecDeque::new(),
            now_ms: 1_000_000,
            next_token: 0,
            next_id: 0,
            answers: Vec::new(),
        };
        bench.core.loaded(bench.now());
        bench
    }

    /// A coordinator that is made from the log.
    pub(crate) fn reloaded(&self) -> Self {
        let mut core = Coordinator::new(GroupSettings::default());
        for record in &self.log {
            let (key, value) = record.encode();
            let read = Record::decode(Some(key), value).expect("it can be read").expect("it is known");
            core.replay(read);
        }
        core.loaded(self.now());
        let mut bench = Self { core, log: self.log.clone(), ..Self::new() };
        (bench.now_ms, bench.next_id, bench.next_token) = (self.now_ms, self.next_id, self.next_token);
        bench
    }

    pub(crate) fn now(&self) -> Now {
        Now { instant: Instant(self.now_ms * 1_000_000), wall: Timestamp(self.now_ms as i64) }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Does what is to be done.
    pub(crate) fn run(&mut self) {
        loop {
            while let Some(action) = self.core.poll_action() {
                match action {
                    Action::Answer(token, answer) => self.answers.push((token.0, answer)),
                    Action::Write(id, records) => self.held.push_back((id, records)),
                    Action::Note(_) => {}
                    Action::Reload => panic!("nothing of consumers fails here"),
                }
            }
            if self.hold {
                return;
            }
            let Some((id, records)) = self.held.pop_front() else { return };
            self.log.extend(records);
            self.core.committed(id, self.now());
        }
    }

    /// The oldest write under way fails.
    pub(crate) fn fail_write(&mut self, code: ErrorCode) {
        let (id, _) = self.held.pop_front().expect("something is being written");
        self.core.failed(id, code, self.now());
        self.run();
    }

    pub(crate) fn is_writing(&self) -> bool {
        !self.held.is_empty()
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(due) = self.core.next_due().map(|due| due.0 / 1_000_000).filter(|due| *due <= end) {
            self.now_ms = due.max(self.now_ms);
            self.core.tick(&(), self.now());
            self.run();
        }
        self.now_ms = end;
    }

    pub(crate) fn join(&mut self, who: Who) -> u64 {
        let token = self.token();
        self.next_id += 1;
        let fresh = Uuid(self.next_id.to_be_bytes());
        let client = Client { id: who.client, host: "/host", version: who.version, fresh };
        let protocol = |name: &&str| JoinGroupRequestProtocol {
            name: (*name).into(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x05topic\xff\xff\xff\xff"),
        };
        let request = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            member_id: real(who.id),
            group_instance_id: who.instance.map(Into::into),
            protocol_type: "consumer".into(),
            protocols: who.protocols.iter().map(protocol).collect(),
            ..JoinGroupRequest::default()
        };
        self.core.join(token, &client, &request, &(), self.now());
        self.run();
        token.0
    }

    /// A member asks for its assignment, or brings all.
    pub(crate) fn sync(&mut self, who: Who, generation: i32, assignments: &[(&str, &'static str)]) -> u64 {
        let token = self.token();
        let assignment = |(id, bytes): &(&str, &'static str)| SyncGroupRequestAssignment {
            member_id: real(id),
            assignment: Bytes::from_static(bytes.as_bytes()),
        };
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: generation,
            member_id: real(who.id),
            group_instance_id: who.instance.map(Into::into),
            assignments: assignments.iter().map(assignment).collect(),
            ..SyncGroupRequest::default()
        };
        self.core.sync(token, &request, &(), self.now());
        self.run();
        token.0
    }

    pub(crate) fn heartbeat(&mut self, who: Who, generation_id: i32) -> u64 {
        let token = self.token();
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id,
            member_id: real(who.id),
            group_instance_id: who.instance.map(Into::into),
        };
        self.core.heartbeat(token, &request, &(), self.now());
        self.run();
        token.0
    }

    pub(crate) fn leave(&mut self, who: Who) -> u64 {
        let token = self.token();
        let member = MemberIdentity {
            member_id: real(who.id),
            group_instance_id: who.instance.map(Into::into),
            reason: None,
        };
        self.core.leave(token, &GROUP.into(), &[member], &(), self.now());
        self.run();
        token.0
    }

    /// A member, or nobody in particular, commits an offset of partition 0.
    pub(crate) fn commit(&mut self, who: Option<Who>, generation: i32, topic: &str, offset: i64) -> u64 {
        let token = self.token();
        let commit = Commit {
            generation,
            member: who.map_or_else(Str::new, |who| real(who.id)),
            instance: who.and_then(|who| who.instance).map(Into::into),
            retention: None,
            offsets: vec![NewOffset {
                topic: topic.into(),
                partition: PartitionIndex(0),
                offset: Offset(offset),
                leader_epoch: LeaderEpoch(1),
                metadata: Str::new(),
            }],
        };
        self.core.commit(token, &GROUP.into(), commit, self.now());
        self.run();
        token.0
    }

    /// The same, of one that keeps its offset for a time of its own.
    pub(crate) fn commit_for(&mut self, topic: &str, offset: i64, retention: Duration) {
        let token = self.token();
        let new = NewOffset {
            topic: topic.into(),
            partition: PartitionIndex(0),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: Str::new(),
        };
        let commit = Commit {
            generation: -1,
            member: Str::new(),
            instance: None,
            retention: Some(retention),
            offsets: vec![new],
        };
        self.core.commit(token, &GROUP.into(), commit, self.now());
        self.run();
    }

    pub(crate) fn delete_offsets(&mut self, topic: &str) -> u64 {
        let token = self.token();
        self.core.delete_offsets(token, &GROUP.into(), vec![(topic.into(), PartitionIndex(0))]);
        self.run();
        token.0
    }

    pub(crate) fn delete_group(&mut self) -> u64 {
        let token = self.token();
        self.core.delete_group(token, &GROUP.into());
        self.run();
        token.0
    }

    /// Two members with generation 1, who have "one" and "two".
    pub(crate) fn with_two(protocols: &'static [&'static str]) -> (Self, Who, Who) {
        let mut bench = Self::new();
        bench.join(Who { version: 3, protocols, ..new("a") });
        bench.join(Who { version: 3, protocols, ..new("b") });
        bench.pass(6_000);
        let (a, b) = (Who { protocols, ..known("a#1") }, Who { protocols, ..known("b#2") });
        bench.sync(b, 1, &[]);
        bench.sync(a, 1, &[("a#1", "one"), ("b#2", "two")]);
        bench.answers();
        (bench, a, b)
    }

    /// What was committed for partition 0 of a topic.
    pub(crate) fn offset(&self, topic: &str) -> Option<i64> {
        self.core.offset(GROUP, topic, PartitionIndex(0)).map(|offset| offset.offset.0)
    }

    /// The group's state, in Kafka's word.
    pub(crate) fn state(&self) -> String {
        self.core.describe(&GROUP.into(), 5).group_state.to_string()
    }

    /// The answers since the last look, a line each, behind the number of the request.
    pub(crate) fn answers(&mut self) -> String {
        let line = |(token, answer): (u64, Answer)| format!("{token}: {}", text(&answer));
        self.answers.drain(..).map(line).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn take_answers(&mut self) -> Vec<(u64, Answer)> {
        std::mem::take(&mut self.answers)
    }
}

/// The id that a test speaks of as "a#1".
pub(crate) fn real(id: &str) -> Str {
    let Some((client, number)) = id.split_once('#') else { return id.into() };
    let number: u128 = number.parse().expect("a number stands behind the mark");
    format!("{client}-{}", Uuid(number.to_be_bytes())).into()
}

/// The other way round.
pub(crate) fn short(id: &str) -> String {
    let Some((client, uuid)) = id.len().checked_sub(23).map(|at| (&id[..at], &id[at + 1..])) else {
        return id.to_owned();
    };
    let uuid: Uuid = uuid.parse().expect("an id ends in a uuid");
    format!("{client}#{}", u128::from_be_bytes(uuid.0))
}

fn text(answer: &Answer) -> String {
    let codes = |codes: &[ErrorCode]| codes.iter().map(|code| code.name()).collect::<Vec<_>>().join(" ");
    let result = |result: &Result<Vec<ErrorCode>, ErrorCode>| match result {
        Ok(each) => codes(each),
        Err(code) => format!("refused, {}", code.name()),
    };
    match answer {
        Answer::Join(response) if response.error_code == ErrorCode::NONE => {
            let members =
                response.members.iter().map(|member| short(&member.member_id)).collect::<Vec<_>>().join(" ");
            let skip = if response.skip_assignment { ", keeps the assignment" } else { "" };
            format!(
                "{} joined generation {} by {}, led by {} of [{members}]{skip}",
                short(&response.member_id),
                response.generation_id,
                response.protocol_name.as_deref().unwrap_or("none"),
                short(&response.leader),
            )
        }
        Answer::Join(response) => {
            format!("{} {}", response.error_code.name(), short(&response.member_id)).trim_end().to_owned()
        }
        Answer::Sync(response) if response.error_code == ErrorCode::NONE => {
            format!("has {:?}", String::from_utf8_lossy(&response.assignment))
        }
        Answer::Sync(response) => response.error_code.name().to_owned(),
        Answer::Heartbeat(code) | Answer::DeleteGroup(code) => code.name().to_owned(),
        Answer::ConsumerHeartbeat(response) => response.error_code.name().to_owned(),
        Answer::Leave(each) => codes(each),
        Answer::Commit(each) | Answer::DeleteOffsets(each) => result(each),
    }
}
