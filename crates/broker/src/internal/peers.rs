//! Calls to other nodes: one connection to each, over which many calls go at once.

use super::frame;
use super::message::{Ask, Call, Hello, Reply, Tell};
use bytes::Bytes;
use highwater_env::{Elapsed, Env, Network, Task, timeout};
use highwater_types::{BrokerId, Instant};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

/// After how long without a word to what was asked a connection is given up.
const SILENCE: Duration = Duration::from_secs(2);

/// How many calls to one node wait to be sent at most.
const MAX_QUEUED: usize = 64;

/// The largest greeting.
const MAX_HELLO_BYTES: usize = 4 << 10;

/// Why a call gave no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The call did not reach the other node.
    #[error("{0}")]
    NotSent(String),
    /// Nobody knows whether the call was carried out.
    #[error("{0}; whether the call was carried out is not known")]
    Open(String),
}

/// The other nodes.
pub(crate) struct Peers<E: Env> {
    env: E,
    hello: Box<dyn Fn() -> Hello + Send + Sync>,
    slots: Mutex<Slots<E>>,
    /// The words of those that turned this node away when they were reached last.
    refusals: Mutex<BTreeMap<(String, u16), String>>,
}

/// The connections, by address.
type Slots<E> = BTreeMap<(String, u16), Arc<Slot<E>>>;

/// The connection to one address, if there is one.
type Slot<E> = tokio::sync::Mutex<Option<Arc<Connection<E>>>>;

struct Connection<E: Env> {
    env: E,
    /// What the other node said of itself.
    hello: Hello,
    next: AtomicU64,
    frames: mpsc::Sender<Bytes>,
    waiting: Arc<Waiting>,
    tasks: [Task; 2],
}

/// The calls that wait for a reply.
#[derive(Default)]
struct Waiting {
    replies: Mutex<Replies>,
    /// Since when nothing has been heard of the other node though something was asked, in nanoseconds of the node's
    /// clock; 0 if nothing is asked.
    silent_since: AtomicU64,
}

#[derive(Default)]
struct Replies {
    by_number: BTreeMap<u64, oneshot::Sender<Tell>>,
    closed: bool,
}

impl Waiting {
    fn replies(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something was asked.
    fn asked(&self, now: Instant) {
        let _ = self.silent_since.compare_exchange(0, now.0.max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Notes that something was heard.
    fn heard(&self, now: Instant) {
        let is_asked = !self.replies().by_number.is_empty();
        self.silent_since.store(if is_asked { now.0.max(1) } else { 0 }, Ordering::Relaxed);
    }

    /// Ends the connection if it has been silent for too long: after a cut network the system would go on to send into
    /// the void for minutes.
    fn close_if_silent(&self, now: Instant) {
        let since = self.silent_since.load(Ordering::Relaxed);
        if since > 0 && now.since(Instant(since)) >= SILENCE {
            self.close();
        }
    }

    fn close(&self) {
        let mut replies = self.replies();
        replies.closed = true;
        replies.by_number.clear();
    }
}

impl<E: Env> Drop for Connection<E> {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<E: Env> Peers<E> {
    /// The other nodes, to whom this one introduces itself as `hello` says at the time.
    pub(crate) fn new(env: E, hello: impl Fn() -> Hello + Send + Sync + 'static) -> Self {
        Self { env, hello: Box::new(hello), slots: Mutex::default(), refusals: Mutex::default() }
    }

    /// Asks the node at an address, which must be node `id`.
    pub(crate) async fn call(
        &self,
        id: BrokerId,
        (host, port): (&str, u16),
        ask: Ask,
        limit: Duration,
    ) -> Result<Tell, CallError> {
        let begun = self.env.clock().now();
        let slot = self.slot(host, port);
        let connection = match timeout(self.env.clock(), limit, self.connected(&slot, host, port)).await {
            Ok(connection) => connection?,
            Err(Elapsed) => {
                return Err(CallError::NotSent(format!("{host}:{port} was not reached in {limit:?}")));
            }
        };
        if connection.hello.node != id.0 {
            return Err(CallError::NotSent(format!(
                "{host}:{port} is the address of node {}, not of node {id}: correct the list of voters",
                connection.hello.node
            )));
        }
        let left = limit.saturating_sub(self.env.clock().now().since(begun));
        match timeout(self.env.clock(), left, connection.ask(ask)).await {
            Ok(answer) => answer,
            Err(Elapsed) => Err(CallError::Open(format!("node {id} did not answer in {limit:?}"))),
        }
    }

    /// What the node at an address says of itself.
    pub(crate) async fn greet(&self, host: &str, port: u16, limit: Duration) -> Result<Hello, CallError> {
        match timeout(self.env.clock(), limit, self.open(host, port)).await {
            Ok(connection) => Ok(connection?.hello.clone()),
            Err(Elapsed) => Err(CallError::NotSent(format!("{host}:{port} did not answer in {limit:?}"))),
        }
    }

    /// Why the node at an address turned this one away when it was reached last, if it did.
    pub(crate) fn refusal(&self, host: &str, port: u16) -> Option<String> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.get(&(host.to_owned(), port)).cloned()
    }

    fn note(&self, host: &str, port: u16, refused: Option<String>) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        match refused {
            Some(refused) => refusals.insert((host.to_owned(), port), refused),
            None => refusals.remove(&(host.to_owned(), port)),
        };
    }

    fn slot(&self, host: &str, port: u16) -> Arc<Slot<E>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry((host.to_owned(), port)).or_default())
    }

    /// The connection of a slot, made anew where there is none.
    async fn connected(
        &self,
        slot: &Slot<E>,
        host: &str,
        port: u16,
    ) -> Result<Arc<Connection<E>>, CallError> {
        let mut slot = slot.lock().await;
        if let Some(open) = slot.as_ref().filter(|connection| !connection.waiting.replies().closed) {
            return Ok(Arc::clone(open));
        }
        *slot = None;
        let connection = Arc::new(self.open(host, port).await?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn open(&self, host: &str, port: u16) -> Result<Connection<E>, CallError> {
        let failed = |what: String| CallError::NotSent(format!("{host}:{port}: {what}"));
        let network = self.env.network();
        let addresses = network.resolve(host, port).await.map_err(|error| failed(error.to_string()))?;
        let address = *addresses.first().ok_or_else(|| failed("the name has no address".to_owned()))?;
        let mut stream = network.connect(address).await.map_err(|error| failed(error.to_string()))?;
        let hello = frame::encode(&(self.hello)()).expect("a greeting is small");
        stream.write_all(&hello).await.map_err(|error| failed(error.to_string()))?;
        stream.flush().await.map_err(|error| failed(error.to_string()))?;
        let answer = frame::read(&mut stream, MAX_HELLO_BYTES).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let answer = answer.ok_or_else(|| failed("the connection was closed".to_owned()))?;
        let hello: Hello = frame::decode(answer).map_err(failed)?;
        if !hello.refusal.is_empty() {
            tracing::warn!(peer = format!("{host}:{port}"), "turned away: {}", hello.refusal);
            self.note(host, port, Some(hello.refusal.clone()));
            return Err(failed(hello.refusal));
        }
        self.note(host, port, None);
        let (reading, writing) = tokio::io::split(stream);
        let (frames, queued) = mpsc::channel(MAX_QUEUED);
        let waiting = Arc::new(Waiting::default());
        let writer = self.env.spawn("peer-write", write(writing, queued, Arc::clone(&waiting)));
        let (env, clock) = (self.env.clone(), self.env.clone());
        let now = move || clock.clock().now();
        let reader = self.env.spawn("peer-read", read(reading, Arc::clone(&waiting), now));
        Ok(Connection { env, hello, next: AtomicU64::new(1), frames, waiting, tasks: [writer, reader] })
    }
}

impl<E: Env> Connection<E> {
    async fn ask(&self, ask: Ask) -> Result<Tell, CallError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = frame::encode(&Call { number, ask: Some(ask) });
        let frame = frame.ok_or_else(|| CallError::NotSent("the call is too large".to_owned()))?;
        let (sender, receiver) = oneshot::channel();
        let lost = || "the connection was lost".to_owned();
        {
            let mut replies = self.waiting.replies();
            if replies.closed {
                return Err(CallError::NotSent(lost()));
            }
            replies.by_number.insert(number, sender);
        }
        self.waiting.asked(self.env.clock().now());
        let _forget = Forget { env: &self.env, waiting: &self.waiting, number };
        self.frames.send(frame).await.map_err(|_| CallError::NotSent(lost()))?;
        receiver.await.map_err(|_| CallError::Open(lost()))
    }
}

/// Takes a call off the list when nobody waits for its reply any more. That may be because it came too late for the
/// caller: then it is looked at whether anything comes.
struct Forget<'a, E: Env> {
    env: &'a E,
    waiting: &'a Waiting,
    number: u64,
}

impl<E: Env> Drop for Forget<'_, E> {
    fn drop(&mut self) {
        if self.waiting.replies().by_number.remove(&self.number).is_some() {
            self.waiting.close_if_silent(self.env.clock().now());
        }
    }
}

async fn write<S: AsyncWrite>(
    mut stream: WriteHalf<S>,
    mut queued: mpsc::Receiver<Bytes>,
    waiting: Arc<Waiting>,
) {
    while let Some(frame) = queued.recv().await {
        if stream.write_all(&frame).await.is_err() || stream.flush().await.is_err() {
            return waiting.close();
        }
    }
}

async fn read<S: AsyncRead>(mut stream: ReadHalf<S>, waiting: Arc<Waiting>, now: impl Fn() -> Instant) {
    loop {
        let reply = match frame::read(&mut stream, frame::MAX_BYTES).await {
            Ok(Some(bytes)) => frame::decode::<Reply>(bytes),
            Ok(None) | Err(_) => return waiting.close(),
        };
        match reply {
            Ok(Reply { number, tell: Some(tell) }) => {
                let expected = waiting.replies().by_number.remove(&number);
                waiting.heard(now());
                if let Some(expected) = expected {
                    // Whoever asked may be gone.
                    let _ = expected.send(tell);
                }
            }
            Ok(Reply { tell: None, .. }) => {
                tracing::warn!(
                    "a node gave a reply of a kind that is not known here: does it run another version?"
                );
                return waiting.close();
            }
            Err(problem) => {
                tracing::warn!("a node's reply cannot be understood: {problem}");
                return waiting.close();
            }
        }
    }
}
