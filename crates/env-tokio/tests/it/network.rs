//! What `TokioNetwork` and `TokioStream` promise, over the loopback interface.

use crate::common::{TempDir, on_env, pattern};
use bytes::Bytes;
use highwater_env::{Disk, Env, File, Listener, Network, OpenMode, Stream};
use highwater_env_tokio::{TokioEnv, TokioFile, TokioStream};
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A connection's two ends.
async fn pair(env: &TokioEnv) -> (TokioStream, TokioStream) {
    let listener = env.network().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let client = env.network().connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(server.peer_addr().unwrap(), peer);
    assert_eq!(client.peer_addr().unwrap(), listener.local_addr().unwrap());
    (client, server)
}

async fn send_file(stream: &mut TokioStream, file: &TokioFile, position: u64, length: usize) -> usize {
    poll_fn(|cx| Pin::new(&mut *stream).poll_send_file(cx, file, position, length)).await.unwrap()
}

#[test]
fn a_file_is_sent_whole_through_a_socket_that_fills_up() {
    let dir = TempDir::new("send-file");
    on_env(|env| async move {
        let contents = pattern(20 << 20);
        let file = env.disk().open(&dir.join("file"), OpenMode::CreateNew).await.unwrap();
        file.write_at(0, vec![Bytes::from(contents.clone())]).await.unwrap();
        let (mut client, mut server) = pair(&env).await;
        let sender = env.spawn("sender", async move {
            server.write_all(b"head").await.unwrap();
            let (mut position, end) = (1000, 20 << 20);
            let mut calls = 0;
            while position < end {
                let sent = send_file(&mut server, &file, position, (end - position) as usize).await;
                assert!(sent > 0);
                position += sent as u64;
                calls += 1;
            }
            // Nobody reads until the socket is full, so one call cannot have done.
            assert!(calls > 1);
            assert_eq!(send_file(&mut server, &file, end, 10).await, 0);
            server.write_all(b"tail").await.unwrap();
            server.shutdown().await.unwrap();
        });
        highwater_env::sleep(env.clock(), std::time::Duration::from_millis(20)).await;
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(sender.await, highwater_env::TaskEnd::Done);
        assert!(received.starts_with(b"head") && received.ends_with(b"tail"));
        assert!(received[4..received.len() - 4] == contents[1000..]);
    });
}

#[test]
fn a_vectored_write_takes_several_buffers_at_once() {
    on_env(|env| async move {
        let (mut client, mut server) = pair(&env).await;
        assert!(server.is_write_vectored());
        let slices = [IoSlice::new(b"high"), IoSlice::new(b"water"), IoSlice::new(b"!")];
        let written = poll_fn(|cx| Pin::new(&mut server).poll_write_vectored(cx, &slices)).await.unwrap();
        assert_eq!(written, 10);
        let mut received = [0; 10];
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"highwater!");
    });
}

#[test]
fn an_address_is_refused_while_taken_and_free_at_once_afterwards() {
    on_env(|env| async move {
        let listener = env.network().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = env.network().listen(address).await.err().map(|error| error.kind());
        assert_eq!(taken, Some(ErrorKind::AddrInUse));
        // The server closes first, so that its side lingers in TIME_WAIT.
        let mut client = env.network().connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        drop((server, listener));
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        drop(client);
        env.network().listen(address).await.unwrap();
    });
}

#[test]
fn connecting_to_nobody_is_refused() {
    on_env(|env| async move {
        let listener = env.network().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = env.network().connect(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn names_and_literal_addresses_resolve() {
    on_env(|env| async move {
        for (host, expected) in [("127.0.0.1", "127.0.0.1:92"), ("::1", "[::1]:92"), ("[::1]", "[::1]:92")] {
            let resolved = env.network().resolve(host, 92).await.unwrap();
            assert_eq!(resolved, [expected.parse().unwrap()], "{host}");
        }
        let local = env.network().resolve("localhost", 92).await.unwrap();
        assert!(!local.is_empty() && local.iter().all(|address| address.ip().is_loopback()), "{local:?}");
        env.network().resolve("no such host", 92).await.unwrap_err();
    });
}
