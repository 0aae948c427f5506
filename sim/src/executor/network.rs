//! The network between simulated nodes, as their programs see it, whichever engine carries it.
//!
//! Each node has one address. Names resolve to it; `localhost`, loopback and unspecified addresses mean the node
//! itself. Bytes are never lost or reordered within a stream, as TCP has it: a lost message is a stall or a reset.

use super::NodeId;
use super::engine::{self, EngineKind};
use super::hosted::{HostedStream, RawStream};
use super::machine::Machine;
use super::pipes::{self, PipeListener, PipeStream};
use crate::disk::SimFile;
use highwater_env::{Listener, Network, Stream};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that one `send_file` takes, in bytes.
const SEND_FILE_BYTES: usize = 64 * 1024;

/// How two nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The shortest one-way delay.
    pub latency_min: Duration,
    /// The longest one-way delay.
    pub latency_max: Duration,
    /// Whether bytes wait until the link is set again.
    pub blocked: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self { latency_min: Duration::ZERO, latency_max: Duration::from_millis(1), blocked: false }
    }
}

pub(super) fn address_of(node: NodeId) -> IpAddr {
    let [high, low] = (node.0 as u16 + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
}

pub(super) fn refused(address: SocketAddr) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, format!("{address} refused the connection"))
}

pub(super) fn was_reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection was reset")
}

/// The network as one incarnation of a node has it.
#[derive(Clone)]
pub struct SimNetwork {
    pub(super) machine: Arc<Machine>,
    pub(super) node: NodeId,
    life: u64,
}

impl SimNetwork {
    pub(super) fn new(machine: &Arc<Machine>, node: NodeId, life: u64) -> Self {
        Self { machine: machine.clone(), node, life }
    }

    pub(super) fn check_life(&self) -> io::Result<()> {
        if self.machine.lock().nodes[self.node.0].life == self.life {
            return Ok(());
        }
        Err(io::Error::other("the process that used this network is gone"))
    }

    /// The stream that a listener of this node got from a peer.
    fn accepted(&self, stream: impl RawStream, peer: SocketAddr) -> SimStream {
        let from = self.node_at(peer.ip()).unwrap_or(self.node);
        SimStream::Hosted(HostedStream::new(&self.machine, [from, self.node], peer, stream))
    }

    /// The real address behind one that a program names.
    fn real(&self, address: SocketAddr) -> SocketAddr {
        let own = address.ip().is_loopback() || address.ip().is_unspecified();
        if own { SocketAddr::new(address_of(self.node), address.port()) } else { address }
    }

    fn node_at(&self, address: IpAddr) -> Option<NodeId> {
        let count = self.machine.lock().nodes.len();
        (0..count).map(NodeId).find(|&node| address_of(node) == address)
    }
}

impl Network for SimNetwork {
    type File = SimFile;
    type Stream = SimStream;
    type Listener = SimListener;

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let node = match host {
            "localhost" => Some(self.node),
            name => self.machine.lock().nodes.iter().position(|node| node.name == name).map(NodeId),
        };
        match node {
            Some(node) => Ok(vec![SocketAddr::new(address_of(node), port)]),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("no host is called {host}"))),
        }
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        self.check_life()?;
        let address = self.real(address);
        if address.ip() != address_of(self.node) {
            let text = format!("{address} is not an address of this node");
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
        }
        match self.machine.kind {
            EngineKind::Executor => Ok(SimListener::Pipe(pipes::listen(self, address)?)),
            EngineKind::Turmoil => {
                let listener = engine::turmoil::listen(address.port()).await?;
                Ok(SimListener::Turmoil(self.clone(), listener))
            }
            #[cfg(madsim)]
            EngineKind::Madsim => {
                let listener = engine::madsim::listen(address.port()).await?;
                Ok(SimListener::Madsim(self.clone(), listener))
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<SimStream> {
        self.check_life()?;
        let address = self.real(address);
        let to = self.node_at(address.ip()).ok_or_else(|| refused(address))?;
        match self.machine.kind {
            EngineKind::Executor => Ok(SimStream::Pipe(pipes::connect(self, to, address).await?)),
            EngineKind::Turmoil => {
                let stream = engine::turmoil::connect(address).await?;
                Ok(SimStream::Hosted(HostedStream::new(&self.machine, [self.node, to], address, stream)))
            }
            #[cfg(madsim)]
            EngineKind::Madsim => {
                let stream = engine::madsim::connect(address).await?;
                Ok(SimStream::Hosted(HostedStream::new(&self.machine, [self.node, to], address, stream)))
            }
        }
    }
}

/// A listening socket.
pub enum SimListener {
    /// Of the executor of its own.
    Pipe(PipeListener),
    /// Of turmoil.
    Turmoil(SimNetwork, ::turmoil::net::TcpListener),
    /// Of madsim.
    #[cfg(madsim)]
    Madsim(SimNetwork, ::madsim::net::TcpListener),
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        match self {
            Self::Pipe(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((SimStream::Pipe(stream), peer))
            }
            Self::Turmoil(network, listener) => {
                network.check_life()?;
                let (stream, peer) = listener.accept().await?;
                Ok((network.accepted(stream, peer), peer))
            }
            #[cfg(madsim)]
            Self::Madsim(network, listener) => {
                network.check_life()?;
                let (stream, peer) = listener.accept().await?;
                Ok((network.accepted(stream, peer), peer))
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Pipe(listener) => Ok(listener.local_addr()),
            Self::Turmoil(network, listener) => {
                Ok(SocketAddr::new(address_of(network.node), listener.local_addr()?.port()))
            }
            #[cfg(madsim)]
            Self::Madsim(network, listener) => {
                Ok(SocketAddr::new(address_of(network.node), listener.local_addr()?.port()))
            }
        }
    }
}

/// One side of a connection.
pub enum SimStream {
    /// Of the executor of its own.
    Pipe(PipeStream),
    /// Of another engine.
    Hosted(HostedStream),
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Hosted(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Pipe(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Hosted(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Hosted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Stream for SimStream {
    type File = SimFile;

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Pipe(stream) => stream.peer_addr(),
            Self::Hosted(stream) => Ok(stream.peer_addr()),
        }
    }

    fn poll_send_file(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        file: &SimFile,
        position: u64,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        // What the stream does not take is read again: a file's bytes may have changed by then, as with sendfile(2).
        let piece = file.read_now(position, length.min(SEND_FILE_BYTES))?;
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Poll::Ready(Ok(ready!(self.poll_write(cx, &piece))?))
    }

    /// Streams here have no packets.
    fn set_more(&mut self, _more: bool) {}
}
