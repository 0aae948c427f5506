//! The environment of a production node: [`highwater_env::Env`] on tokio and the operating system.
//!
//! Everything that reaches the operating system lives in this crate: clocks, sockets, files, threads and the
//! system's randomness. Linux is what counts; other Unix systems compile and take slower paths.
//!
//! Architecture invariant: no policy lives here. Nothing is retried (but for interrupted system calls), cached,
//! reordered or logged, except for the panic of a task.

// The crates above are forbidden these; this one is where they end up.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod blocking;
mod clock;
mod console;
mod disk;
mod entropy;
mod file;
mod network;
mod runtime;
mod stream;
mod task;

pub use clock::TokioClock;
pub use console::input_lines;
pub use disk::{TokioDisk, TokioLock};
pub use file::TokioFile;
pub use network::{TokioListener, TokioNetwork};
pub use runtime::{NodeRuntime, run};
pub use stream::TokioStream;

use entropy::ProcessEntropy;
use highwater_env::{Clock, Env, Event, Purpose, Rng, Task};
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// The machine that this process runs on. A cheap handle.
#[derive(Clone)]
pub struct TokioEnv(Arc<Inner>);

struct Inner {
    runtime: Handle,
    clock: TokioClock,
    network: TokioNetwork,
    disk: TokioDisk,
    entropy: ProcessEntropy,
    /// Bounds the heavy work that runs at once to the number of cores.
    compute: Arc<Semaphore>,
}

impl TokioEnv {
    /// An environment on a running tokio runtime, whose timers and I/O must be on. Most callers want [`run`], which
    /// makes both.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness to give.
    pub fn on(runtime: Handle) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            clock: TokioClock::start(),
            network: TokioNetwork,
            disk: TokioDisk::new(runtime.clone()),
            entropy: ProcessEntropy::from_system()?,
            compute: Arc::new(Semaphore::new(cores().get())),
            runtime,
        })))
    }
}

impl Env for TokioEnv {
    type Network = TokioNetwork;
    type Disk = TokioDisk;

    fn clock(&self) -> &dyn Clock {
        &self.0.clock
    }

    fn network(&self) -> &TokioNetwork {
        &self.0.network
    }

    fn disk(&self) -> &TokioDisk {
        &self.0.disk
    }

    fn entropy(&self, purpose: Purpose) -> Rng {
        self.0.entropy.stream(purpose)
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        task::spawn(&self.0.runtime, name, task)
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit =
            Arc::clone(&self.0.compute).acquire_owned().await.expect("the semaphore is never closed");
        let handle = self.0.runtime.spawn_blocking(move || {
            // Held by the work, not by its caller: a caller that goes away does not free a core.
            let _permit = permit;
            work()
        });
        match handle.await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is going down before the work began, and drops this task next.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn observe(&self, _event: &Event) {}
}

/// How many cores this process may use.
fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
