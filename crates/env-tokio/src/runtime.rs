//! The runtimes of a process's nodes.

use crate::{TokioEnv, cores};
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Threads for system calls that wait for a device, and for heavy CPU work, at most. A disk has no use for more
/// calls at once, and each thread costs memory.
const BLOCKING_THREADS: usize = 64;

/// An idle blocking thread ends after this long.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long the end of a runtime waits for system calls that are under way.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a node: makes a runtime with `workers` threads (by default one per core), an environment on it, and runs
/// what `main` makes of that environment to its end, on the calling thread. Tasks that are still running then are
/// dropped at their next suspension point.
///
/// # Errors
///
/// When the operating system refuses threads, an event queue or randomness.
pub fn run<F: Future>(
    workers: Option<NonZeroUsize>,
    main: impl FnOnce(TokioEnv) -> F,
) -> io::Result<F::Output> {
    let node = NodeRuntime::start("highwater", workers.unwrap_or_else(cores))?;
    let env = node.env.clone();
    let output = node.runtime().block_on(async { main(env).await });
    node.end();
    Ok(output)
}

/// A runtime for one of several nodes in a process: it can be ended while the others go on. One that is dropped is
/// not waited for.
pub struct NodeRuntime {
    /// None once it has ended.
    runtime: Option<Runtime>,
    env: TokioEnv,
}

impl NodeRuntime {
    /// Makes a runtime with `workers` threads, which bear a name.
    ///
    /// # Errors
    ///
    /// When the operating system refuses threads, an event queue or randomness.
    pub fn start(name: &str, workers: NonZeroUsize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers.get())
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_keep_alive(BLOCKING_KEEP_ALIVE)
            .thread_name(name)
            .enable_io()
            .enable_time()
            .build()?;
        let env = TokioEnv::on(runtime.handle().clone())?;
        Ok(Self { runtime: Some(runtime), env })
    }

    /// The environment on this runtime.
    pub fn env(&self) -> &TokioEnv {
        &self.env
    }

    /// Ends the runtime as the end of a process would: tasks are dropped at their next suspension point, system calls
    /// that are under way come to their end. Blocks the thread, so not to be called by a task, but in
    /// [`Env::compute`](highwater_env::Env::compute).
    pub fn end(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken only by what consumes this")
    }
}

impl Drop for NodeRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
