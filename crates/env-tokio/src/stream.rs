//! TCP connections.

use crate::TokioFile;
use highwater_env::Stream;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection, without Nagle's delay.
#[derive(Debug)]
pub struct TokioStream(TcpStream);

impl TokioStream {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }
}

impl Stream for TokioStream {
    type File = TokioFile;

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn poll_send_file(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        file: &TokioFile,
        position: u64,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_io(Interest::WRITABLE, || send_file(&self.0, file, position, length)) {
                // The readiness was stale and is cleared now; the next poll registers for a fresh one.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn set_more(&mut self, more: bool) {
        // A connection that takes no options any more is at its end, and the next write says so.
        let _ = rustix::net::sockopt::set_tcp_cork(&self.0, more);
    }

    #[cfg(not(target_os = "linux"))]
    fn set_more(&mut self, _more: bool) {}
}

#[cfg(target_os = "linux")]
fn send_file(stream: &TcpStream, file: &TokioFile, position: u64, length: usize) -> io::Result<usize> {
    let sent = rustix::io::retry_on_intr(|| {
        // The kernel moves the position on, also where it sent less than was asked.
        let mut position = position;
        rustix::fs::sendfile(stream, file.fd(), Some(&mut position), length)
    })?;
    Ok(sent)
}

/// Where `sendfile` is missing or differs: read, and write.
#[cfg(not(target_os = "linux"))]
fn send_file(stream: &TcpStream, file: &TokioFile, position: u64, length: usize) -> io::Result<usize> {
    const CHUNK_BYTES: usize = 64 << 10;
    let mut chunk = vec![0; length.min(CHUNK_BYTES)];
    let count = rustix::io::retry_on_intr(|| rustix::io::pread(file.fd(), &mut chunk[..], position))?;
    if count == 0 {
        return Ok(0);
    }
    Ok(rustix::io::retry_on_intr(|| rustix::io::write(stream, &chunk[..count]))?)
}

impl AsyncRead for TokioStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
