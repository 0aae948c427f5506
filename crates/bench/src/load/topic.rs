//! What happens before the load: waiting for the server, and making the topic.

use super::connection::Connection;
use super::frames::encoded;
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use highwater_types::BrokerId;
use highwater_wire::messages::api_versions::ApiVersionsRequest;
use highwater_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use highwater_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponsePartition};
use highwater_wire::{ErrorCode, Message, Request, decode_response_header};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const CREATE_TOPICS_VERSION: i16 = 5;
const METADATA_VERSION: i16 = 9;
const API_VERSIONS_VERSION: i16 = 0;

/// How long a server may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until the server accepts connections and, if it is a `broker`, answers its first request.
pub fn wait_until_ready(
    server: SocketAddr,
    broker: bool,
    mut still_running: impl FnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    while TcpStream::connect(server).is_err() {
        still_running()?;
        ensure!(start.elapsed() < READY_TIMEOUT, "nobody listens on {server}");
        std::thread::sleep(Duration::from_micros(200));
    }
    if broker {
        let mut connection = Connection::open(server)?;
        call(&mut connection, API_VERSIONS_VERSION, &ApiVersionsRequest::default())?;
    }
    Ok(())
}

/// Makes a topic, and waits until all its partitions have a leader and all replicas in sync.
pub fn create_topic(server: SocketAddr, topic: &str, partitions: usize, replicas: i16) -> Result<()> {
    let mut connection = Connection::open(server)?;
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: i32::try_from(partitions)?,
            replication_factor: replicas,
            ..CreatableTopic::default()
        }],
        timeout_ms: i32::try_from(READY_TIMEOUT.as_millis())?,
        ..CreateTopicsRequest::default()
    };
    let response = call(&mut connection, CREATE_TOPICS_VERSION, &request)?;
    for created in response.topics {
        let message = created.error_message.unwrap_or_default();
        ensure!(
            created.error_code == ErrorCode::NONE,
            "creating {topic}: {:?} {message}",
            created.error_code
        );
    }
    wait_for_topic(server, topic, partitions, replicas)
}

/// Waits until a server knows a leader and all replicas in sync for every partition of a topic.
pub fn wait_for_topic(server: SocketAddr, topic: &str, partitions: usize, replicas: i16) -> Result<()> {
    let mut connection = Connection::open(server)?;
    let start = Instant::now();
    loop {
        let states = describe(&mut connection, topic)?;
        let ready =
            states.iter().filter(|state| state.leader.is_some() && state.in_sync == replicas as usize);
        if ready.count() == partitions {
            return Ok(());
        }
        ensure!(start.elapsed() < READY_TIMEOUT, "{topic} has no leaders, or not all replicas in sync");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A partition as a server tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Its leader, if it has one.
    pub leader: Option<BrokerId>,
    /// How many replicas are in sync.
    pub in_sync: usize,
}

/// A topic's partitions in their order, as the server tells them; none if it does not know the topic.
pub fn describe(connection: &mut Connection, topic: &str) -> Result<Vec<PartitionState>> {
    let wanted = MetadataRequestTopic { name: Some(topic.into()), ..MetadataRequestTopic::default() };
    let request = MetadataRequest {
        topics: Some(vec![wanted]),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let response = call(connection, METADATA_VERSION, &request)?;
    let mut partitions: Vec<_> = response.topics.into_iter().flat_map(|topic| topic.partitions).collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    let state = |partition: MetadataResponsePartition| PartitionState {
        leader: (partition.error_code == ErrorCode::NONE).then_some(partition.leader_id),
        in_sync: partition.isr_nodes.len(),
    };
    Ok(partitions.into_iter().map(state).collect())
}

/// Sends a request and waits for its answer.
pub fn call<R: Request>(connection: &mut Connection, version: i16, request: &R) -> Result<R::Response> {
    connection.send(&encoded(version, request)?)?;
    let mut frame = Bytes::copy_from_slice(connection.receive()?);
    if decode_response_header(&mut frame, R::KEY, version)? != 0 {
        bail!("an answer to another request");
    }
    Ok(R::Response::decode_body(frame, version)?)
}
