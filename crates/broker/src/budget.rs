//! The memory that all connections together may take for requests and answers.

use crate::buffers::Buffers;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A number of bytes that connections share. Whoever finds too little left waits, and is woken when some comes back.
///
/// Invariant: a single charge always fits while nothing else is out, so that every wait ends.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// How many wait, so that giving back needs no lock while nobody does.
    waiting: AtomicUsize,
    waiters: Mutex<VecDeque<Waker>>,
    /// How often somebody had to wait.
    waits: AtomicU64,
    /// Where large requests are received.
    buffers: Arc<Buffers>,
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::new(VecDeque::new()),
            waits: AtomicU64::new(0),
            buffers: Arc::default(),
        })
    }

    /// Where large requests are received.
    pub(crate) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// How many bytes are out.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many bytes are left; none while it is overdrawn.
    pub(crate) fn left(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    /// How often somebody had to wait.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let fits = |used: usize| used == 0 || used.saturating_add(bytes) <= self.limit;
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                fits(used).then(|| used.saturating_add(bytes))
            })
            .ok()
            .map(|_| Charge { budget: Arc::clone(self), bytes })
    }

    /// Takes `bytes`, or waits until they are there.
    pub(crate) fn poll_take(self: &Arc<Self>, bytes: usize, cx: &mut Context<'_>) -> Poll<Charge> {
        if let Some(charge) = self.try_take(bytes) {
            return Poll::Ready(charge);
        }
        {
            let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
                waiters.push_back(cx.waker().clone());
                self.waits.fetch_add(1, Ordering::Relaxed);
            }
            self.waiting.store(waiters.len(), Ordering::SeqCst);
        }
        // What was given back between the first look and the entry in the list woke nobody.
        self.try_take(bytes).map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes `bytes` that are in memory already, whether they fit or not: others wait the longer.
    pub(crate) fn overdraw(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::SeqCst);
        Charge { budget: Arc::clone(self), bytes }
    }
}

impl Charge {
    /// Takes `bytes` more that are in memory already.
    pub(crate) fn overdraw(&mut self, bytes: usize) {
        self.budget.used.fetch_add(bytes, Ordering::SeqCst);
        self.bytes += bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        if self.budget.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        // All of them: the first one may want more than came back, and the others must not starve behind it.
        let waiters = {
            let mut waiters = self.budget.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            self.budget.waiting.store(0, Ordering::SeqCst);
            std::mem::take(&mut *waiters)
        };
        for waiter in waiters {
            waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back_and_wakes() {
        let budget = Budget::new(100);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(first) = budget.poll_take(60, &mut cx) else { panic!("60 of 100 fit") };
        assert!(budget.poll_take(60, &mut cx).is_pending());
        assert_eq!(budget.left(), 40);
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(budget.poll_take(60, &mut cx).is_ready());
    }

    #[test]
    fn a_charge_above_the_limit_fits_alone() {
        let budget = Budget::new(100);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(first) = budget.poll_take(1_000, &mut cx) else { panic!("alone, anything fits") };
        assert!(budget.poll_take(1, &mut cx).is_pending());
        drop(first);
        assert!(budget.poll_take(1, &mut cx).is_ready());
    }

    #[test]
    fn an_overdraft_is_counted() {
        let budget = Budget::new(100);
        let mut cx = Context::from_waker(Waker::noop());
        let mut large = budget.overdraw(50);
        large.overdraw(100);
        assert_eq!((budget.left(), budget.used()), (0, 150));
        assert!(budget.poll_take(1, &mut cx).is_pending());
        drop(large);
        assert!(budget.poll_take(1, &mut cx).is_ready());
    }
}
