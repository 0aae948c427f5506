//! A node and raw clients of it, over any environment.
#![allow(dead_code, clippy::unwrap_used)] // Each test program uses its part of this; all of it is tests.

use bytes::Bytes;
use highwater_broker::{BrokerConfig, Node};
use highwater_env::{Env, Network, timeout};
use highwater_env_tokio::TokioEnv;
use highwater_records::{BatchBuilder, Batches, Codec};
use highwater_types::{
    BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId,
};
use highwater_wire::messages::*;
use highwater_wire::{
    ErrorCode, Message, Records, Request, Segment, Str, decode_response_header, encode_request,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// After this long a test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type StreamOf<E> = <<E as Env>::Network as Network>::Stream;

/// A directory that nobody else uses; removed at the end.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("broker-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a test on this machine.
pub fn on_tokio<F: Future<Output = ()>>(test: impl FnOnce(TokioEnv, PathBuf) -> F) {
    let dir = TempDir::new();
    highwater_env_tokio::run(None, |env| test(env, dir.path().to_owned())).unwrap();
}

/// The configuration of tests: one listener on a free port, and whatever else is asked for.
pub fn config(dir: &Path, settings: &[(&str, &str)]) -> BrokerConfig {
    let mut config = BrokerConfig::new(BrokerId(1), dir, ([127, 0, 0, 1], 0).into());
    for (name, value) in settings {
        config.settings.set(name, (*value).to_owned()).unwrap();
    }
    config
}

/// Shows the nodes' logs, if `HIGHWATER_LOG` says what of them.
pub fn show_logs() {
    if let Ok(filter) = std::env::var("HIGHWATER_LOG") {
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    }
}

pub async fn start<E: Env>(env: &E, dir: &Path, settings: &[(&str, &str)]) -> Node<E> {
    show_logs();
    Node::start(env.clone(), config(dir, settings)).await.unwrap()
}

/// A client that speaks raw requests.
pub struct Client<E: Env> {
    env: E,
    stream: StreamOf<E>,
    next: i32,
}

impl<E: Env> Client<E> {
    pub async fn connect(env: &E, address: SocketAddr) -> Self {
        let stream = env.network().connect(address).await.unwrap();
        Self { env: env.clone(), stream, next: 0 }
    }

    pub async fn to(env: &E, node: &Node<E>) -> Self {
        Self::connect(env, node.local_addrs()[0]).await
    }

    /// Sends a request, and returns its correlation id.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let id = self.next;
        self.next += 1;
        let bytes = request_bytes(id, version, request);
        self.send_bytes(&bytes).await;
        id
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        timeout(self.env.clock(), PATIENCE, self.stream.write_all(bytes)).await.unwrap().unwrap();
    }

    /// The next frame without its length; None when the connection is closed.
    pub async fn receive_frame(&mut self) -> Option<Bytes> {
        let read = async {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await.ok()?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(Bytes::from(frame))
        };
        timeout(self.env.clock(), PATIENCE, read).await.expect("an answer or the end")
    }

    /// The next answer, with its correlation id.
    pub async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let mut frame = self.receive_frame().await.expect("an answer");
        let id = decode_response_header(&mut frame, R::KEY, version).unwrap();
        (id, R::Response::decode_body(frame, version).unwrap())
    }

    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let sent = self.send(version, request).await;
        let (id, response) = self.receive::<R>(version).await;
        assert_eq!(id, sent);
        response
    }

    /// Whether the peer closes the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = timeout(self.env.clock(), PATIENCE, self.stream.read(&mut byte)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }

    pub async fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs
                .iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: (*name).into(),
                    value: Some((*value).into()),
                })
                .collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
        let response = self.call(7, &request).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::NONE, "{response:?}");
        response.topics[0].topic_id
    }

    /// Produces one batch with acks=all.
    pub async fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
        let response = self.call(9, &produce(topic, partition, batch, -1)).await;
        response.responses[0].partition_responses[0].clone()
    }

    pub async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let response = self.call(11, &fetch(topic, partition, offset)).await;
        response.responses[0].partitions[0].clone()
    }
}

pub fn request_bytes<R: Request>(id: i32, version: i16, request: &R) -> Vec<u8> {
    let frame = encode_request(id, Some("test"), version, request).unwrap();
    let mut bytes = Vec::with_capacity(frame.length);
    for segment in &frame.segments {
        match segment {
            Segment::Bytes(part) => bytes.extend_from_slice(part),
            Segment::External { .. } => unreachable!("requests have no external records"),
        }
    }
    bytes
}

pub fn produce(topic: &str, partition: i32, batch: Bytes, acks: i16) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: PartitionIndex(partition),
                records: Records::Bytes(batch),
            }],
            ..Default::default()
        }],
    }
}

/// A fetch that does not wait.
pub fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                partition: PartitionIndex(partition),
                fetch_offset: Offset(offset),
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A fetch that waits for data.
pub fn long_poll(topic: &str, partition: i32, offset: i64, wait_ms: i32) -> FetchRequest {
    FetchRequest { max_wait_ms: wait_ms, ..fetch(topic, partition, offset) }
}

/// A batch of these values.
pub fn batch(values: &[&str]) -> Bytes {
    build(values, |_| {})
}

/// A batch of an idempotent producer.
pub fn sequenced(producer: ProducerId, sequence: i32, values: &[&str]) -> Bytes {
    build(values, |builder| builder.set_producer(producer, ProducerEpoch(0), sequence))
}

pub fn build(values: &[&str], change: impl FnOnce(&mut BatchBuilder)) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    for value in values {
        push(&mut builder, value.as_bytes());
    }
    change(&mut builder);
    builder.build()
}

/// A batch of about this size.
pub fn large_batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, bytes + 1024);
    push(&mut builder, &vec![b'x'; bytes]);
    builder.build()
}

fn push(builder: &mut BatchBuilder, value: &[u8]) {
    assert!(builder.try_push(Timestamp(1_000), None, Some(value), &[]), "the batch is full");
}

/// The offsets and values of fetched records.
pub fn records(data: &PartitionData) -> Vec<(i64, String)> {
    let Records::Bytes(bytes) = &data.records else { return Vec::new() };
    Batches::with_partial_tail(bytes.clone())
        .flat_map(|batch| batch.unwrap().records().unwrap())
        .map(|record| {
            let record = record.unwrap();
            (record.offset.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap())
        })
        .collect()
}

pub fn epoch(epoch: i32) -> LeaderEpoch {
    LeaderEpoch(epoch)
}

pub fn text(value: &str) -> Str {
    Str::from(value)
}

/// Waits a while, by the environment's clock.
pub async fn pause<E: Env>(env: &E, duration: Duration) {
    highwater_env::sleep(env.clock(), duration).await;
}
