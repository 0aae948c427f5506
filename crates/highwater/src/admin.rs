//! The admin port: `/metrics` in Prometheus' text format and `/healthz`.
//!
//! It is plain HTTP for scrapers and orchestrators, apart from the Kafka port, so that it answers when that one is
//! overloaded. Connections are bounded, as are the headers of a request.

use anyhow::Context;
use bytes::Bytes;
use highwater_env::{Env, Task};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections served at a time; more wait in the backlog.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BUFFER_BYTES: usize = 16 * 1024;

/// What the admin port tells of a node.
pub trait Health: Send + Sync + 'static {
    /// The metrics in Prometheus' text format.
    fn metrics(&self) -> String;

    /// What is wrong, if anything is.
    fn failure(&self) -> Option<String>;
}

/// Serves the admin port until the task is aborted. Returns the address that is listened on.
pub async fn serve(
    env: &impl Env,
    address: SocketAddr,
    health: Arc<impl Health>,
) -> anyhow::Result<(SocketAddr, Task)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("the admin port {address} cannot be used"))?;
    let local = listener.local_addr()?;
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let spawner = env.clone();
    let task = env.spawn("admin", async move {
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin port could not accept a connection");
                    highwater_env::sleep(spawner.clock(), Duration::from_millis(100)).await;
                    continue;
                }
            };
            let health = Arc::clone(&health);
            let connection = async move {
                let service = service_fn(move |request| {
                    let answer = answer(&request, health.as_ref());
                    async move { Ok::<_, Infallible>(answer) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .max_buf_size(MAX_BUFFER_BYTES)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "an admin connection ended early");
                }
                drop(permit);
            };
            spawner.spawn("admin-connection", connection).detach();
        }
    });
    Ok((local, task))
}

fn answer<B>(request: &Request<B>, health: &dyn Health) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, health.metrics()),
        (&Method::GET | &Method::HEAD, "/healthz") => match health.failure() {
            None => (StatusCode::OK, "ok\n".to_owned()),
            Some(failure) => (StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n")),
        },
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "here are /metrics and /healthz\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let text = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, text);
    response
}
