//! How far one partition's records may be seen, and who waits for that to move.
//!
//! Apart from the partition itself, because the log tells it of every group commit: a log that held its partition
//! would keep itself alive.
//!
//! Every wait is for something in one epoch of the partition's leader, and ends with it: what an offset stands for
//! may be another record in the next.

use highwater_env::{Env, Event};
use highwater_types::{LeaderEpoch, LogId, Offset, mutant};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Why waiting for a partition ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// A write or sync of the log failed.
    Failed,
    /// The partition was deleted, or the node stops.
    Closed,
    /// The epoch of the leader has ended.
    Deposed,
    /// This node leads as far as it knows, and has heard neither of the controller nor of followers that it needs.
    CutOff,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Records are committed up to there.
    HighWatermark,
    /// Records are in the log up to there.
    LogEnd,
}

/// How far a partition is.
#[derive(Debug)]
pub(crate) struct Progress<E> {
    env: E,
    log: LogId,
    /// The leader's epoch that everything here is of. It changes before anything else does that comes with it.
    epoch: AtomicI32,
    high_watermark: AtomicI64,
    log_end: AtomicI64,
    failed: AtomicBool,
    closed: AtomicBool,
    /// How often it was found that the high watermark stands still because this node is cut off, and whether it does
    /// so now.
    cut_offs: AtomicU64,
    cut_off: AtomicBool,
    /// Those for the high watermark.
    waiters: Mutex<Waiters>,
    /// Those for the log's end, and how many they are: most partitions never have any.
    growth: Mutex<Waiters>,
    growth_waiters: AtomicUsize,
}

/// A wait for one partition. Gives its place up when dropped.
#[derive(Debug)]
pub(crate) struct Waiting<E: Env> {
    progress: Arc<Progress<E>>,
    mark: Mark,
    target: Offset,
    epoch: LeaderEpoch,
    place: Place,
    /// How often the node had been found cut off, if the wait ends with the next time.
    cut_offs: Option<u64>,
}

impl<E: Env> Waiting<E> {
    /// A wait for a mark to reach `target` in an epoch.
    pub(crate) fn new(progress: Arc<Progress<E>>, mark: Mark, target: Offset, epoch: LeaderEpoch) -> Self {
        Self { progress, mark, target, epoch, place: Place::default(), cut_offs: None }
    }

    /// A wait for records to be committed that ends when this node is found cut off: others may lead by then, and
    /// whoever waits may ask them.
    pub(crate) fn for_commit(progress: Arc<Progress<E>>, end: Offset, epoch: LeaderEpoch) -> Self {
        let mut waiting = Self::new(progress, Mark::HighWatermark, end, epoch);
        waiting.cut_offs = Some(waiting.progress.cut_offs.load(Ordering::SeqCst));
        waiting
    }

    /// Ready when the mark is at least the target, or never will be.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let Self { progress, mark, target, epoch, place, cut_offs } = self;
        let reached = progress.poll_reached(*mark, *target, *epoch, place, cx);
        // Looked at once the place is taken: who counts on wakes all places afterwards.
        if reached.is_pending()
            && cut_offs.is_some_and(|seen| progress.cut_offs.load(Ordering::SeqCst) != seen)
        {
            return Poll::Ready(Err(Stopped::CutOff));
        }
        reached
    }
}

impl<E: Env> Drop for Waiting<E> {
    fn drop(&mut self) {
        self.progress.forget(self.mark, &mut self.place);
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

impl Waiters {
    /// Wakes those whose target is reached.
    fn wake(&mut self, end: Offset) {
        let mut woken: Option<Waker> = None;
        self.entries.retain(|waiter| {
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
}

impl<E: Env> Progress<E> {
    pub(crate) fn new(env: E, log: LogId, high_watermark: Offset, log_end: Offset) -> Self {
        Self {
            env,
            log,
            epoch: AtomicI32::new(LeaderEpoch::NONE.0),
            high_watermark: AtomicI64::new(high_watermark.0),
            log_end: AtomicI64::new(log_end.0),
            failed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            cut_offs: AtomicU64::new(0),
            cut_off: AtomicBool::new(false),
            waiters: Mutex::default(),
            growth: Mutex::default(),
            growth_waiters: AtomicUsize::new(0),
        }
    }

    /// The leader's epoch.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// The end of what may be read.
    pub(crate) fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// Begins another epoch: whoever waits for something in the one before waits in vain.
    pub(crate) fn begin_epoch(&self, epoch: LeaderEpoch) {
        self.epoch.store(epoch.0, Ordering::SeqCst);
        self.reconnected();
        self.wake_all();
    }

    /// Moves the high watermark up to `end`; a lower value changes nothing. Wakes those whose target it reaches.
    pub(crate) fn advance(&self, end: Offset) {
        if self.high_watermark() >= end {
            return;
        }
        let mut waiters = self.list(Mark::HighWatermark);
        if self.high_watermark() >= end {
            return;
        }
        // Told before it can be seen, and under the lock, so that nothing that follows from it is told earlier.
        self.env.observe(&Event::HighWatermark { log: self.log, end });
        self.high_watermark.store(end.0, Ordering::Release);
        self.reconnected();
        waiters.wake(end);
    }

    /// This node hears neither the controller nor those that the high watermark waits for. What waits for a commit
    /// ends, as far as it asked for that.
    pub(crate) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Relaxed);
        self.cut_offs.fetch_add(1, Ordering::SeqCst);
        // They give their places up themselves; the others go on to wait.
        self.list(Mark::HighWatermark).entries.iter().for_each(|waiter| waiter.waker.wake_by_ref());
    }

    /// The high watermark moves, or the controller was heard.
    pub(crate) fn reconnected(&self) {
        if self.is_cut_off() {
            self.cut_off.store(false, Ordering::Relaxed);
        }
    }

    /// Whether nothing is committed here for now because this node is cut off.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Moves the high watermark back, for a follower whose log was cut below it.
    pub(crate) fn lower(&self, end: Offset) {
        if self.high_watermark() <= end {
            return;
        }
        let _waiters = self.list(Mark::HighWatermark);
        self.high_watermark.fetch_min(end.0, Ordering::AcqRel);
    }

    /// The log ends there now. Wakes those that wait for as much.
    pub(crate) fn set_log_end(&self, end: Offset) {
        self.log_end.store(end.0, Ordering::SeqCst);
        // Who is about to wait counts itself before it looks at the end.
        if self.growth_waiters.load(Ordering::SeqCst) > 0 {
            let mut waiters = self.list(Mark::LogEnd);
            waiters.wake(end);
            self.growth_waiters.store(waiters.entries.len(), Ordering::SeqCst);
        }
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

    /// Whether a mark has reached `target` in an epoch, or never will. Takes no lock.
    pub(crate) fn look(&self, mark: Mark, target: Offset, epoch: LeaderEpoch) -> Poll<Result<(), Stopped>> {
        let reached = match mark {
            Mark::HighWatermark => self.high_watermark() >= target,
            Mark::LogEnd => Offset(self.log_end.load(Ordering::SeqCst)) >= target,
        };
        // Looked at after the mark: one that belongs to the next epoch was moved after the epoch was.
        if self.epoch() != epoch && !mutant!("ack-local-term") {
            return Poll::Ready(Err(Stopped::Deposed));
        }
        if reached {
            return Poll::Ready(Ok(()));
        }
        match self.stopped() {
            Some(stopped) => Poll::Ready(Err(stopped)),
            None => Poll::Pending,
        }
    }

    fn list(&self, mark: Mark) -> MutexGuard<'_, Waiters> {
        let list = match mark {
            Mark::HighWatermark => &self.waiters,
            Mark::LogEnd => &self.growth,
        };
        list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self) {
        for mark in [Mark::HighWatermark, Mark::LogEnd] {
            let entries = std::mem::take(&mut self.list(mark).entries);
            for waiter in entries {
                waiter.waker.wake();
            }
        }
    }

    /// Waits until a mark is at least `target`.
    fn poll_reached(
        &self,
        mark: Mark,
        target: Offset,
        epoch: LeaderEpoch,
        place: &mut Place,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        if let Poll::Ready(result) = self.look(mark, target, epoch) {
            // Whoever made it so takes the entry out of the list.
            place.0 = None;
            return Poll::Ready(result);
        }
        match &place.0 {
            // Still in the list: entries leave it only once what they wait for has happened.
            Some((_, waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
            Some(_) => self.forget(mark, place),
            None => {}
        }
        let mut waiters = self.list(mark);
        if mark == Mark::LogEnd {
            self.growth_waiters.store(waiters.entries.len() + 1, Ordering::SeqCst);
        }
        // The high watermark moves under the lock; the flags are raised before the list is emptied under it.
        if let Poll::Ready(result) = self.look(mark, target, epoch) {
            return Poll::Ready(result);
        }
        let number = waiters.next;
        waiters.next += 1;
        waiters.entries.push(Waiter { number, target, waker: cx.waker().clone() });
        place.0 = Some((number, cx.waker().clone()));
        Poll::Pending
    }

    /// Gives a place up.
    fn forget(&self, mark: Mark, place: &mut Place) {
        let Some((number, _)) = place.0.take() else { return };
        let mut waiters = self.list(mark);
        if let Ok(index) = waiters.entries.binary_search_by_key(&number, |waiter| waiter.number) {
            waiters.entries.remove(index);
        }
    }

    /// How many wait for the high watermark.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.list(Mark::HighWatermark).entries.len()
    }
}

#[cfg(test)]
mod tests;
