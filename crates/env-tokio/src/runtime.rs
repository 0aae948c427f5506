//! The runtime of a node's process.

use crate::{TokioEnv, cores};
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::runtime::Builder;

/// Threads for system calls that wait for a device, and for heavy CPU work, at most. A disk has no use for more
/// calls at once, and each thread costs memory.
const BLOCKING_THREADS: usize = 64;

/// An idle blocking thread ends after this long.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long the end of [`run`] waits for system calls that are under way.
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
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers.unwrap_or_else(cores).get())
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .thread_name("highwater")
        .enable_io()
        .enable_time()
        .build()?;
    let env = TokioEnv::on(runtime.handle().clone())?;
    let output = runtime.block_on(async { main(env).await });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(output)
}
