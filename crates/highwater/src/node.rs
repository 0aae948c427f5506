//! The running of a node: from its configuration to its graceful end.

use crate::admin::{self, Health};
use crate::output::Output;
use anyhow::Context;
use highwater_broker::{BrokerConfig, Node};
use highwater_env_tokio::TokioEnv;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a node until it is told to stop by SIGTERM or SIGINT; a second signal stops it at once, which loses nothing
/// that was acknowledged. `ready` is told the Kafka and the admin address; a controller alone has no Kafka address.
pub fn run(
    config: BrokerConfig,
    admin: Option<SocketAddr>,
    output: &Output,
    ready: impl FnOnce(Option<SocketAddr>, Option<SocketAddr>, &Output) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let ended = highwater_env_tokio::run(None, |env| async move {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let node = Arc::new(Node::launch(env.clone(), config).await?);
        let kafka = node.local_addrs().first().copied();
        let running =
            Arc::new(Running { node: Mutex::new(Some(Arc::clone(&node))), ready: AtomicBool::new(false) });
        let admin = match admin {
            Some(address) => Some(admin::serve(&env, address, Arc::clone(&running)).await?),
            None => None,
        };
        // A node of a cluster waits for a majority of the voters, maybe for long: it can be looked at and stopped.
        let outcome = tokio::select! {
            biased;
            _ = terminate.recv() => Ok(false),
            _ = interrupt.recv() => Ok(false),
            outcome = node.ready() => outcome.map(|()| true),
        };
        let mut failure = None;
        if let Ok(true) = outcome {
            running.ready.store(true, Ordering::Release);
            tracing::info!(?kafka, "ready");
            ready(kafka, admin.as_ref().map(|(address, _)| *address), output)?;
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                why = node.failed() => failure = Some(why),
            }
        }
        output.note("stopping: finishing what is under way");
        drop(node);
        let node = running.take().context("a node is stopped once")?;
        let stopped = tokio::select! {
            biased;
            stopped = node.shutdown() => stopped.context("the node did not stop cleanly"),
            _ = terminate.recv() => Err(anyhow::anyhow!("stopped at once by a second signal")),
            _ = interrupt.recv() => Err(anyhow::anyhow!("stopped at once by a second signal")),
        };
        if let Some((_, task)) = admin {
            task.abort();
        }
        outcome?;
        match failure {
            Some(why) => Err(anyhow::anyhow!("{why}")),
            None => stopped,
        }
    })?;
    ended.map(|()| ExitCode::SUCCESS)
}

/// The node while it runs.
struct Running {
    /// None once it stops.
    node: Mutex<Option<Arc<Node<TokioEnv>>>>,
    /// Whether it has found its cluster and serves clients.
    ready: AtomicBool,
}

impl Running {
    /// Takes the node, of which there is no other handle.
    fn take(&self) -> Option<Node<TokioEnv>> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).take().and_then(Arc::into_inner)
    }

    fn look<T>(&self, at: impl FnOnce(&Node<TokioEnv>) -> T) -> Option<T> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(at)
    }
}

impl Health for Running {
    fn metrics(&self) -> String {
        self.look(Node::render_metrics).unwrap_or_default()
    }

    fn failure(&self) -> Option<String> {
        match self.look(|node| node.metrics().logs_failed.get()) {
            Some(0) if self.ready.load(Ordering::Acquire) => None,
            Some(0) => Some("the node waits for its cluster".to_owned()),
            Some(count) => Some(format!("{count} logs are offline after a failed write or sync")),
            None => Some("the node is stopping".to_owned()),
        }
    }
}
