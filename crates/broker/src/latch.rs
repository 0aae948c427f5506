//! A flag that is raised once and that any number of tasks wait for.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A flag that is raised once.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    raised: AtomicBool,
    waiters: Mutex<Vec<Waker>>,
}

impl Latch {
    /// Raises the flag and wakes whoever waits for it.
    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        let waiters = std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        for waiter in waiters {
            waiter.wake();
        }
    }

    /// Whether the flag was raised.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    pub(crate) fn poll_raised(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_raised() {
            return Poll::Ready(());
        }
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_raised() {
            return Poll::Ready(());
        }
        if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            waiters.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ends when the flag is raised.
    pub(crate) fn raised(&self) -> impl Future<Output = ()> + Send {
        poll_fn(|cx| self.poll_raised(cx))
    }
}
