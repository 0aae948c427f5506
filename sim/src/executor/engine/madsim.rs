//! madsim as the engine: each node of the simulation is one of madsim's, whose program runs the node's tasks.
//!
//! madsim carries bytes, as whole messages, and moves time from event to event. It knows no half-open connections: a
//! power loss ends connections as a crash does. Its randomness is that of its thread, so a run gets a thread of its
//! own.

use super::{PollMain, run_main};
use crate::executor::hosted::NodeRunner;
use crate::executor::machine::Machine;
use crate::executor::network::{Link, address_of};
use crate::executor::{Failure, NodeId};
use highwater_types::Instant;
use madsim::net::{NetSim, TcpListener, TcpStream};
use madsim::runtime::Runtime;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

/// Listens on a port of the node whose program this runs in.
pub(in crate::executor) async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
}

/// Connects from the node whose program this runs in.
pub(in crate::executor) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// The engine's time, in nanoseconds since the start.
pub(in crate::executor) fn now_ns() -> u64 {
    nanoseconds(madsim::time::TimeHandle::current().elapsed())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A runtime of madsim's, and its numbers of the nodes.
pub(in crate::executor) struct Madsim {
    runtime: Runtime,
    nodes: Mutex<Vec<madsim::task::NodeId>>,
}

impl Madsim {
    pub(in crate::executor) fn new(seed: u64) -> Self {
        let mut config = madsim::Config::default();
        let link = Link::default();
        config.net.send_latency = link.latency_min..link.latency_max;
        Self { runtime: Runtime::with_seed_and_config(seed, config), nodes: Mutex::default() }
    }

    fn node(&self, node: NodeId) -> madsim::task::NodeId {
        self.nodes.lock().expect("no code panics while it holds the nodes")[node.0]
    }

    /// Adds a node.
    pub(in crate::executor) fn add(&self, machine: &Arc<Machine>, node: NodeId) {
        let machine = Arc::downgrade(machine);
        let program = move || {
            let runner = machine.upgrade().map(|machine| NodeRunner::new(&machine, node));
            async move {
                if let Some(runner) = runner {
                    runner.await;
                }
            }
        };
        let built = self.runtime.create_node().ip(address_of(node)).init(program).build();
        self.nodes.lock().expect("no code panics while it holds the nodes").push(built.id());
    }

    /// Ends a node's tasks. Its program is ready for the next incarnation at once.
    pub(in crate::executor) fn stop(&self, machine: &Machine, node: NodeId) {
        machine.stop_tasks(node);
        let handle = self.runtime.handle();
        handle.kill(self.node(node));
        handle.restart(self.node(node));
    }

    /// Sets the link between two nodes. Delays are the same on all links.
    pub(in crate::executor) fn set_link(&self, a: NodeId, b: NodeId, link: Link) {
        let net = NetSim::current();
        let (a, b) = (self.node(a), self.node(b));
        for (from, to) in [(a, b), (b, a)] {
            match link.blocked {
                true => net.clog_link(from, to),
                false => net.unclog_link(from, to),
            }
        }
        let latency = link.latency_min..link.latency_max.max(link.latency_min + Duration::from_nanos(1));
        net.update_config(|config| config.send_latency = latency);
    }

    /// Lets nothing arrive that one node sends to another, or lets it arrive again.
    pub(in crate::executor) fn block_one_way(&self, from: NodeId, to: NodeId, blocked: bool) {
        let (net, from, to) = (NetSim::current(), self.node(from), self.node(to));
        match blocked {
            true => net.clog_link(from, to),
            false => net.unclog_link(from, to),
        }
    }

    /// Runs all nodes until the main future is done or the run has failed.
    ///
    /// # Errors
    /// Nothing can go on.
    pub(in crate::executor) fn run(&self, machine: &Arc<Machine>, main: PollMain<'_>) -> Result<(), Failure> {
        let mut timer = None;
        self.runtime.block_on(poll_fn(|cx| {
            machine.queue.set_runner(cx.waker());
            loop {
                machine.follow_engine();
                if run_main(machine, main).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                let next = machine.next_timer();
                machine.lock().timekeeper = Some(cx.waker().clone());
                match next {
                    Some(at) if wait(&mut timer, Instant(at), cx).is_pending() => return Poll::Pending,
                    Some(_) => {}
                    None => return Poll::Pending,
                }
            }
        }))
    }
}

/// Waits for a point in time with the one timer that there is.
fn wait(
    timer: &mut Option<(Instant, Pin<Box<madsim::time::Sleep>>)>,
    at: Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let now = now_ns();
    if now >= at.0 {
        *timer = None;
        return Poll::Ready(());
    }
    if timer.as_ref().is_none_or(|(set, _)| *set != at) {
        let sleep = madsim::time::sleep(Duration::from_nanos(at.0 - now));
        *timer = Some((at, Box::pin(sleep)));
    }
    match timer {
        Some((_, sleep)) => sleep.as_mut().poll(cx),
        None => Poll::Pending,
    }
}
