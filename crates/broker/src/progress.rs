//! How far one partition's records may be seen, and who waits for that to move.
//!
//! Apart from the partition itself, because the log tells it of every group commit: a log that held its partition
//! would keep itself alive.

use highwater_env::{Env, Event};
use highwater_types::{LogId, Offset};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Why waiting for a partition ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// A write or sync of the log failed.
    Failed,
    /// The partition was deleted, or the node stops.
    Closed,
}

/// A partition's high watermark.
#[derive(Debug)]
pub(crate) struct Progress<E> {
    env: E,
    log: LogId,
    high_watermark: AtomicI64,
    failed: AtomicBool,
    closed: AtomicBool,
    waiters: Mutex<Waiters>,
}

/// A wait for one partition's high watermark. Gives its place up when dropped.
#[derive(Debug)]
pub(crate) struct Waiting<E: Env> {
    progress: Arc<Progress<E>>,
    target: Offset,
    place: Place,
}

impl<E: Env> Waiting<E> {
    pub(crate) fn new(progress: Arc<Progress<E>>, target: Offset) -> Self {
        Self { progress, target, place: Place::default() }
    }

    /// Ready when the high watermark is at least the target, or never will be.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        self.progress.poll_reached(self.target, &mut self.place, cx)
    }
}

impl<E: Env> Drop for Waiting<E> {
    fn drop(&mut self) {
        self.progress.forget(&mut self.place);
    }
}

/// Who waits. Sorted by number, which is the order of arrival.
#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    entries: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    target: Offset,
    waker: Waker,
}

/// One place in a partition's list of waiters. Taken at the first poll that has to wait.
#[derive(Debug, Default)]
struct Place(Option<(u64, Waker)>);

impl<E: Env> Progress<E> {
    pub(crate) fn new(env: E, log: LogId, high_watermark: Offset) -> Self {
        Self {
            env,
            log,
            high_watermark: AtomicI64::new(high_watermark.0),
            failed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waiters: Mutex::default(),
        }
    }

    /// The end of what may be read.
    pub(crate) fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// Moves the high watermark up to `end`; a lower value changes nothing. Wakes those whose target it reaches.
    pub(crate) fn advance(&self, end: Offset) {
        if self.high_watermark() >= end {
            return;
        }
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if self.high_watermark() >= end {
            return;
        }
        // Told before it can be seen, and under the lock, so that nothing that follows from it is told earlier.
        self.env.observe(&Event::HighWatermark { log: self.log, end });
        self.high_watermark.store(end.0, Ordering::Release);
        let mut woken: Option<Waker> = None;
        waiters.entries.retain(|waiter| {
            if waiter.target > end {
                return true;
            }
            // Requests of one connection stand together: it needs to be woken once.
            if woken.as_ref().is_none_or(|last| !last.will_wake(&waiter.waker)) {
                waiter.waker.wake_by_ref();
                woken = Some(waiter.waker.clone());
            }
            false
        });
    }

    /// The log failed: nothing more will come of it.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    /// The partition is gone.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    /// Whether and why nothing more will come of this partition.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        if self.closed.load(Ordering::SeqCst) {
            Some(Stopped::Closed)
        } else if self.failed.load(Ordering::SeqCst) {
            Some(Stopped::Failed)
        } else {
            None
        }
    }

    fn wake_all(&self) {
        let entries =
            std::mem::take(&mut self.waiters.lock().unwrap_or_else(PoisonError::into_inner).entries);
        for waiter in entries {
            waiter.waker.wake();
        }
    }

    fn look(&self, target: Offset) -> Poll<Result<(), Stopped>> {
        if self.high_watermark() >= target {
            return Poll::Ready(Ok(()));
        }
        match self.stopped() {
            Some(stopped) => Poll::Ready(Err(stopped)),
            None => Poll::Pending,
        }
    }

    /// Waits until the high watermark is at least `target`.
    fn poll_reached(
        &self,
        target: Offset,
        place: &mut Place,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        if let Poll::Ready(result) = self.look(target) {
            // Whoever made it so takes the entry out of the list.
            place.0 = None;
            return Poll::Ready(result);
        }
        match &place.0 {
            // Still in the list: entries leave it only once what they wait for has happened.
            Some((_, waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
            Some(_) => self.forget(place),
            None => {}
        }
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        // The high watermark moves under the lock; the flags are raised before the list is emptied under it.
        if let Poll::Ready(result) = self.look(target) {
            return Poll::Ready(result);
        }
        let number = waiters.next;
        waiters.next += 1;
        waiters.entries.push(Waiter { number, target, waker: cx.waker().clone() });
        place.0 = Some((number, cx.waker().clone()));
        Poll::Pending
    }

    /// Gives a place up.
    fn forget(&self, place: &mut Place) {
        let Some((number, _)) = place.0.take() else { return };
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(index) = waiters.entries.binary_search_by_key(&number, |waiter| waiter.number) {
            waiters.entries.remove(index);
        }
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).entries.len()
    }
}

#[cfg(test)]
mod tests;
