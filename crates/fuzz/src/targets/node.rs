//! A whole node on the simulated machine, and a client that sends it damaged requests.

use super::Target;
use super::records::batch;
use super::wire::{Requests, gathered};
use bytes::{Buf, Bytes};
use highwater_broker::{BrokerConfig, Node};
use highwater_env::{Env, Network, Rng, timeout};
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp};
use highwater_wire::messages::*;
use highwater_wire::{
    ApiKey, ErrorCode, Message, Records, Request, decode_request_header, decode_response_header,
    encode_request,
};
use rand::RngExt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 2;
const LENGTH_BYTES: usize = 4;

/// Longer than any request may be held, in simulated time.
const PATIENCE: Duration = Duration::from_secs(600);

/// More than any case needs that comes to an end.
const MOST_STEPS: u64 = 400_000;

/// A request may make thousands of partitions, which keeps the simulated disk busy for longer than a case may take.
const MANY_PARTITIONS: i64 = 500;

/// What a client sends over one connection: frames with their lengths.
pub struct Nodes;

fn frame<R: Request>(version: i16, request: &R, rng: &mut Rng) -> Bytes {
    // No request here holds a null that its version lacks.
    encode_request(rng.random(), Some("fuzz"), version, request).map(gathered).unwrap_or_default()
}

fn partition(rng: &mut Rng) -> PartitionIndex {
    PartitionIndex(rng.random_range(0..=PARTITIONS))
}

fn offset(rng: &mut Rng) -> Offset {
    Offset([0, 1, 5, 100, -1, i64::MAX][rng.random_range(0..6)])
}

/// A request that finds the topic, or makes another.
fn apt_request(rng: &mut Rng) -> Bytes {
    match rng.random_range(0..9) {
        0..3 => produce_request(rng),
        3 | 4 => fetch_request(rng),
        5 => {
            let request = ListOffsetsRequest {
                replica_id: BrokerId(-1),
                topics: vec![ListOffsetsTopic {
                    name: TOPIC.into(),
                    partitions: vec![ListOffsetsPartition {
                        partition_index: partition(rng),
                        current_leader_epoch: LeaderEpoch(rng.random_range(-1..2)),
                        timestamp: Timestamp(rng.random_range(-6..3)),
                    }],
                }],
                ..ListOffsetsRequest::default()
            };
            frame(rng.random_range(1..=8), &request, rng)
        }
        6 => {
            let request = DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: TOPIC.into(),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index: partition(rng),
                        offset: offset(rng),
                    }],
                }],
                timeout_ms: 1_000,
            };
            frame(2, &request, rng)
        }
        7 => {
            let request = InitProducerIdRequest {
                transaction_timeout_ms: rng.random_range(0..100_000),
                producer_id: ProducerId(rng.random_range(-1..3)),
                producer_epoch: ProducerEpoch(rng.random_range(-1..2)),
                ..InitProducerIdRequest::default()
            };
            frame(rng.random_range(3..=4), &request, rng)
        }
        _ => {
            let name = ["a", "", "..", "orders", "b c"][rng.random_range(0..5)];
            frame(rng.random_range(2..=7), &create_topics(name, rng.random_range(-1..4)), rng)
        }
    }
}

fn produce_request(rng: &mut Rng) -> Bytes {
    let partition_data =
        vec![PartitionProduceData { index: partition(rng), records: Records::Bytes(batch(rng)) }];
    let request = ProduceRequest {
        acks: rng.random_range(-1..=2),
        timeout_ms: rng.random_range(-1..5_000),
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data,
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    frame(rng.random_range(3..=12), &request, rng)
}

fn fetch_request(rng: &mut Rng) -> Bytes {
    let request = FetchRequest {
        replica_id: BrokerId(rng.random_range(-1..2)),
        max_wait_ms: rng.random_range(-1..2_000),
        min_bytes: rng.random_range(-1..1_000),
        max_bytes: [0, 1, 1_000, i32::MAX][rng.random_range(0..4)],
        session_id: rng.random_range(0..2),
        session_epoch: rng.random_range(-1..2),
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: vec![FetchPartition {
                partition: partition(rng),
                fetch_offset: offset(rng),
                partition_max_bytes: [0, 1, 1_000, i32::MAX][rng.random_range(0..4)],
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    frame(rng.random_range(4..=12), &request, rng)
}

fn create_topics(name: &str, partitions: i32) -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() }
}

fn with_length(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], frame].concat()
}

impl Target for Nodes {
    fn name(&self) -> &'static str {
        "node"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        let mut frames = Vec::new();
        for _ in 0..rng.random_range(1..6) {
            let frame =
                if rng.random_range(0..3) == 0 { Requests.generate(rng) } else { apt_request(rng).to_vec() };
            frames.extend(with_length(&frame));
        }
        frames
    }

    /// The length that a frame has not becomes the length that is left, so that it is looked at.
    fn repair(&self, input: &mut Vec<u8>) {
        let mut at = 0;
        while let Some(prefix) = input.get(at..).and_then(|rest| rest.first_chunk::<LENGTH_BYTES>()) {
            let left = input.len() - at - LENGTH_BYTES;
            let length = usize::try_from(i32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
            if length > left {
                input[at..at + LENGTH_BYTES].copy_from_slice(&(left as u32).to_be_bytes());
            }
            at += LENGTH_BYTES + length.min(left);
        }
    }

    fn test_cases(&self) -> u64 {
        200
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        if asks_for_many_partitions(input) {
            return Ok(());
        }
        let simulation = Simulation::new(1);
        simulation.set_max_steps(MOST_STEPS);
        let (server, client) = (simulation.node("server"), simulation.node("client"));
        let outcome = simulation.run(async {
            let config = BrokerConfig::new(BrokerId(1), "/data", ([127, 0, 0, 1], 0).into());
            let node = Node::start(server.clone(), config).await.map_err(|error| error.to_string())?;
            let address = node.local_addrs()[0];
            call(&client, address, 5, &create_topics(TOPIC, PARTITIONS)).await?;
            send(&client, address, input).await?;
            // Whatever came of it, the node serves others.
            let served = call(&client, address, 0, &ApiVersionsRequest::default()).await?;
            if served.error_code != ErrorCode::NONE {
                return Err(format!("ApiVersions is answered with {:?}", served.error_code));
            }
            node.shutdown().await.map_err(|error| format!("at the end: {error}"))
        });
        outcome.unwrap_or_else(|failure| Err(failure.to_string()))
    }
}

/// Whether one of the frames makes a topic very wide. What cannot be read asks for nothing.
fn asks_for_many_partitions(input: &[u8]) -> bool {
    let mut rest = Bytes::copy_from_slice(input);
    while rest.len() >= LENGTH_BYTES {
        let length = rest.get_u32() as usize;
        let mut frame = rest.split_to(length.min(rest.len()));
        let Ok(header) = decode_request_header(&mut frame) else { continue };
        let counts: Vec<i32> = match ApiKey(header.api_key) {
            CreateTopicsRequest::KEY => CreateTopicsRequest::decode_body(frame, header.api_version)
                .map(|request| request.topics.iter().map(|topic| topic.num_partitions).collect())
                .unwrap_or_default(),
            CreatePartitionsRequest::KEY => CreatePartitionsRequest::decode_body(frame, header.api_version)
                .map(|request| request.topics.iter().map(|topic| topic.count).collect())
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        if counts.iter().map(|&count| i64::from(count.max(0))).sum::<i64>() > MANY_PARTITIONS {
            return true;
        }
    }
    false
}

/// Sends the bytes and takes answers until the node closes the connection.
async fn send(client: &SimEnv, address: SocketAddr, input: &[u8]) -> Result<(), String> {
    let exchange = async {
        let stream = client.network().connect(address).await.map_err(|error| error.to_string())?;
        let (mut from, mut to) = tokio::io::split(stream);
        // The node may close the connection at any byte.
        let _ = to.write_all(input).await;
        let _ = to.shutdown().await;
        let _ = from.read_to_end(&mut Vec::new()).await;
        Ok(())
    };
    let ended = timeout(client.clock(), PATIENCE, exchange).await;
    ended.unwrap_or_else(|_| Err("the node neither answers nor closes the connection".to_owned()))
}

async fn call<R: Request>(
    client: &SimEnv,
    address: SocketAddr,
    version: i16,
    request: &R,
) -> Result<R::Response, String> {
    let exchange = async {
        let mut stream = client.network().connect(address).await.map_err(|error| error.to_string())?;
        let frame =
            encode_request(0, None, version, request).map(gathered).map_err(|error| error.to_string())?;
        stream.write_all(&with_length(&frame)).await.map_err(|error| error.to_string())?;
        let length = stream.read_u32().await.map_err(|error| error.to_string())?;
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await.map_err(|error| error.to_string())?;
        let mut body = Bytes::from(answer);
        decode_response_header(&mut body, R::KEY, version).map_err(|error| error.to_string())?;
        R::Response::decode_body(body, version).map_err(|error| error.to_string())
    };
    let answered = timeout(client.clock(), PATIENCE, exchange).await;
    answered.unwrap_or_else(|_| Err(format!("no answer to {}", R::NAME)))
}
