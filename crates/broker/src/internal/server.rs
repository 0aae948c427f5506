//! The internal port's side that is called.

use super::frame;
use super::message::{Ask, Call, Failed, Hello, Reply, Tell};
use crate::latch::Latch;
use bytes::Bytes;
use highwater_env::{Elapsed, Env, Listener, Stream, Task, sleep, timeout};
use highwater_wire::ErrorCode;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::{Semaphore, mpsc};

/// How many connections are held at once.
const MAX_CONNECTIONS: usize = 1024;
/// How many calls of one connection are in work at once; more are not read before one is done.
const MAX_IN_WORK: usize = 128;
/// The largest greeting.
const MAX_HELLO_BYTES: usize = 4 << 10;
/// How long a greeting may take.
const GREETING: Duration = Duration::from_secs(10);
/// How long no connection is taken after one could not be.
const PAUSE: Duration = Duration::from_millis(50);

/// A reply on its way.
pub(crate) type Telling = Pin<Box<dyn Future<Output = Tell> + Send>>;

/// Who carries calls out.
pub(crate) trait Serve: Send + Sync + 'static {
    /// This node's greeting to one that greeted so; with a refusal, if it must be turned away.
    fn greet(&self, peer: &Hello) -> Hello;

    /// Carries out a call of a node.
    fn serve(self: Arc<Self>, from: &Hello, ask: Ask) -> Telling;
}

/// Takes connections until the task is aborted or the node stops.
pub(crate) fn start<E, L>(env: &E, listener: L, served: Arc<dyn Serve>, stop: Arc<Latch>) -> Task
where
    E: Env,
    L: Listener,
{
    let tasks = env.clone();
    let open = Arc::new(AtomicUsize::new(0));
    env.spawn("internal-listener", async move {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection to the internal port could not be accepted");
                    sleep(tasks.clock(), PAUSE).await;
                    continue;
                }
            };
            if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(%peer, "connection closed: there are {MAX_CONNECTIONS} to the internal port already");
                continue;
            }
            let (env, served) = (tasks.clone(), Arc::clone(&served));
            let (stop, open) = (Arc::clone(&stop), Arc::clone(&open));
            tasks
                .spawn("internal-connection", async move {
                    let talk = pin!(talk(&env, stream, peer, served));
                    until(&stop, talk).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                })
                .detach();
        }
    })
}

/// Runs work until the node stops.
async fn until(stop: &Latch, mut work: Pin<&mut impl Future<Output = ()>>) {
    poll_fn(|cx| match stop.poll_raised(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => work.as_mut().poll(cx),
    })
    .await;
}

/// Serves one connection to its end.
async fn talk<E: Env, S: Stream>(env: &E, mut stream: S, peer: SocketAddr, served: Arc<dyn Serve>) {
    let greeting = timeout(env.clock(), GREETING, greet(&mut stream, served.as_ref())).await;
    let from = match greeting {
        Ok(Ok(from)) => Arc::new(from),
        Ok(Err(problem)) => {
            return tracing::warn!(%peer, "connection to the internal port closed: {problem}");
        }
        Err(Elapsed) => {
            return tracing::warn!(%peer, "connection to the internal port closed: no greeting came");
        }
    };
    let (mut reading, writing) = tokio::io::split(stream);
    let (replies, queued) = mpsc::channel(MAX_IN_WORK);
    let writer = env.spawn("internal-write", write(writing, queued));
    let in_work = Arc::new(Semaphore::new(MAX_IN_WORK));
    loop {
        let call = match frame::read(&mut reading, frame::MAX_BYTES).await {
            Ok(Some(bytes)) => frame::decode::<Call>(bytes),
            Ok(None) | Err(_) => break,
        };
        let Call { number, ask } = match call {
            Ok(call) => call,
            Err(problem) => {
                tracing::warn!(%peer, "connection to the internal port closed: {problem}");
                break;
            }
        };
        let Ok(permit) = Arc::clone(&in_work).acquire_owned().await else { break };
        let (served, replies, from) = (Arc::clone(&served), replies.clone(), Arc::clone(&from));
        env.spawn("internal-call", async move {
            let tell = match ask {
                Some(ask) => served.serve(&from, ask).await,
                None => {
                    failed(ErrorCode::UNSUPPORTED_VERSION, "a call of a kind that this version does not know")
                }
            };
            let reply = frame::encode(&Reply { number, tell: Some(tell) });
            let reply = reply.or_else(|| {
                let tell = failed(ErrorCode::UNKNOWN_SERVER_ERROR, "the reply is too large");
                frame::encode(&Reply { number, tell: Some(tell) })
            });
            if let Some(reply) = reply {
                // The connection may have ended meanwhile.
                let _ = replies.send(reply).await;
            }
            drop(permit);
        })
        .detach();
    }
    writer.abort();
}

/// Exchanges greetings.
async fn greet<S: Stream>(stream: &mut S, greeter: &dyn Serve) -> Result<Hello, String> {
    let bytes = frame::read(stream, MAX_HELLO_BYTES).await.map_err(|error| error.to_string())?;
    let from: Hello = frame::decode(bytes.ok_or("it was closed without a greeting")?)?;
    let answer = greeter.greet(&from);
    let bytes = frame::encode(&answer).ok_or("the greeting is too large")?;
    stream.write_all(&bytes).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    if answer.refusal.is_empty() { Ok(from) } else { Err(answer.refusal) }
}

async fn write<S: AsyncWrite>(mut stream: WriteHalf<S>, mut queued: mpsc::Receiver<Bytes>) {
    while let Some(frame) = queued.recv().await {
        if stream.write_all(&frame).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// A reply that says that nothing came of the call.
pub(crate) fn failed(code: ErrorCode, message: impl Into<String>) -> Tell {
    Tell::Failed(Failed { code: code.0.into(), message: message.into() })
}
