//! Tasks of the executor: their wakers, and the handles that watch them.

use highwater_env::{TaskEnd, TaskHandle};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Numbers a task; 0 is the future that the simulation runs for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TaskId(pub(super) u64);

pub(super) const MAIN: TaskId = TaskId(0);

/// Tasks that were woken and wait for their turn, and who runs them.
#[derive(Default)]
pub(super) struct ReadyQueue(Mutex<Ready>);

#[derive(Default)]
struct Ready {
    tasks: Vec<TaskId>,
    /// Of whoever is to be told that a task waits; the executor's own loop looks by itself.
    runner: Option<Waker>,
}

impl ReadyQueue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.0.lock().expect("no code panics while it holds the queue")
    }

    fn push(&self, task: TaskId) {
        let runner = {
            let mut ready = self.lock();
            ready.tasks.push(task);
            ready.runner.take()
        };
        if let Some(runner) = runner {
            runner.wake();
        }
    }

    /// Who is woken by the next task that waits.
    pub(super) fn set_runner(&self, runner: &Waker) {
        self.lock().runner = Some(runner.clone());
    }

    /// Takes one of the waiting tasks; `pick` chooses an index below the count it is given.
    pub(super) fn take(&self, pick: impl FnOnce(usize) -> usize) -> Option<TaskId> {
        let mut ready = self.lock();
        if ready.tasks.is_empty() {
            return None;
        }
        let index = pick(ready.tasks.len());
        Some(ready.tasks.swap_remove(index))
    }
}

/// Wakes one task. A task stands in the queue once at most.
pub(super) struct TaskWaker {
    queue: Arc<ReadyQueue>,
    task: TaskId,
    queued: AtomicBool,
}

impl TaskWaker {
    pub(super) fn new(queue: &Arc<ReadyQueue>, task: TaskId) -> Arc<Self> {
        Arc::new(Self { queue: queue.clone(), task, queued: AtomicBool::new(false) })
    }

    /// Call it before the task is polled, so that a wake during the poll counts.
    pub(super) fn begin(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.queue.push(self.task);
        }
    }
}

#[derive(Default)]
struct Outcome {
    end: Option<TaskEnd>,
    watcher: Option<Waker>,
}

/// What a task and its handle share.
pub(super) struct TaskShared {
    outcome: Mutex<Outcome>,
    pub(super) aborted: AtomicBool,
    waker: Arc<TaskWaker>,
}

impl TaskShared {
    pub(super) fn new(waker: Arc<TaskWaker>) -> Arc<Self> {
        Arc::new(Self { outcome: Mutex::default(), aborted: AtomicBool::new(false), waker })
    }

    pub(super) fn finish(&self, end: TaskEnd) {
        let watcher = {
            let mut outcome = self.outcome.lock().expect("no code panics while it holds an outcome");
            outcome.end.get_or_insert(end);
            outcome.watcher.take()
        };
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    pub(super) fn waker(&self) -> &Arc<TaskWaker> {
        &self.waker
    }
}

/// Watches a task.
pub(super) struct Handle(pub(super) Arc<TaskShared>);

impl Future for Handle {
    type Output = TaskEnd;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskEnd> {
        let mut outcome = self.0.outcome.lock().expect("no code panics while it holds an outcome");
        match outcome.end {
            Some(end) => Poll::Ready(end),
            None => {
                outcome.watcher = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl TaskHandle for Handle {
    fn abort(&self) {
        self.0.aborted.store(true, Ordering::Release);
        self.0.waker.wake_by_ref();
    }
}

/// Lets other tasks run once.
#[derive(Debug, Default)]
pub(super) struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
