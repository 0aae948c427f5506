//! The batches on their way into one partition's log.
//!
//! Connections put batches here in the order in which they came, and one of those that wait takes its turn and appends
//! all of them at once: many small batches cost one write and one sync together, and no connection stands in a line
//! for the log's lock with a change of tasks at each place.

use highwater_log::{AppendError, Appended};
use highwater_records::Batch;
use smallvec::SmallVec;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How much room a queue keeps while it is empty, in batches.
const KEPT: usize = 8;

/// The batches on their way into one partition's log.
#[derive(Debug, Default)]
pub(crate) struct AppendQueue(Mutex<State>);

/// Invariant: a place that is kept and has no fate is either in line or in the turn that is taken. While nobody has
/// the turn and somebody is in line, there is one who waits and was woken, or who has not looked yet.
#[derive(Debug, Default)]
struct State {
    /// Those that nobody has taken yet, in order, and the numbers of their places.
    batches: Vec<Batch>,
    line: Vec<u32>,
    /// What is known of every batch whose fate was not taken.
    places: Vec<Place>,
    /// The numbers of places that nobody has.
    free: Vec<u32>,
    /// Whether somebody has the turn.
    taken: bool,
}

#[derive(Debug, Default)]
struct Place {
    fate: Option<Fate>,
    /// Whoever wants to know it, or to take the turn.
    waker: Option<Waker>,
    /// Nobody wants to know any more.
    deserted: bool,
}

/// What became of a batch.
pub(crate) type Fate = Result<Appended, Unwritten>;

/// Why a batch is not in the log.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// The log did not take it.
    Refused(AppendError),
    /// This node does not lead the partition any more.
    NotLeader,
    /// Whoever appended it was stopped in the middle; it may be in the log or not.
    Abandoned,
}

/// A place in the queue of `P`, by which the fate of its batch is learned. Whoever drops it before takes the batch out
/// of the line, unless it is being appended.
pub(crate) struct Ticket<P: AsRef<AppendQueue>> {
    of: Arc<P>,
    /// None once the fate was taken.
    place: Option<u32>,
}

/// What a ticket has been waited with for.
#[derive(Debug)]
pub(crate) enum News<P: AsRef<AppendQueue>> {
    /// What became of the batch. There is no other news after this.
    Fate(Fate),
    /// It falls to whoever has this ticket to append what is in line.
    Turn(Turn<P>),
}

/// The right to append what was in the queue. Given back when dropped.
pub(crate) struct Turn<P: AsRef<AppendQueue>> {
    of: Arc<P>,
    batches: Vec<Batch>,
    line: Vec<u32>,
}

impl AppendQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, batch: Batch) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).expect("requests in work are bounded")
        });
        self.batches.push(batch);
        self.line.push(place);
        place
    }

    fn place(&mut self, place: u32) -> &mut Place {
        &mut self.places[place as usize]
    }

    fn release(&mut self, place: u32) {
        *self.place(place) = Place::default();
        self.free.push(place);
        if self.free.len() == self.places.len() && self.places.capacity() > KEPT {
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// Tells what became of a batch; the waker is that of whoever wants to know.
    fn settle(&mut self, place: u32, fate: Fate) -> Option<Waker> {
        let entry = self.place(place);
        if entry.deserted {
            self.release(place);
            return None;
        }
        entry.fate = Some(fate);
        entry.waker.take()
    }

    /// Who is to be woken so that somebody takes the turn, if it is free. Those that have not waited yet look by
    /// themselves.
    fn next_waker(&mut self) -> Option<Waker> {
        let State { line, places, taken: false, .. } = self else { return None };
        line.iter().find_map(|&place| places[place as usize].waker.take())
    }
}

impl<P: AsRef<AppendQueue>> Ticket<P> {
    /// Puts a batch at the end of a queue.
    pub(crate) fn of(owner: &Arc<P>, batch: Batch) -> Self {
        let place = (**owner).as_ref().lock().push(batch);
        Self { of: Arc::clone(owner), place: Some(place) }
    }

    /// Whose queue it is in.
    pub(crate) fn owner(&self) -> &Arc<P> {
        &self.of
    }

    /// Waits until there is news.
    ///
    /// # Panics
    ///
    /// After the fate was taken.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<News<P>> {
        let place = self.place.expect("a ticket is good for one fate");
        let mut state = (*self.of).as_ref().lock();
        if let Some(fate) = state.place(place).fate.take() {
            state.release(place);
            self.place = None;
            return Poll::Ready(News::Fate(fate));
        }
        if !state.taken {
            state.taken = true;
            let (batches, line) = (std::mem::take(&mut state.batches), std::mem::take(&mut state.line));
            return Poll::Ready(News::Turn(Turn { of: Arc::clone(&self.of), batches, line }));
        }
        let waker = &mut state.place(place).waker;
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<P: AsRef<AppendQueue>> Drop for Ticket<P> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut state = (*self.of).as_ref().lock();
        let at = state.line.iter().position(|&other| other == place);
        let batch = at.map(|at| {
            state.line.remove(at);
            state.batches.remove(at)
        });
        if batch.is_some() || state.place(place).fate.is_some() {
            state.release(place);
        } else {
            // It is being appended: whoever does that finds nobody to tell.
            *state.place(place) = Place { deserted: true, ..Place::default() };
        }
        // It may have been this one that was woken to take the turn.
        let next = state.next_waker();
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl<P: AsRef<AppendQueue>> Turn<P> {
    /// Whose queue it is.
    pub(crate) fn owner(&self) -> &Arc<P> {
        &self.of
    }

    /// The batches to append.
    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Tells what became of each of them, and ends the turn.
    pub(crate) fn settle(mut self, fates: impl IntoIterator<Item = Fate>) {
        self.end(fates);
    }

    fn end(&mut self, fates: impl IntoIterator<Item = Fate>) {
        // Requests of one connection mostly stand together: it needs to be woken once.
        let mut wakers: SmallVec<[Waker; 8]> = SmallVec::new();
        let mut wake = |waker: Option<Waker>| {
            let Some(waker) = waker else { return };
            if wakers.last().is_none_or(|last| !last.will_wake(&waker)) {
                wakers.push(waker);
            }
        };
        self.batches.clear();
        let mut state = (*self.of).as_ref().lock();
        let mut fates = fates.into_iter();
        for place in self.line.drain(..) {
            let fate = fates.next().unwrap_or(Err(Unwritten::Abandoned));
            wake(state.settle(place, fate));
        }
        state.taken = false;
        wake(state.next_waker());
        if state.batches.capacity() == 0 && self.batches.capacity() <= KEPT {
            state.batches = std::mem::take(&mut self.batches);
            state.line = std::mem::take(&mut self.line);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<P: AsRef<AppendQueue>> Drop for Turn<P> {
    fn drop(&mut self) {
        // There is always one who took the turn with its own batch; without any, it has ended.
        if !self.line.is_empty() {
            self.end([]);
        }
    }
}

impl<P: AsRef<AppendQueue>> fmt::Debug for Ticket<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.place).finish()
    }
}

impl<P: AsRef<AppendQueue>> fmt::Debug for Turn<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turn").field(&self.line).finish()
    }
}

#[cfg(test)]
mod tests;
