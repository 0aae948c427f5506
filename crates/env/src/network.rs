//! A node's network: byte streams.

use crate::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// A node's network.
pub trait Network: Send + Sync + 'static {
    /// The files that a stream can send from.
    type File: File;
    /// A connection.
    type Stream: Stream<File = Self::File>;
    /// A listening socket.
    type Listener: Listener<Stream = Self::Stream>;

    /// The addresses of `host:port`, in the resolver's order.
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Listens on an address; port 0 takes a free one.
    fn listen(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Connects to an address. Has no deadline of its own.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// A listening socket.
pub trait Listener: Send + Sync + 'static {
    /// What it accepts.
    type Stream: Stream;

    /// The next connection and its peer.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// The address that is listened on.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A connection: tokio's stream traits (plain traits, no runtime), and the sending of file ranges.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The files that it can send from.
    type File: File;

    /// The other end.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Sends up to `length` bytes of `file` from `position`, and returns how many were taken: `sendfile(2)` in
    /// production, read-and-write elsewhere. Zero means that the file ends before `position`. After
    /// [`Poll::Pending`] the same range must be asked for again before anything else is written.
    fn poll_send_file(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        file: &Self::File,
        position: u64,
        length: usize,
    ) -> Poll<io::Result<usize>>;

    /// Says whether more is about to be written or sent, so that what fills no packet may wait for it: the peer is
    /// then woken once for all of it. What waits is sent when this is taken back.
    fn set_more(&mut self, more: bool);
}
