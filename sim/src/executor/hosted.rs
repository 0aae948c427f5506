//! What a node needs to run on another engine than the executor of its own: a future that runs its tasks there, and
//! streams that can be reset.

use super::machine::Machine;
use super::network::was_reset;
use super::{NodeId, pipes};
use highwater_env::Rng;
use rand::RngExt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Runs the tasks of one node, a random one of the ready ones at a time; the engine runs it as the node's program.
/// Engines run tasks first in, first out, which explores few interleavings.
pub(super) struct NodeRunner {
    machine: Arc<Machine>,
    node: NodeId,
    schedule: Rng,
}

impl NodeRunner {
    pub(super) fn new(machine: &Arc<Machine>, node: NodeId) -> Self {
        let life = machine.lock().nodes[node.0].life;
        let stream = 0x5c4e_0000_0000 | (node.0 as u64) << 16 | (life & 0xffff);
        Self { machine: machine.clone(), node, schedule: Rng::from_stream(machine.seed, stream) }
    }
}

impl Future for NodeRunner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let machine = self.machine.clone();
        let queue = machine.lock().nodes[self.node.0].queue.clone();
        queue.set_runner(cx.waker());
        while !machine.has_failed() {
            machine.follow_engine();
            match queue.take(|count| self.schedule.random_range(0..count)) {
                Some(task) => machine.run_task(task),
                None => return Poll::Pending,
            }
        }
        Poll::Pending
    }
}

impl Drop for NodeRunner {
    /// The engine stops the node: its tasks end here, where their streams and listeners can still say so.
    fn drop(&mut self) {
        self.machine.stop_tasks(self.node);
    }
}

/// A stream of an engine.
pub(super) trait RawStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> RawStream for S {}

/// The simulator's hold on one side of a connection.
pub(super) struct Control {
    pub(super) nodes: [NodeId; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reset: bool,
    wakers: [Option<Waker>; 2],
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds a connection")
    }

    /// Resets this side.
    pub(super) fn reset(&self) {
        let wakers = {
            let mut state = self.lock();
            state.reset = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether the stream may be used; whoever asks is woken when it is reset.
    fn check(&self, direction: usize, cx: &Context<'_>) -> io::Result<()> {
        let mut state = self.lock();
        if state.reset {
            return Err(was_reset());
        }
        if state.wakers[direction].as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            state.wakers[direction] = Some(cx.waker().clone());
        }
        Ok(())
    }
}

/// One side of a connection of an engine.
pub struct HostedStream {
    machine: Arc<Machine>,
    peer: SocketAddr,
    control: Arc<Control>,
    stream: Pin<Box<dyn RawStream>>,
}

impl HostedStream {
    pub(super) fn new(
        machine: &Arc<Machine>,
        nodes: [NodeId; 2],
        peer: SocketAddr,
        stream: impl RawStream,
    ) -> Self {
        let control = Arc::new(Control { nodes, state: Mutex::default() });
        let mut net = pipes::lock(machine);
        net.hosted.retain(|control| control.strong_count() > 0);
        net.hosted.push(Arc::downgrade(&control));
        drop(net);
        Self { machine: machine.clone(), peer, control, stream: Box::pin(stream) }
    }

    pub(super) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for HostedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.control.check(0, cx)?;
        self.stream.as_mut().poll_read(cx, out)
    }
}

impl AsyncWrite for HostedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.control.check(1, cx)?;
        let portion = pipes::lock(&self.machine).portion(data.len());
        let written = self.stream.as_mut().poll_write(cx, &data[..portion]);
        if written.is_ready() {
            // Sockets do not wait for a flush; one of the engines does.
            ready!(self.stream.as_mut().poll_flush(cx))?;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control.lock().reset {
            return Poll::Ready(Err(was_reset()));
        }
        self.stream.as_mut().poll_shutdown(cx)
    }
}
