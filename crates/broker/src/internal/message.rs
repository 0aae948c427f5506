//! The messages of the internal port. Numbers are never reused.

use bytes::Bytes;
use highwater_types::{ClusterId, DiskId, Uuid};

/// The first message in each direction of a connection.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// The sender's cluster, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster: Bytes,
    /// The sender's number.
    #[prost(int32, tag = "2")]
    pub node: i32,
    /// The sender's disk, 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub disk: Bytes,
    /// Whether the sender's metadata quorum has been founded, as far as it knows.
    #[prost(bool, tag = "4")]
    pub founded: bool,
    /// Why the receiver is turned away; empty if it is not.
    #[prost(string, tag = "5")]
    pub refusal: String,
}

/// A call.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Call {
    /// Tells the calls of one connection apart.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// What is asked for.
    #[prost(oneof = "Ask", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub ask: Option<Ask>,
}

/// What a call asks for. All but the first are for the active controller.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    /// A call of the quorum among its members.
    #[prost(bytes = "bytes", tag = "2")]
    Raft(Bytes),
    /// A broker registers.
    #[prost(message, tag = "3")]
    Register(Register),
    /// A broker is alive.
    #[prost(message, tag = "4")]
    Heartbeat(Heartbeat),
    /// A leader changes in-sync sets.
    #[prost(message, tag = "5")]
    AlterPartitions(AlterPartitions),
    /// A broker needs producer ids.
    #[prost(message, tag = "6")]
    ProducerIds(ProducerIds),
    /// A client's request that only the controller can carry out: a whole frame without its length.
    #[prost(bytes = "bytes", tag = "7")]
    Forward(Bytes),
    /// A broker has lost logs that it should have.
    #[prost(message, tag = "8")]
    LostLogs(LostLogs),
    /// A node that is no broker wants to follow the metadata.
    #[prost(message, tag = "9")]
    Follow(Follow),
    /// Logs failed at a broker, which has them still.
    #[prost(message, tag = "10")]
    FailedLogs(LostLogs),
}

/// A reply to a call.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// The call's number.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// What is told.
    #[prost(oneof = "Tell", tags = "2, 3, 4, 5, 6, 7, 8, 14, 15")]
    pub tell: Option<Tell>,
}

/// What a reply tells.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Tell {
    /// The quorum's own reply.
    #[prost(bytes = "bytes", tag = "2")]
    Raft(Bytes),
    /// The broker is registered.
    #[prost(message, tag = "3")]
    Registered(Registered),
    /// How the controller sees the broker.
    #[prost(message, tag = "4")]
    Seen(Seen),
    /// What became of changes of in-sync sets.
    #[prost(message, tag = "5")]
    Altered(Altered),
    /// Producer ids.
    #[prost(message, tag = "6")]
    ProducerIdBlock(ProducerIdBlock),
    /// The answer to a client's request.
    #[prost(message, tag = "7")]
    Forwarded(Forwarded),
    /// The node follows the metadata.
    #[prost(message, tag = "8")]
    Follows(Follows),
    /// The node is not the active controller.
    #[prost(message, tag = "14")]
    NotController(NotController),
    /// The call was refused or failed.
    #[prost(message, tag = "15")]
    Failed(Failed),
}

/// A broker registers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Register {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub node: i32,
    /// Its process, 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub incarnation: Bytes,
    /// Its disk, 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub disk: Bytes,
    /// Where it is reached.
    #[prost(message, repeated, tag = "4")]
    pub endpoints: Vec<Endpoint>,
    /// The rack that it stands in.
    #[prost(string, optional, tag = "5")]
    pub rack: Option<String>,
    /// The epoch of its last registration, if it stopped in good order after it; else -1.
    #[prost(int64, tag = "6")]
    pub clean_epoch: i64,
    /// Whether it is one of the controllers.
    #[prost(bool, tag = "7")]
    pub controller: bool,
    /// The host of its internal port.
    #[prost(string, tag = "8")]
    pub internal_host: String,
    /// The port of its internal port.
    #[prost(uint32, tag = "9")]
    pub internal_port: u32,
    /// The features that it knows.
    #[prost(message, repeated, tag = "10")]
    pub features: Vec<Feature>,
    /// What its own configuration says of what must be the same everywhere.
    #[prost(message, repeated, tag = "11")]
    pub settings: Vec<Setting>,
}

/// A node that is no broker wants to follow the metadata with this disk.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Follow {
    /// The node.
    #[prost(int32, tag = "1")]
    pub node: i32,
    /// Its disk, 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub disk: Bytes,
    /// The host of its internal port.
    #[prost(string, tag = "3")]
    pub host: String,
    /// The port of its internal port.
    #[prost(uint32, tag = "4")]
    pub port: u32,
    /// What its own configuration says of what must be the same everywhere.
    #[prost(message, repeated, tag = "5")]
    pub settings: Vec<Setting>,
}

/// The node follows the metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Follows {}

/// The levels of a feature that a broker can work with.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Feature {
    /// The feature.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The lowest level.
    #[prost(uint32, tag = "2")]
    pub min: u32,
    /// The highest level.
    #[prost(uint32, tag = "3")]
    pub max: u32,
}

/// A setting of a broker.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Setting {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Where a broker is reached.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Endpoint {
    /// The listener's name.
    #[prost(string, tag = "1")]
    pub listener: String,
    /// The host.
    #[prost(string, tag = "2")]
    pub host: String,
    /// The port.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// Kafka's number of the security protocol.
    #[prost(int32, tag = "4")]
    pub security_protocol: i32,
}

/// A broker is alive.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Heartbeat {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub node: i32,
    /// Its incarnation.
    #[prost(int64, tag = "2")]
    pub epoch: i64,
    /// Up to where it has carried out the metadata log.
    #[prost(uint64, tag = "3")]
    pub applied: u64,
    /// It wants to stop.
    #[prost(bool, tag = "4")]
    pub want_shutdown: bool,
    /// It wants to be fenced.
    #[prost(bool, tag = "5")]
    pub want_fence: bool,
}

/// A leader changes in-sync sets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlterPartitions {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub node: i32,
    /// Its incarnation.
    #[prost(int64, tag = "2")]
    pub epoch: i64,
    /// The changes.
    #[prost(message, repeated, tag = "3")]
    pub changes: Vec<IsrChange>,
}

/// One change of an in-sync set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IsrChange {
    /// The topic, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub topic: Bytes,
    /// The partition.
    #[prost(int32, tag = "2")]
    pub partition: i32,
    /// The leader's epoch.
    #[prost(int32, tag = "3")]
    pub leader_epoch: i32,
    /// The partition epoch that the change goes from.
    #[prost(int32, tag = "4")]
    pub partition_epoch: i32,
    /// The new in-sync set.
    #[prost(message, repeated, tag = "5")]
    pub isr: Vec<Member>,
}

/// A member of an in-sync set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Member {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub node: i32,
    /// The incarnation that the leader knows it by.
    #[prost(int64, tag = "2")]
    pub epoch: i64,
}

/// A broker has lost logs that it should have, or can use them no more.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LostLogs {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub node: i32,
    /// Its incarnation.
    #[prost(int64, tag = "2")]
    pub epoch: i64,
    /// The logs.
    #[prost(message, repeated, tag = "3")]
    pub logs: Vec<LostLog>,
}

/// A lost or failed log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LostLog {
    /// The topic, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub topic: Bytes,
    /// The partition.
    #[prost(int32, tag = "2")]
    pub partition: i32,
}

/// A broker needs producer ids.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProducerIds {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub node: i32,
}

/// The broker is registered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Registered {
    /// Its incarnation's epoch.
    #[prost(int64, tag = "1")]
    pub epoch: i64,
}

/// How the controller sees the broker.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Seen {
    /// Whether it has carried out enough of the metadata log.
    #[prost(bool, tag = "1")]
    pub caught_up: bool,
    /// Whether it is fenced.
    #[prost(bool, tag = "2")]
    pub fenced: bool,
    /// Whether it may stop: it leads nothing any more that others could lead.
    #[prost(bool, tag = "3")]
    pub should_shut_down: bool,
}

/// What became of changes of in-sync sets, in the call's order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Altered {
    /// What became of each.
    #[prost(message, repeated, tag = "1")]
    pub outcomes: Vec<AlterOutcome>,
}

/// What became of one change of an in-sync set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlterOutcome {
    /// Kafka's error code, 0 for none.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people, with an error.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The leader, if there is one.
    #[prost(int32, optional, tag = "3")]
    pub leader: Option<i32>,
    /// The leader's epoch.
    #[prost(int32, tag = "4")]
    pub leader_epoch: i32,
    /// The partition epoch.
    #[prost(int32, tag = "5")]
    pub partition_epoch: i32,
    /// All replicas.
    #[prost(int32, repeated, tag = "6")]
    pub replicas: Vec<i32>,
    /// The in-sync ones.
    #[prost(int32, repeated, tag = "7")]
    pub isr: Vec<i32>,
}

/// Producer ids.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProducerIdBlock {
    /// The first id.
    #[prost(int64, tag = "1")]
    pub first: i64,
    /// The end, exclusive.
    #[prost(int64, tag = "2")]
    pub end: i64,
}

/// The answer to a client's request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Forwarded {
    /// A whole frame, with its length.
    #[prost(bytes = "bytes", tag = "1")]
    pub frame: Bytes,
    /// Up to where the controller had applied the metadata log when it answered.
    #[prost(uint64, tag = "2")]
    pub applied: u64,
}

/// The node is not the active controller.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NotController {
    /// Which one is, as far as the node knows.
    #[prost(int32, optional, tag = "1")]
    pub leader: Option<i32>,
}

/// The call was refused or failed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failed {
    /// Kafka's error code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// An identifier as bytes.
pub(crate) fn uuid_bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(&id.0)
}

/// An identifier from bytes.
pub(crate) fn uuid(bytes: &[u8]) -> Option<Uuid> {
    bytes.try_into().ok().map(Uuid)
}

impl Hello {
    /// The greeting of a node.
    pub(crate) fn new(cluster: ClusterId, node: i32, disk: DiskId, founded: bool) -> Self {
        Self {
            cluster: uuid_bytes(cluster.0),
            node,
            disk: uuid_bytes(disk.0),
            founded,
            refusal: String::new(),
        }
    }

    /// The sender's disk.
    pub(crate) fn disk(&self) -> Option<DiskId> {
        uuid(&self.disk).map(DiskId)
    }

    /// The sender's cluster.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        uuid(&self.cluster).map(ClusterId)
    }
}
