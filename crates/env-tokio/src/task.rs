//! Tasks on the runtime.

use highwater_env::{Task, TaskEnd, TaskHandle};
use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Starts a task whose panic is logged under its name.
pub(crate) fn spawn(
    runtime: &Handle,
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> Task {
    Task::new(TokioTask(runtime.spawn(logging_panics(name, task))))
}

/// Runs `task`; a panic is logged and goes on to the runtime, which reports it to whoever awaits the task.
async fn logging_panics(name: &'static str, task: impl Future<Output = ()> + Send) {
    let mut task = pin!(task);
    let end = poll_fn(|cx| {
        // Unwind safety: after a panic the task is dropped and never polled again.
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await;
    if let Err(panic) = end {
        tracing::error!(task = name, panic = panic_message(panic.as_ref()), "a task panicked");
        resume_unwind(panic);
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "(not a text)"
    }
}

struct TokioTask(JoinHandle<()>);

impl Future for TokioTask {
    type Output = TaskEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskEnd> {
        Pin::new(&mut self.0).poll(cx).map(|end| match end {
            Ok(()) => TaskEnd::Done,
            Err(error) if error.is_panic() => TaskEnd::Panicked,
            Err(_) => TaskEnd::Aborted,
        })
    }
}

impl TaskHandle for TokioTask {
    fn abort(&self) {
        self.0.abort();
    }
}
