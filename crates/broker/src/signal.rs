//! A number that only rises, and that any number of tasks wait for.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Signal(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    value: u64,
    waiters: Vec<Waker>,
}

impl Signal {
    /// The number.
    pub(crate) fn value(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).value
    }

    /// Raises the number to `value`, if it is lower, and wakes whoever waits.
    pub(crate) fn raise_to(&self, value: u64) {
        let waiters = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.value >= value {
                return;
            }
            state.value = value;
            std::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            waiter.wake();
        }
    }

    /// Waits until the number is at least `value`.
    pub(crate) async fn reached(&self, value: u64) {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.value >= value {
                return Poll::Ready(());
            }
            if !state.waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
                state.waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
