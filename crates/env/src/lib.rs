//! What a node may ask of its machine.
//!
//! The broker, the log, the quorum and the client are written against [`Env`] and nothing else: the same code runs
//! on tokio and the operating system in production and on a simulated machine in the simulator. Bytes are the
//! boundary: files and streams, not "a log" or "a message".
//!
//! Architecture invariant: every method is required. There is no default that reaches the operating system or does
//! nothing, so that an implementation cannot forget one.

mod clock;
mod disk;
mod entropy;
mod event;
mod first;
mod network;
mod task;
mod time;

pub use clock::{Clock, Sleep};
pub use disk::{DirEntry, Disk, File, OpenMode, Space};
pub use entropy::{Purpose, Rng};
pub use event::{Event, GroupOwner};
pub use first::{First, first};
pub use network::{Listener, Network, Stream};
pub use task::{Task, TaskEnd, TaskHandle};
pub use time::{Elapsed, sleep, timeout, timeout_at};

use std::future::Future;

/// The machine of one node: its clock, network, disk, tasks and randomness. A cheap handle.
pub trait Env: Clone + Send + Sync + 'static {
    /// The network.
    type Network: Network<File = <Self::Disk as Disk>::File>;
    /// The disk.
    type Disk: Disk;

    /// The node's own clocks.
    fn clock(&self) -> &dyn Clock;

    /// The node's network.
    fn network(&self) -> &Self::Network;

    /// The node's disk.
    fn disk(&self) -> &Self::Disk;

    /// A generator for one purpose. Streams of different purposes are independent, and each call for a purpose
    /// starts another stream, so that a new draw in one place does not shift the draws of others.
    fn entropy(&self, purpose: Purpose) -> Rng;

    /// Starts a task. It runs until it ends, is aborted or the node stops.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task;

    /// Runs heavy CPU work (compression, say) where it does not hold up other tasks.
    fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// Tells the environment what happened. Synchronous; empty in production; the simulator's checkers and traces
    /// hang on it. Must not change what the caller does next.
    fn observe(&self, event: &Event);
}
