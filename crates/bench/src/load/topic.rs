//! What happens before the load: waiting for the server, and making the topic.

use super::connection::Connection;
use super::frames::encoded;
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use highwater_types::PartitionIndex;
use highwater_wire::messages::api_versions::ApiVersionsRequest;
use highwater_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use highwater_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
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

/// Makes a topic with one replica, and waits until all its partitions have a leader.
pub fn create_topic(server: SocketAddr, topic: &str, partitions: usize) -> Result<()> {
    let mut connection = Connection::open(server)?;
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: i32::try_from(partitions)?,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
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
    let start = Instant::now();
    while !has_leaders(&mut connection, topic, partitions)? {
        ensure!(start.elapsed() < READY_TIMEOUT, "{topic} has no leaders");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn has_leaders(connection: &mut Connection, topic: &str, partitions: usize) -> Result<bool> {
    let wanted = MetadataRequestTopic { name: Some(topic.into()), ..MetadataRequestTopic::default() };
    let request = MetadataRequest { topics: Some(vec![wanted]), ..MetadataRequest::default() };
    let response = call(connection, METADATA_VERSION, &request)?;
    let mut led: Vec<PartitionIndex> = Vec::new();
    for topic in response.topics.iter().filter(|topic| topic.error_code == ErrorCode::NONE) {
        let healthy = topic.partitions.iter().filter(|partition| partition.error_code == ErrorCode::NONE);
        led.extend(healthy.map(|partition| partition.partition_index));
    }
    Ok(led.len() == partitions)
}

fn call<R: Request>(connection: &mut Connection, version: i16, request: &R) -> Result<R::Response> {
    connection.send(&encoded(version, request)?)?;
    let mut frame = Bytes::copy_from_slice(connection.receive()?);
    if decode_response_header(&mut frame, R::KEY, version)? != 0 {
        bail!("an answer to another request");
    }
    Ok(R::Response::decode_body(frame, version)?)
}
