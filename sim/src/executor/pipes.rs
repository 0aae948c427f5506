//! The network of the executor of its own: byte streams with bounded buffers, latency, blocked links and resets.
//!
//! Each node has one address. Names resolve to it; `localhost`, loopback and unspecified addresses mean the node
//! itself. Bytes are never lost or reordered within a stream, as TCP has it: a lost message is a stall or a reset.

use super::hosted::Control;
use super::machine::{Machine, Timer};
use super::network::{Link, SimNetwork, address_of, refused, was_reset};
use super::{Hangup, NodeId};
use bytes::{Buf, Bytes};
use highwater_env::Rng;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a stream holds between writer and reader, in bytes.
const PIPE_BYTES: usize = 256 * 1024;
const FIRST_FREE_PORT: u16 = 40_000;

#[derive(Default)]
struct Pipe {
    /// Pieces with their arrival in virtual nanoseconds.
    queue: VecDeque<(u64, Bytes)>,
    buffered: usize,
    last_arrival: u64,
    /// The writer is done; the end arrives then.
    end: Option<u64>,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Connection {
    nodes: [NodeId; 2],
    addresses: [SocketAddr; 2],
    /// Pipe `n` carries what side `n` writes.
    pipes: [Pipe; 2],
    reset: bool,
    dropped: [bool; 2],
    /// Sides whose machine lost power: they say nothing more.
    dead: [bool; 2],
}

#[derive(Default)]
struct Listening {
    node: usize,
    waiting: VecDeque<(u64, SocketAddr)>,
    acceptor: Option<Waker>,
}

/// The state of the network. Lock order: never together with the machine.
pub(super) struct NetState {
    rng: Rng,
    listeners: BTreeMap<SocketAddr, Listening>,
    connections: BTreeMap<u64, Connection>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    /// From whom to whom nothing arrives, beside the links that are blocked both ways.
    one_way: BTreeSet<(NodeId, NodeId)>,
    unblocked: Vec<Waker>,
    /// Streams of other engines, to be reset.
    pub(super) hosted: Vec<Weak<Control>>,
    next_connection: u64,
    next_port: u16,
}

impl NetState {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::from_stream(seed, 0x0e7),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            one_way: BTreeSet::new(),
            unblocked: Vec::new(),
            hosted: Vec::new(),
            next_connection: 1,
            next_port: FIRST_FREE_PORT,
        }
    }

    pub(super) fn link(&self, a: NodeId, b: NodeId) -> Link {
        self.links.get(&(a.min(b), a.max(b))).copied().unwrap_or_default()
    }

    fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.link(from, to).blocked || self.one_way.contains(&(from, to))
    }

    fn latency_ns(&mut self, a: NodeId, b: NodeId) -> u64 {
        if a == b {
            return 0;
        }
        let link = self.link(a, b);
        let least = link.latency_min.as_nanos() as u64;
        let most = (link.latency_max.as_nanos() as u64).max(least);
        self.rng.random_range(least..=most)
    }

    fn free_port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_FREE_PORT);
        self.next_port
    }

    /// One time in four, a part of what was asked for: streams keep no message boundaries.
    pub(super) fn portion(&mut self, length: usize) -> usize {
        if length > 1 && self.rng.random_range(0..4u32) == 0 {
            self.rng.random_range(1..=length)
        } else {
            length
        }
    }

    fn reset(&mut self, doomed: impl Fn(&Connection) -> bool) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for connection in self.connections.values_mut().filter(|connection| doomed(connection)) {
            connection.reset = true;
            wakers.extend(connection.wakers());
        }
        wakers
    }
}

impl Connection {
    fn wakers(&mut self) -> Vec<Waker> {
        self.pipes.iter_mut().flat_map(|pipe| [pipe.reader.take(), pipe.writer.take()]).flatten().collect()
    }
}

pub(super) fn lock(machine: &Machine) -> MutexGuard<'_, NetState> {
    machine.net.lock().expect("no code panics while it holds the network")
}

fn wake_all(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

pub(super) fn set_link(machine: &Machine, a: NodeId, b: NodeId, link: Link) {
    change(machine, |net| {
        net.links.insert((a.min(b), a.max(b)), link);
    });
}

pub(super) fn block_one_way(machine: &Machine, from: NodeId, to: NodeId, blocked: bool) {
    change(machine, |net| {
        if blocked {
            net.one_way.insert((from, to));
        } else {
            net.one_way.remove(&(from, to));
        }
    });
}

/// Changes what is blocked, and lets everybody look again who waits.
fn change(machine: &Machine, change: impl FnOnce(&mut NetState)) {
    let wakers = {
        let mut net = lock(machine);
        change(&mut net);
        let mut wakers = std::mem::take(&mut net.unblocked);
        wakers.extend(net.connections.values_mut().flat_map(Connection::wakers));
        wakers
    };
    wake_all(wakers);
}

pub(super) fn reset_between(machine: &Machine, a: NodeId, b: NodeId) {
    let between = |nodes: [NodeId; 2]| nodes == [a, b] || nodes == [b, a];
    let (wakers, hosted) = {
        let mut net = lock(machine);
        (net.reset(|connection| between(connection.nodes)), net.hosted.clone())
    };
    wake_all(wakers);
    let hosted = hosted.iter().filter_map(Weak::upgrade);
    hosted.filter(|control| between(control.nodes)).for_each(|control| control.reset());
}

/// A node is gone: its listeners close, and its connections end as `hangup` says.
pub(super) fn hang_up(machine: &Machine, node: NodeId, hangup: Hangup) {
    let wakers = {
        let mut net = lock(machine);
        net.listeners.retain(|_, listening| listening.node != node.0);
        match hangup {
            Hangup::Reset => net.reset(|connection| connection.nodes.contains(&node)),
            // Peers keep a connection that nobody answers; they find out by their deadlines, or when they send
            // something and the machine is back.
            Hangup::Silent => {
                for connection in net.connections.values_mut() {
                    for side in [0, 1].into_iter().filter(|&side| connection.nodes[side] == node) {
                        connection.dead[side] = true;
                    }
                }
                Vec::new()
            }
        }
    };
    wake_all(wakers);
}

pub(super) fn clear(machine: &Machine) {
    let wakers = {
        let mut net = lock(machine);
        net.listeners.clear();
        net.reset(|_| true)
    };
    wake_all(wakers);
}

/// Waits for the time that something takes to another node, and until the link is open.
async fn travel(network: &SimNetwork, to: NodeId) {
    let (machine, node) = (&network.machine, network.node);
    let delay = lock(machine).latency_ns(node, to);
    let until = machine.lock().now_ns.saturating_add(delay);
    machine.sleep(until).await;
    poll_fn(|cx| {
        let mut net = lock(machine);
        // A connection takes a word each way.
        if net.is_blocked(node, to) || net.is_blocked(to, node) {
            net.unblocked.push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// Listens on an address of the node.
pub(super) fn listen(network: &SimNetwork, mut address: SocketAddr) -> io::Result<PipeListener> {
    let mut net = lock(&network.machine);
    if address.port() == 0 {
        address.set_port(net.free_port());
    }
    if net.listeners.contains_key(&address) {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{address} is in use")));
    }
    net.listeners.insert(address, Listening { node: network.node.0, ..Listening::default() });
    Ok(PipeListener { network: network.clone(), address })
}

/// Connects to a node's address.
pub(super) async fn connect(network: &SimNetwork, to: NodeId, address: SocketAddr) -> io::Result<PipeStream> {
    travel(network, to).await;
    let (number, acceptor) = {
        let mut net = lock(&network.machine);
        let own = SocketAddr::new(address_of(network.node), net.free_port());
        let number = net.next_connection;
        let listening = net.listeners.get_mut(&address).ok_or_else(|| refused(address))?;
        listening.waiting.push_back((number, own));
        let acceptor = listening.acceptor.take();
        net.next_connection += 1;
        let connection = Connection {
            nodes: [network.node, to],
            addresses: [own, address],
            pipes: Default::default(),
            reset: false,
            dropped: [false; 2],
            dead: [false; 2],
        };
        net.connections.insert(number, connection);
        (number, acceptor)
    };
    wake_all(acceptor.into_iter().collect());
    let stream = PipeStream { machine: network.machine.clone(), number, side: 0, timer: None };
    travel(network, to).await;
    Ok(stream)
}

/// A listening socket.
pub struct PipeListener {
    network: SimNetwork,
    address: SocketAddr,
}

impl PipeListener {
    pub(super) async fn accept(&self) -> io::Result<(PipeStream, SocketAddr)> {
        poll_fn(|cx| {
            self.network.check_life()?;
            let mut net = lock(&self.network.machine);
            let gone = || io::Error::other("the listener is closed");
            let listening = net.listeners.get_mut(&self.address).ok_or_else(gone)?;
            let Some((number, peer)) = listening.waiting.pop_front() else {
                listening.acceptor = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let machine = self.network.machine.clone();
            Poll::Ready(Ok((PipeStream { machine, number, side: 1, timer: None }, peer)))
        })
        .await
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PipeListener {
    fn drop(&mut self) {
        if self.network.check_life().is_err() {
            return;
        }
        let wakers = {
            let mut net = lock(&self.network.machine);
            let Some(listening) = net.listeners.remove(&self.address) else { return };
            let mut wakers = Vec::new();
            for (number, _) in listening.waiting {
                if let Some(connection) = net.connections.get_mut(&number) {
                    connection.reset = true;
                    wakers.extend(connection.wakers());
                }
            }
            wakers
        };
        wake_all(wakers);
    }
}

/// One side of a connection.
pub struct PipeStream {
    machine: Arc<Machine>,
    number: u64,
    side: usize,
    timer: Option<Timer>,
}

fn broken_pipe() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the other side has closed the connection")
}

/// What a reader has to wait for.
enum Wait {
    Bytes,
    Until(u64),
}

impl PipeStream {
    fn now_ns(&self) -> u64 {
        self.machine.lock().now_ns
    }

    fn try_read(&self, now: u64, cx: &Context<'_>, out: &mut ReadBuf<'_>) -> Result<io::Result<()>, Wait> {
        let writer = {
            let mut guard = lock(&self.machine);
            let net = &mut *guard;
            let wanted = net.portion(out.remaining());
            let Some(connection) = net.connections.get(&self.number) else { return Ok(Err(was_reset())) };
            let blocked = net.is_blocked(connection.nodes[1 - self.side], connection.nodes[self.side]);
            let Some(connection) = net.connections.get_mut(&self.number) else { return Ok(Err(was_reset())) };
            if connection.reset {
                return Ok(Err(was_reset()));
            }
            let pipe = &mut connection.pipes[1 - self.side];
            let arrival = pipe.queue.front().map(|&(at, _)| at).or(pipe.end);
            match arrival {
                Some(at) if !blocked && at <= now => {}
                Some(at) if !blocked => {
                    pipe.reader = Some(cx.waker().clone());
                    return Err(Wait::Until(at));
                }
                _ => {
                    pipe.reader = Some(cx.waker().clone());
                    return Err(Wait::Bytes);
                }
            }
            let Some((_, piece)) = pipe.queue.front_mut() else { return Ok(Ok(())) };
            let taken = wanted.min(piece.len());
            out.put_slice(&piece[..taken]);
            piece.advance(taken);
            if piece.is_empty() {
                pipe.queue.pop_front();
            }
            pipe.buffered -= taken;
            pipe.writer.take()
        };
        wake_all(writer.into_iter().collect());
        Ok(Ok(()))
    }

    /// The room for more bytes; waits for some if there is none.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut net = lock(&self.machine);
        let Some(connection) = net.connections.get_mut(&self.number) else {
            return Poll::Ready(Err(was_reset()));
        };
        if connection.reset {
            return Poll::Ready(Err(was_reset()));
        }
        let pipe = &mut connection.pipes[self.side];
        if pipe.reader_gone || pipe.end.is_some() {
            return Poll::Ready(Err(broken_pipe()));
        }
        if pipe.buffered >= PIPE_BYTES {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(PIPE_BYTES - pipe.buffered))
    }

    /// Puts bytes on their way; there is room for them.
    fn push(&self, now: u64, piece: Bytes) {
        let dark = self.peer_is_dark();
        let reader = {
            let mut net = lock(&self.machine);
            let Some(connection) = net.connections.get_mut(&self.number) else { return };
            if connection.dead[1 - self.side] && !dark {
                connection.reset = true;
                let wakers = connection.wakers();
                drop(net);
                return wake_all(wakers);
            }
            let [a, b] = connection.nodes;
            let arrival = now.saturating_add(net.latency_ns(a, b));
            let Some(connection) = net.connections.get_mut(&self.number) else { return };
            let pipe = &mut connection.pipes[self.side];
            pipe.last_arrival = pipe.last_arrival.max(arrival);
            pipe.buffered += piece.len();
            pipe.queue.push_back((pipe.last_arrival, piece));
            pipe.reader.take()
        };
        wake_all(reader.into_iter().collect());
    }

    /// Whether the other side's machine is without power.
    fn peer_is_dark(&self) -> bool {
        let peer = lock(&self.machine).connections.get(&self.number).map(|found| found.nodes[1 - self.side]);
        peer.is_some_and(|peer| self.machine.lock().nodes[peer.0].dark)
    }

    fn close(&self, whole: bool) {
        let now = self.now_ns();
        let wakers = {
            let mut net = lock(&self.machine);
            let Some(connection) = net.connections.get_mut(&self.number) else { return };
            if connection.dead[self.side] {
                connection.dropped[self.side] = true;
                if connection.dropped == [true; 2] {
                    net.connections.remove(&self.number);
                }
                return;
            }
            let outgoing = &mut connection.pipes[self.side];
            let arrival = outgoing.last_arrival.max(now);
            outgoing.end.get_or_insert(arrival);
            let mut wakers: Vec<Waker> = outgoing.reader.take().into_iter().collect();
            if whole {
                let incoming = &mut connection.pipes[1 - self.side];
                incoming.reader_gone = true;
                wakers.extend(incoming.writer.take());
                connection.dropped[self.side] = true;
                if connection.dropped == [true; 2] {
                    net.connections.remove(&self.number);
                }
            }
            wakers
        };
        wake_all(wakers);
    }
}

impl AsyncRead for PipeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let now = self.now_ns();
            match self.try_read(now, cx, out) {
                Ok(result) => {
                    self.timer = None;
                    return Poll::Ready(result);
                }
                Err(Wait::Bytes) => {
                    self.timer = None;
                    return Poll::Pending;
                }
                Err(Wait::Until(at)) => {
                    let mut timer = self.machine.sleep(at);
                    if Pin::new(&mut timer).poll(cx).is_pending() {
                        self.timer = Some(timer);
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for PipeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let room = std::task::ready!(self.poll_room(cx))?;
        let taken = lock(&self.machine).portion(data.len().min(room));
        self.push(self.now_ns(), Bytes::copy_from_slice(&data[..taken]));
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(false);
        Poll::Ready(Ok(()))
    }
}

impl PipeStream {
    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        let net = lock(&self.machine);
        let connection = net.connections.get(&self.number).ok_or_else(was_reset)?;
        Ok(connection.addresses[1 - self.side])
    }
}

impl Drop for PipeStream {
    fn drop(&mut self) {
        self.close(true);
    }
}
