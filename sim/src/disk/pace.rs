//! How long disk operations take.

use super::faults::Op;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

/// A pause of an operation.
pub type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where in an operation a pause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before it, or a further part of it, takes effect.
    Before,
    /// Before it answers.
    After,
}

/// Lets an engine decide when a disk operation goes on: with yields, or in virtual time.
///
/// Each operation pauses before it takes effect and again before it answers, so that others run in between and a
/// task that is aborted or crashed there has made its operation not at all, or wholly.
pub trait Pacer: Send + Sync + 'static {
    /// The pause of one operation, if it has one. A stall is asked for on top of it.
    fn pause(&self, op: Op, path: &Path, stage: Stage, stall: Duration) -> Option<Pause>;
}
