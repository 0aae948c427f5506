//! The messages. Numbers are never reused.

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Vote {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, optional, tag = "2")]
    pub candidate: Option<u64>,
    #[prost(bool, tag = "3")]
    pub granted: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct LogId {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(uint32, tag = "3")]
    pub port: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub disk: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct VoterSet {
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Membership {
    #[prost(message, repeated, tag = "1")]
    pub voters: Vec<VoterSet>,
    #[prost(message, repeated, tag = "2")]
    pub nodes: Vec<Node>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Blank {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    #[prost(oneof = "PayloadKind", tags = "1, 2, 3")]
    pub kind: Option<PayloadKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PayloadKind {
    #[prost(message, tag = "1")]
    Blank(Blank),
    #[prost(message, tag = "2")]
    Command(Command),
    #[prost(message, tag = "3")]
    Membership(Membership),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(message, optional, tag = "1")]
    pub id: Option<LogId>,
    #[prost(message, optional, tag = "2")]
    pub payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotMeta {
    #[prost(message, optional, tag = "1")]
    pub last: Option<LogId>,
    #[prost(message, optional, tag = "2")]
    pub membership_id: Option<LogId>,
    #[prost(message, optional, tag = "3")]
    pub membership: Option<Membership>,
    #[prost(uint32, tag = "4")]
    pub pieces: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotPiece {
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    #[prost(uint64, tag = "1")]
    pub from: u64,
    #[prost(uint64, tag = "2")]
    pub to: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub to_disk: Bytes,
    #[prost(oneof = "Call", tags = "4, 5, 6")]
    pub call: Option<Call>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Call {
    #[prost(message, tag = "4")]
    Vote(VoteCall),
    #[prost(message, tag = "5")]
    Append(AppendCall),
    #[prost(message, tag = "6")]
    Snapshot(SnapshotCall),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct VoteCall {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub last: Option<LogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AppendCall {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub previous: Option<LogId>,
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<Entry>,
    #[prost(message, optional, tag = "4")]
    pub committed: Option<LogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotCall {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub meta: Option<SnapshotMeta>,
    #[prost(uint32, tag = "3")]
    pub number: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub piece: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4")]
    pub answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    #[prost(message, tag = "1")]
    Vote(VoteAnswer),
    #[prost(message, tag = "2")]
    Append(AppendAnswer),
    #[prost(message, tag = "3")]
    Snapshot(SnapshotAnswer),
    #[prost(string, tag = "4")]
    Refused(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct VoteAnswer {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(bool, tag = "2")]
    pub granted: bool,
    #[prost(message, optional, tag = "3")]
    pub last: Option<LogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AppendAnswer {
    #[prost(uint32, tag = "1")]
    pub outcome: u32,
    #[prost(message, optional, tag = "2")]
    pub higher: Option<Vote>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotAnswer {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
}
