//! A connection that speaks frames, for what a well-behaved client never does.

use crate::executor::{SimEnv, SimStream};
use crate::world::clients::Machine;
use bytes::Bytes;
use highwater_env::{Env, Network, timeout};
use highwater_wire::{Message, Request, Segment, decode_response_header, encode_request};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The largest answer that is taken.
const MOST_BYTES: usize = 1 << 20;

/// A connection to the first broker that takes one.
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
    /// Connects; `patience` bounds this and every further step.
    pub(super) async fn connect(machine: &Machine, patience: Duration) -> io::Result<Self> {
        let env = machine.env.clone();
        let mut last = late();
        for broker in machine.bootstrap() {
            let (host, port) = broker.rsplit_once(':').unwrap_or((broker, ""));
            let port = port.parse().map_err(io::Error::other)?;
            let connecting = async {
                let found = env.network().resolve(host, port).await?;
                let address = found.first().copied().ok_or_else(late)?;
                env.network().connect(address).await
            };
            match timeout(env.clock(), patience, connecting).await {
                Ok(Ok(stream)) => return Ok(Self { env: env.clone(), stream, patience }),
                Ok(Err(error)) => last = error,
                Err(_) => last = late(),
            }
        }
        Err(last)
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
