//! Listening, connecting and name resolution.

use crate::TokioStream;
use highwater_env::{Listener, Network};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted, at most; the kernel may hold it lower (`net.core.somaxconn`).
const ACCEPT_BACKLOG: u32 = 1024;

/// The network of this machine.
pub struct TokioNetwork;

/// A listening TCP socket.
pub struct TokioListener(TcpListener);

impl Network for TokioNetwork {
    type File = crate::TokioFile;
    type Stream = TokioStream;
    type Listener = TokioListener;

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // A bracketed IPv6 address is how people and configurations write one beside a port.
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<TokioListener> {
        let socket = socket_for(address)?;
        // A restarted node takes its port back while connections of the last run still linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(TokioListener(socket.listen(ACCEPT_BACKLOG)?))
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TokioStream> {
        TokioStream::new(socket_for(address)?.connect(address).await?)
    }
}

/// A socket for an address that is connected to, or listened on.
///
/// Within this machine nothing is ever congested, and a congestion control that paces what is sent, such as BBR, only
/// costs a timer for each packet. It cannot be changed any more when there is a connection; those that a listener
/// accepts have its own.
fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(target_os = "linux")]
    if address.ip().is_loopback() {
        // Every Linux has it and lets everybody have it. If not, what there is will do.
        let _ = rustix::net::sockopt::set_tcp_congestion(&socket, "reno");
    }
    Ok(socket)
}

impl Listener for TokioListener {
    type Stream = TokioStream;

    async fn accept(&self) -> io::Result<(TokioStream, SocketAddr)> {
        loop {
            match self.0.accept().await {
                // An option that cannot be set means that the peer has gone already: that is its connection's
                // end and not the listener's.
                Ok((stream, peer)) => {
                    if let Ok(stream) = TokioStream::new(stream) {
                        return Ok((stream, peer));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
