//! Tasks of a node.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// It ran to its end.
    Done,
    /// It was aborted, or its node stopped.
    Aborted,
    /// It panicked.
    Panicked,
}

/// What an environment gives for a task it started.
pub trait TaskHandle: Future<Output = TaskEnd> + Send + Sync + 'static {
    /// Stops the task at its next suspension point. Does not wait for it.
    fn abort(&self);
}

/// A task that was started: await it to learn how it ended. Dropping it leaves the task running.
#[must_use = "a task that nobody watches fails in silence; call detach() where that is meant"]
pub struct Task(Pin<Box<dyn TaskHandle>>);

impl Task {
    /// Wraps an environment's handle.
    pub fn new(handle: impl TaskHandle) -> Self {
        Self(Box::pin(handle))
    }

    /// Stops the task at its next suspension point. Does not wait for it.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Lets the task run unwatched.
    pub fn detach(self) {}
}

impl Future for Task {
    type Output = TaskEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskEnd> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}
