//! A connection that speaks frames, for what a well-behaved client never does.

use crate::executor::{SimEnv, SimStream};
use crate::world::clients::Machine;
use bytes::Bytes;
use highwater_env::{Env, Network, timeout};
use highwater_types::PartitionIndex;
use highwater_wire::messages::{MetadataRequest, MetadataRequestTopic};
use highwater_wire::{Message, Request, Segment, Str, decode_response_header, encode_request};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The version of Metadata that is spoken; it names topics.
const METADATA: i16 = 8;
/// The largest answer that is taken.
const MOST_BYTES: usize = 1 << 20;

/// A connection to a broker.
pub(super) struct Raw {
    env: SimEnv,
    stream: SimStream,
    patience: Duration,
}

fn late() -> io::Error {
    io::Error::from(io::ErrorKind::TimedOut)
}

/// A request as it goes over the wire.
pub(super) fn frame<R: Request>(id: i32, version: i16, request: &R) -> io::Result<Vec<u8>> {
    let frame = encode_request(id, Some("raw"), version, request).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(frame.length);
    for segment in &frame.segments {
        match segment {
            Segment::Bytes(part) => bytes.extend_from_slice(part),
            Segment::External { .. } => return Err(io::Error::other("a request has no external records")),
        }
    }
    Ok(bytes)
}

impl Raw {
    /// Connects to the first broker that takes a connection, trying them in turn from the one with that number on;
    /// `patience` bounds each try and every further step.
    pub(super) async fn connect(machine: &Machine, from: usize, patience: Duration) -> io::Result<Self> {
        let brokers = machine.bootstrap();
        let mut last = late();
        for broker in brokers.iter().cycle().skip(from % brokers.len().max(1)).take(brokers.len()) {
            match Self::connect_to(machine, broker, patience).await {
                Ok(raw) => return Ok(raw),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to that broker: a host and a port.
    pub(super) async fn connect_to(machine: &Machine, broker: &str, patience: Duration) -> io::Result<Self> {
        let env = machine.env.clone();
        let (host, port) = broker.rsplit_once(':').unwrap_or((broker, ""));
        let port = port.parse().map_err(io::Error::other)?;
        let connecting = async {
            let found = env.network().resolve(host, port).await?;
            let address = found.first().copied().ok_or_else(late)?;
            env.network().connect(address).await
        };
        let stream = timeout(env.clock(), patience, connecting).await.map_err(|_| late())??;
        Ok(Self { env, stream, patience })
    }

    /// The host and port of a partition's leader, as far as this broker knows.
    pub(super) async fn leader(
        &mut self,
        topic: &Str,
        partition: PartitionIndex,
    ) -> io::Result<Option<String>> {
        let topic = MetadataRequestTopic { name: Some(topic.clone()), ..MetadataRequestTopic::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let answer = self.call(METADATA, &request).await?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let leader = partitions.find(|part| part.partition_index == partition).map(|part| part.leader_id);
        let broker = answer.brokers.iter().find(|broker| Some(broker.node_id) == leader);
        Ok(broker.map(|broker| format!("{}:{}", broker.host, broker.port)))
    }

    /// Sends bytes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(self.env.clock(), self.patience, self.stream.write_all(bytes)).await.map_err(|_| late())?
    }

    /// Takes the next answer.
    pub(super) async fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let reading = async {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await?;
            let length = u32::from_be_bytes(length) as usize;
            if length > MOST_BYTES {
                return Err(io::Error::other("the answer is too long"));
            }
            let mut frame = vec![0; length];
            self.stream.read_exact(&mut frame).await?;
            Ok(Bytes::from(frame))
        };
        let mut frame = timeout(self.env.clock(), self.patience, reading).await.map_err(|_| late())??;
        decode_response_header(&mut frame, R::KEY, version).map_err(io::Error::other)?;
        R::Response::decode_body(frame, version).map_err(io::Error::other)
    }

    /// Sends a request and takes its answer.
    pub(super) async fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(&frame(0, version, request)?).await?;
        self.receive::<R>(version).await
    }
}
