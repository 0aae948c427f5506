//! One connection to a broker: requests leave in the order in which they were started, answers come in that order.

use crate::{ClientConfig, ClientError};
use bytes::{Bytes, BytesMut};
use highwater_env::{Elapsed, Env, Network, Task, timeout, timeout_at};
use highwater_types::{HashMap, Instant};
use highwater_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use highwater_wire::{
    ApiKey, ErrorCode, Message, Request, Segment, decode_response_header, encode_request, frame_length,
};
use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

/// Memory that is taken for an answer before its bytes have come.
const FIRST_READ_BYTES: usize = 1 << 20;

/// The version of ApiVersions that is tried first, and the one that every broker knows.
const API_VERSIONS: [i16; 2] = [3, 0];

/// One connection to a broker.
pub(crate) struct Connection<E: Env> {
    env: E,
    shared: Arc<Shared>,
    requests: mpsc::Sender<Outgoing>,
    correlation: AtomicI32,
    config: Arc<ClientConfig>,
    /// The versions that the broker serves, by key.
    versions: HashMap<i16, (i16, i16)>,
    tasks: [Task; 2],
}

struct Shared {
    peer: String,
    closed: AtomicBool,
    waiting: Mutex<Waiting>,
}

/// Requests whose answers are to come, oldest first; and why no more will come.
#[derive(Default)]
struct Waiting {
    queue: VecDeque<Expected>,
    failure: Option<ClientError>,
}

struct Expected {
    correlation_id: i32,
    reply: oneshot::Sender<Result<Bytes, ClientError>>,
}

struct Outgoing {
    segments: Vec<Bytes>,
    /// None: no answer comes (a produce request with acks=0).
    expected: Option<Expected>,
}

/// An answer that is to come.
pub(crate) struct Answer<R: Request> {
    receiver: oneshot::Receiver<Result<Bytes, ClientError>>,
    version: i16,
    deadline: Instant,
    request: PhantomData<fn() -> R>,
}

impl<E: Env> Connection<E> {
    /// Connects, and learns what the broker serves.
    pub(crate) async fn open(
        env: &E,
        address: SocketAddr,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, ClientError> {
        let peer = address.to_string();
        let stream = match timeout(env.clock(), config.connect_timeout, env.network().connect(address)).await
        {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(ClientError::Disconnected { peer, cause: error.to_string() }),
            Err(Elapsed) => return Err(timed_out(format!("connecting to {peer}"), config.connect_timeout)),
        };
        let (reading, writing) = tokio::io::split(stream);
        let (requests, queued) = mpsc::channel(config.max_queued_requests);
        let shared = Arc::new(Shared {
            peer,
            closed: AtomicBool::new(false),
            waiting: Mutex::new(Waiting::default()),
        });
        let writer = env.spawn("client-write", write_requests(writing, queued, Arc::clone(&shared)));
        let reader =
            env.spawn("client-read", read_answers(reading, config.max_response_bytes, Arc::clone(&shared)));
        let mut connection = Self {
            env: env.clone(),
            shared,
            requests,
            correlation: AtomicI32::new(0),
            config: Arc::clone(config),
            versions: HashMap::default(),
            tasks: [writer, reader],
        };
        connection.versions = connection.negotiate().await?;
        Ok(connection)
    }

    /// Whether requests can still be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.shared.closed.load(Ordering::Acquire)
    }

    /// The other end; for messages.
    pub(crate) fn peer(&self) -> &str {
        &self.shared.peer
    }

    /// The highest version of the call that both ends know, and at most `limit`.
    pub(crate) fn version_of<R: Request>(&self, limit: i16) -> Result<i16, ClientError> {
        let unsupported = || ClientError::Unsupported { peer: self.peer().to_owned(), api: R::KEY };
        let &(least, most) = self.versions.get(&R::KEY.0).ok_or_else(unsupported)?;
        let version = most.min(*R::VERSIONS.end()).min(limit);
        if version < least.max(*R::VERSIONS.start()) { Err(unsupported()) } else { Ok(version) }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        let answer = self.start(request, version).await?;
        self.finish(answer).await
    }

    /// Queues a request. Requests go out in the order in which this returns.
    pub(crate) async fn start<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Answer<R>, ClientError> {
        let (reply, receiver) = oneshot::channel();
        let deadline = self.env.clock().now().after(self.config.request_timeout);
        self.enqueue(request, version, Some(reply)).await?;
        Ok(Answer { receiver, version, deadline, request: PhantomData })
    }

    /// Queues a request that is not answered.
    pub(crate) async fn send_unanswered<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(), ClientError> {
        self.enqueue(request, version, None).await
    }

    /// Waits for an answer. One that does not come in time ends the connection: nothing behind it can come either.
    pub(crate) async fn finish<R: Request>(&self, answer: Answer<R>) -> Result<R::Response, ClientError> {
        let version = answer.version;
        let body = self.receive(answer).await?;
        R::Response::decode_body(body, version).map_err(|error| self.shared.protocol(error))
    }

    async fn receive<R: Request>(&self, answer: Answer<R>) -> Result<Bytes, ClientError> {
        let mut frame = match timeout_at(self.env.clock(), answer.deadline, answer.receiver).await {
            Ok(Ok(frame)) => frame?,
            Ok(Err(_)) => return Err(self.shared.failure()),
            Err(Elapsed) => {
                let error = timed_out(format!("{} at {}", R::KEY, self.peer()), self.config.request_timeout);
                self.shared.close(error.clone());
                return Err(error);
            }
        };
        decode_response_header(&mut frame, R::KEY, answer.version)
            .map_err(|error| self.shared.protocol(error))?;
        Ok(frame)
    }

    async fn enqueue<R: Request>(
        &self,
        request: &R,
        version: i16,
        reply: Option<oneshot::Sender<Result<Bytes, ClientError>>>,
    ) -> Result<(), ClientError> {
        let correlation_id = self.correlation.fetch_add(1, Ordering::Relaxed);
        let frame = encode_request(correlation_id, Some(&self.config.client_id), version, request)
            .map_err(|error| ClientError::Invalid(error.to_string()))?;
        let segments = frame.segments.into_iter().map(in_memory).collect::<Result<_, _>>()?;
        let expected = reply.map(|reply| Expected { correlation_id, reply });
        let outgoing = Outgoing { segments, expected };
        let queued =
            timeout(self.env.clock(), self.config.request_timeout, self.requests.send(outgoing)).await;
        match queued {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.shared.failure()),
            Err(Elapsed) => {
                Err(timed_out(format!("sending to {}", self.peer()), self.config.request_timeout))
            }
        }
    }

    async fn negotiate(&self) -> Result<HashMap<i16, (i16, i16)>, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: "highwater".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let mut answer = ApiVersionsResponse::default();
        for version in API_VERSIONS {
            answer = self.api_versions(&request, version).await?;
            if answer.error_code != ErrorCode::UNSUPPORTED_VERSION {
                break;
            }
        }
        ClientError::check(answer.error_code, None, || {
            format!("{} at {}", ApiKey::API_VERSIONS, self.peer())
        })?;
        Ok(answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect())
    }

    /// A broker that does not know the version answers in version 0.
    async fn api_versions(
        &self,
        request: &ApiVersionsRequest,
        version: i16,
    ) -> Result<ApiVersionsResponse, ClientError> {
        let answer = self.start(request, version).await?;
        let body = self.receive(answer).await?;
        let unsupported = ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes();
        let version = if body.starts_with(&unsupported) { 0 } else { version };
        ApiVersionsResponse::decode_body(body, version).map_err(|error| self.shared.protocol(error))
    }
}

impl<E: Env> Drop for Connection<E> {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.close(ClientError::Closed);
    }
}

impl Shared {
    /// Ends the connection: what waits, and whoever comes later, gets this error.
    fn close(&self, error: ClientError) {
        self.closed.store(true, Ordering::Release);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = waiting.failure.get_or_insert(error).clone();
        for expected in waiting.queue.drain(..) {
            let _ = expected.reply.send(Err(failure.clone()));
        }
    }

    fn failure(&self) -> ClientError {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.failure.clone().unwrap_or(ClientError::Closed)
    }

    /// Notes that an answer is to come; false if none will, because the connection has ended.
    fn expect(&self, expected: Expected) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match &waiting.failure {
            Some(failure) => {
                let _ = expected.reply.send(Err(failure.clone()));
                false
            }
            None => {
                waiting.queue.push_back(expected);
                true
            }
        }
    }

    fn next_expected(&self) -> Option<Expected> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).queue.pop_front()
    }

    fn protocol(&self, cause: impl ToString) -> ClientError {
        ClientError::Protocol { peer: self.peer.clone(), cause: cause.to_string() }
    }

    fn disconnected(&self, cause: impl ToString) -> ClientError {
        ClientError::Disconnected { peer: self.peer.clone(), cause: cause.to_string() }
    }
}

async fn write_requests<S: AsyncWrite>(
    mut stream: WriteHalf<S>,
    mut queued: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
) {
    while let Some(outgoing) = queued.recv().await {
        if let Some(expected) = outgoing.expected
            && !shared.expect(expected)
        {
            return;
        }
        for segment in outgoing.segments {
            if let Err(error) = stream.write_all(&segment).await {
                return shared.close(shared.disconnected(error));
            }
        }
        if let Err(error) = stream.flush().await {
            return shared.close(shared.disconnected(error));
        }
    }
    let _ = stream.shutdown().await;
}

async fn read_answers<S: AsyncRead>(mut stream: ReadHalf<S>, limit: usize, shared: Arc<Shared>) {
    loop {
        let frame = match read_frame(&mut stream, limit).await {
            Ok(frame) => frame,
            Err(error) => return shared.close(shared.disconnected(error)),
        };
        let correlation_id = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        match shared.next_expected() {
            Some(expected) if correlation_id == Some(expected.correlation_id) => {
                let _ = expected.reply.send(Ok(frame));
            }
            Some(expected) => {
                let cause = format!("answer {correlation_id:?} where {} was due", expected.correlation_id);
                let error = shared.protocol(cause);
                let _ = expected.reply.send(Err(error.clone()));
                return shared.close(error);
            }
            None => {
                return shared.close(shared.protocol("an answer that was not asked for"));
            }
        }
    }
}

async fn read_frame<S: AsyncRead>(stream: &mut ReadHalf<S>, limit: usize) -> io::Result<Bytes> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let length =
        frame_length(prefix, limit).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut frame = BytesMut::with_capacity(length.min(FIRST_READ_BYTES));
    while frame.len() < length {
        let missing = length - frame.len();
        if stream.take(missing as u64).read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

/// Records are in memory at a client.
fn in_memory(segment: Segment) -> Result<Bytes, ClientError> {
    match segment {
        Segment::Bytes(bytes) => Ok(bytes),
        Segment::External { .. } => {
            Err(ClientError::Invalid("a request's records must be in memory".to_owned()))
        }
    }
}

pub(crate) fn timed_out(what: String, limit: std::time::Duration) -> ClientError {
    ClientError::TimedOut { what, limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests;
