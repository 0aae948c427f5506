//! What a connection and the operations that it drives share.

use highwater_types::Instant;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// What a connection and the operations that it drives share.
///
/// It is the operations' waker: many operations of one connection wait at once, and a connection that is woken
/// because bytes arrived need not look at all of them. And it is their clock: a connection has one timer for all
/// deadlines of its operations, because nearly none of them is ever reached.
#[derive(Debug)]
pub(crate) struct Link {
    /// The other end.
    pub(crate) peer: SocketAddr,
    /// Which of the node's listeners it came to.
    pub(crate) listener: usize,
    /// Now, as of the last time that the connection looked.
    now: AtomicU64,
    /// The earliest deadline that an operation has waited for since the timer last went off.
    deadline: AtomicU64,
    /// Operations that are to be put in line before the next request may begin.
    holding: AtomicU32,
    /// Operations that are in line: what they do, only requests that are put in line behind them may begin before.
    lined_up: AtomicU32,
    /// Whether an operation has something to do.
    woken: AtomicBool,
    /// Whether the connection is to end when what was begun on it is answered.
    winding_up: AtomicBool,
    /// The connection's task.
    task: Mutex<Option<Waker>>,
}

impl Link {
    pub(crate) fn new(peer: SocketAddr, listener: usize, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            peer,
            listener,
            now: AtomicU64::new(now.0),
            deadline: AtomicU64::new(u64::MAX),
            holding: AtomicU32::new(0),
            lined_up: AtomicU32::new(0),
            woken: AtomicBool::new(false),
            winding_up: AtomicBool::new(false),
            task: Mutex::new(None),
        })
    }

    /// Makes `waker` the one of the connection's task.
    pub(crate) fn set_task(&self, waker: &Waker) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn set_now(&self, now: Instant) {
        self.now.store(now.0, Ordering::Relaxed);
    }

    /// The earliest instant at which an operation wants to be looked at.
    pub(crate) fn earliest_deadline(&self) -> Instant {
        Instant(self.deadline.load(Ordering::Relaxed))
    }

    /// Has every operation looked at: the timer went off. Those that still wait name their deadlines anew.
    pub(crate) fn ring(&self) {
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        self.woken.store(true, Ordering::Release);
    }

    /// Whether an operation has something to do; not any more after this.
    pub(crate) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }

    /// Keeps the next request of the connection from being begun until the guard is dropped or says that its operation
    /// is in line.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.holding.fetch_add(1, Ordering::Relaxed);
        Hold { link: Arc::clone(self), in_line: false }
    }

    /// Has the connection take no more requests, and end when those that were begun are answered. To be called while
    /// one is.
    pub(crate) fn wind_up(&self) {
        self.winding_up.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is to end.
    pub(crate) fn is_winding_up(&self) -> bool {
        self.winding_up.load(Ordering::Relaxed)
    }

    /// Whether no request may be begun.
    pub(crate) fn is_held(&self) -> bool {
        self.holding.load(Ordering::Relaxed) > 0
    }

    /// Whether only a request may be begun that is put in line behind others.
    pub(crate) fn is_lined_up(&self) -> bool {
        self.lined_up.load(Ordering::Relaxed) > 0
    }

    /// Whether `at` has come; if not, the connection looks again when it has.
    pub(crate) fn poll_passed(&self, at: Instant) -> Poll<()> {
        if self.now() >= at {
            return Poll::Ready(());
        }
        self.deadline.fetch_min(at.0, Ordering::Relaxed);
        Poll::Pending
    }

    /// Ends when `at` has come. To be polled by an operation of this connection alone.
    pub(crate) fn deadline(self: &Arc<Self>, at: Instant) -> Deadline {
        Deadline { link: Arc::clone(self), at }
    }
}

impl Wake for Link {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever raised the flag first has woken the task, and the task lowers it before it looks.
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Keeps requests of one connection from being begun.
#[derive(Debug)]
pub(crate) struct Hold {
    link: Arc<Link>,
    in_line: bool,
}

impl Hold {
    /// The operation is in line: others of its kind may be put behind it.
    pub(crate) fn line_up(&mut self) {
        if !self.in_line {
            self.in_line = true;
            self.link.lined_up.fetch_add(1, Ordering::Relaxed);
            self.link.holding.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let counter = if self.in_line { &self.link.lined_up } else { &self.link.holding };
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends when its instant has come.
#[derive(Debug)]
pub(crate) struct Deadline {
    link: Arc<Link>,
    at: Instant,
}

impl Deadline {
    /// Whether the instant has come; if not, the connection looks again when it has.
    pub(crate) fn poll_passed(&self) -> Poll<()> {
        self.link.poll_passed(self.at)
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        self.poll_passed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Arc<Link> {
        Link::new(([127, 0, 0, 1], 1).into(), 0, Instant(10))
    }

    #[test]
    fn a_deadline_is_named_until_it_has_come() {
        let link = link();
        let (early, late) = (link.deadline(Instant(20)), link.deadline(Instant(30)));
        assert!(late.poll_passed().is_pending());
        assert!(early.poll_passed().is_pending());
        assert_eq!(link.earliest_deadline(), Instant(20));
        link.set_now(Instant(20));
        link.ring();
        assert!(link.take_woken() && !link.take_woken());
        assert!(early.poll_passed().is_ready());
        assert!(late.poll_passed().is_pending());
        assert_eq!(link.earliest_deadline(), Instant(30));
    }

    #[test]
    fn a_link_is_held_while_anyone_holds_it() {
        let link = link();
        let (first, mut second) = (link.hold(), link.hold());
        drop(first);
        assert!(link.is_held() && !link.is_lined_up());
        second.line_up();
        assert!(!link.is_held() && link.is_lined_up());
        drop(second);
        assert!(!link.is_held() && !link.is_lined_up());
    }
}
