//! A connection to another broker, with one request under way at a time.

use crate::state::Shared;
use bytes::{Bytes, BytesMut};
use highwater_env::{Elapsed, Env, Network, timeout};
use highwater_metadata::Image;
use highwater_types::BrokerId;
use highwater_wire::{Message, Request, Segment, decode_response_header, encode_request, frame_length};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The largest answer that is read: what is asked for at once, or a single batch.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// Memory that is taken for an answer before its bytes have come.
const FIRST_READ_BYTES: usize = 1 << 20;

type StreamOf<E> = <<E as Env>::Network as Network>::Stream;

/// A connection to another broker.
pub(super) struct Connection<E: Env> {
    env: E,
    stream: StreamOf<E>,
    client_id: String,
    next: i32,
}

impl<E: Env> Connection<E> {
    /// Connects to a broker where the metadata says that it is.
    pub(super) async fn open(shared: &Shared<E>, to: BrokerId, patience: Duration) -> io::Result<Self> {
        let image = shared.directory.load().image.clone();
        let (host, port) = address(shared, &image, to).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "the metadata has no address of the broker")
        })?;
        let network = shared.env.network();
        let connecting = async {
            let mut last = None;
            for address in network.resolve(&host, port).await? {
                match network.connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address")))
        };
        let stream = timeout(shared.env.clock(), patience, connecting).await.map_err(late)??;
        let client_id = format!("replica-{}", shared.config.node_id);
        Ok(Self { env: shared.env.clone(), stream, client_id, next: 0 })
    }

    /// Sends a request and waits for its answer. After an error the connection is of no more use.
    pub(super) async fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        patience: Duration,
    ) -> io::Result<R::Response> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let frame = encode_request(id, Some(&self.client_id), version, request).map_err(invalid)?;
        let stream = &mut self.stream;
        let exchange = async {
            for segment in frame.segments {
                let Segment::Bytes(bytes) = segment else { continue };
                stream.write_all(&bytes).await?;
            }
            stream.flush().await?;
            let mut prefix = [0; 4];
            stream.read_exact(&mut prefix).await?;
            read(stream, frame_length(prefix, MAX_ANSWER_BYTES).map_err(invalid)?).await
        };
        let mut answer = timeout(self.env.clock(), patience, exchange).await.map_err(late)??;
        let answered = decode_response_header(&mut answer, R::KEY, version).map_err(invalid)?;
        if answered != id {
            return Err(invalid("the answer is to another request"));
        }
        R::Response::decode_body(answer, version).map_err(invalid)
    }
}

async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::new();
    while buffer.len() < length {
        let have = buffer.len();
        // What is announced is believed as it comes.
        let more = (length - have).min(have.max(FIRST_READ_BYTES));
        buffer.resize(have + more, 0);
        stream.read_exact(&mut buffer[have..]).await?;
    }
    Ok(buffer.freeze())
}

/// Where a broker listens for others: at its listener of the name that this node's first one has.
fn address<E: Env>(shared: &Shared<E>, image: &Image, broker: BrokerId) -> Option<(String, u16)> {
    let name = &shared.config.listeners.first()?.name;
    let endpoints = &image.broker(broker)?.endpoints;
    let endpoint = endpoints.iter().find(|endpoint| endpoint.listener == *name)?;
    Some((endpoint.host.clone(), endpoint.port))
}

fn late(_: Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
