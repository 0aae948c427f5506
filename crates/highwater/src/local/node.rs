//! One node of a cluster in one process.

use anyhow::{Context, bail};
use highwater_broker::{BrokerConfig, Node, StartError};
use highwater_env::{Env, Task};
use highwater_env_tokio::{NodeRuntime, TokioEnv};
use highwater_types::BrokerId;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Threads of a node. The machine's cores are shared by several.
const WORKERS: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");

/// What a node tells by itself.
#[derive(Debug)]
pub enum Told {
    /// It serves clients.
    Ready(BrokerId),
    /// It does not, and will not.
    Failed(BrokerId, StartError),
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not run.
    Down,
    /// It runs and has not found its cluster yet.
    Waiting,
    /// It serves clients.
    Ready,
}

impl State {
    /// A word for people and machines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Waiting => "waiting",
            Self::Ready => "ready",
        }
    }
}

/// A node that may run or not, with a runtime of its own while it does.
pub struct LocalNode {
    config: BrokerConfig,
    told: mpsc::UnboundedSender<Told>,
    running: Mutex<Option<Running>>,
}

struct Running {
    node: Arc<Node<TokioEnv>>,
    ready: Arc<AtomicBool>,
    /// Waits until the node is ready.
    watch: Task,
    runtime: NodeRuntime,
}

impl LocalNode {
    /// A node that does not run yet. It tells of itself through `told`.
    pub fn new(config: BrokerConfig, told: mpsc::UnboundedSender<Told>) -> Self {
        Self { config, told, running: Mutex::new(None) }
    }

    /// How it is configured.
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// What it does.
    pub fn state(&self) -> State {
        match &*self.lock() {
            None => State::Down,
            Some(running) if running.ready.load(Ordering::Acquire) => State::Ready,
            Some(_) => State::Waiting,
        }
    }

    /// Looks at the node if it runs.
    pub fn look<T>(&self, at: impl FnOnce(&Node<TokioEnv>) -> T) -> Option<T> {
        self.lock().as_ref().map(|running| at(&running.node))
    }

    /// Starts it. It tells later whether it is ready. `env` is not its own.
    pub async fn start(&self, env: &TokioEnv) -> anyhow::Result<()> {
        let id = self.config.node_id;
        if self.state() != State::Down {
            bail!("node {id} runs already");
        }
        let runtime = NodeRuntime::start(&format!("node-{id}"), WORKERS)?;
        let (sender, launched) = oneshot::channel();
        let (own, config) = (runtime.env().clone(), self.config.clone());
        let launch = async move {
            let _ = sender.send(Node::launch(own, config).await);
        };
        runtime.env().spawn("launch", launch).detach();
        let node = match launched.await {
            Ok(Ok(node)) => Arc::new(node),
            Ok(Err(error)) => {
                env.compute(|| runtime.end()).await;
                return Err(error.into());
            }
            Err(_) => bail!("the start of node {id} panicked"),
        };
        let ready = Arc::new(AtomicBool::new(false));
        let watch = {
            let (node, ready, told) = (Arc::clone(&node), Arc::clone(&ready), self.told.clone());
            runtime.env().spawn("watch", async move {
                let outcome = node.ready().await;
                // Whoever stops the node wants it alone.
                drop(node);
                ready.store(outcome.is_ok(), Ordering::Release);
                // Nobody listens once the process ends.
                let _ = told.send(match outcome {
                    Ok(()) => Told::Ready(id),
                    Err(error) => Told::Failed(id, error),
                });
            })
        };
        *self.lock() = Some(Running { node, ready, watch, runtime });
        Ok(())
    }

    /// Has it crash: it is dropped where it stands.
    pub async fn kill(&self, env: &TokioEnv) -> anyhow::Result<()> {
        let Running { node, runtime, .. } = self.take()?;
        env.compute(move || {
            drop(node);
            runtime.end();
        })
        .await;
        Ok(())
    }

    /// Stops it as it should be.
    pub async fn stop(&self, env: &TokioEnv) -> anyhow::Result<()> {
        let Running { node, watch, runtime, .. } = self.take()?;
        watch.abort();
        watch.await;
        let node = Arc::into_inner(node).context("somebody still looks at the node")?;
        let (sender, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = sender.send(node.shutdown().await);
        };
        runtime.env().spawn("shutdown", shutdown).detach();
        let stopped = stopped.await;
        env.compute(|| runtime.end()).await;
        stopped.context("its end panicked")?.context("it did not stop cleanly")
    }

    fn take(&self) -> anyhow::Result<Running> {
        self.lock().take().with_context(|| format!("node {} does not run", self.config.node_id))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
