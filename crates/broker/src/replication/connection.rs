//! A connection to another broker, with one request under way at a time.

use crate::state::Shared;
use bytes::{BufMut, Bytes, BytesMut};
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
/// How many answers in a row that take less than a quarter of the memory let go of it.
const SMALL_ANSWERS: u32 = 16;

type StreamOf<E> = <<E as Env>::Network as Network>::Stream;

/// A connection to another broker.
pub(super) struct Connection<E: Env> {
    env: E,
    stream: StreamOf<E>,
    client_id: String,
    next: i32,
    answers: Answers,
}

/// The memory that answers are read into. It is used again when nothing of the last answer is held any more: fresh
/// memory costs more than what is done with it here.
#[derive(Default)]
struct Answers {
    buffer: BytesMut,
    /// The longest answer that it was made for, and how many in a row were much smaller.
    longest: usize,
    small: u32,
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
        Ok(Self { env: shared.env.clone(), stream, client_id, next: 0, answers: Answers::default() })
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
        let (stream, answers) = (&mut self.stream, &mut self.answers);
        let exchange = async {
            for segment in frame.segments {
                let Segment::Bytes(bytes) = segment else { continue };
                stream.write_all(&bytes).await?;
            }
            stream.flush().await?;
            let mut prefix = [0; 4];
            stream.read_exact(&mut prefix).await?;
            answers.read(stream, frame_length(prefix, MAX_ANSWER_BYTES).map_err(invalid)?).await
        };
        let mut answer = timeout(self.env.clock(), patience, exchange).await.map_err(late)??;
        let answered = decode_response_header(&mut answer, R::KEY, version).map_err(invalid)?;
        if answered != id {
            return Err(invalid("the answer is to another request"));
        }
        R::Response::decode_body(answer, version).map_err(invalid)
    }
}

impl Answers {
    async fn read(
        &mut self,
        stream: &mut (impl tokio::io::AsyncRead + Unpin),
        length: usize,
    ) -> io::Result<Bytes> {
        self.small = if length < self.longest / 4 { self.small + 1 } else { 0 };
        if self.small >= SMALL_ANSWERS {
            *self = Self::default();
        }
        self.longest = self.longest.max(length);
        let buffer = &mut self.buffer;
        while buffer.len() < length {
            // What is announced is believed as it comes.
            let more = (length - buffer.len()).min(buffer.len().max(FIRST_READ_BYTES));
            buffer.reserve(more);
            let mut part = (&mut *buffer).limit(more);
            while part.has_remaining_mut() {
                if stream.read_buf(&mut part).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(buffer.split().freeze())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn read(answers: &mut Answers, mut from: &[u8], length: usize) -> io::Result<Bytes> {
        let reading = pin!(answers.read(&mut from, length));
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("bytes in memory are there at once"),
        }
    }

    #[test]
    fn answers_are_read_whole_and_their_memory_is_used_again() {
        let mut answers = Answers::default();
        let sent: Vec<u8> = (0..5_u32 << 20).map(|at| (at % 251) as u8).collect();
        let first = read(&mut answers, &sent, 3 << 20).unwrap();
        assert_eq!(first, sent[..3 << 20]);
        // What is still held is left alone.
        let second = read(&mut answers, &sent[9..], 1 << 20).unwrap();
        assert_eq!((&first[..], &second[..]), (&sent[..3 << 20], &sent[9..][..1 << 20]));
        drop((first, second));
        assert_eq!(read(&mut answers, &sent, 5 << 20).unwrap(), sent);
    }

    #[test]
    fn memory_is_let_go_of_after_small_answers() {
        let mut answers = Answers::default();
        let sent = vec![7; 3 << 20];
        read(&mut answers, &sent, sent.len()).unwrap();
        for _ in 0..SMALL_ANSWERS {
            assert!(answers.longest > 100);
            read(&mut answers, &sent, 100).unwrap();
        }
        assert_eq!(answers.longest, 100);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        let cut = read(&mut Answers::default(), &[1, 2, 3], 4);
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
