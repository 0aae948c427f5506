//! The batches on their way into one partition's log.
//!
//! Connections put batches here in the order in which they came, and one of those that wait takes its turn and appends
//! all of them at once: many small batches cost one write and one sync together, and no connection stands in a line
//! for the log's lock with a change of tasks at each place.

use highwater_log::{AppendError, Appended};
use highwater_records::Batch;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How much room for batches a queue keeps while it is empty.
const KEPT: usize = 8;

/// The batches on their way into one partition's log.
#[derive(Debug, Default)]
pub(crate) struct AppendQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Those that nobody has taken yet, in order, and their tickets.
    batches: Vec<Batch>,
    tickets: Vec<Arc<Ticket>>,
    /// Whether somebody has the turn.
    taken: bool,
}

/// What became of a batch.
pub(crate) type Fate = Result<Appended, Unwritten>;

/// Why a batch is not in the log.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// The log did not take it.
    Refused(AppendError),
    /// Whoever appended it was stopped in the middle; it may be in the log or not.
    Abandoned,
}

/// A place in the queue, by which the fate of its batch is learned.
#[derive(Debug, Default)]
pub(crate) struct Ticket(Mutex<TicketState>);

#[derive(Debug, Default)]
struct TicketState {
    fate: Option<Fate>,
    /// The turn may be free: look.
    poked: bool,
    waker: Option<Waker>,
}

/// The right to append what is in the queue. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    queue: &'a AppendQueue,
    batches: Vec<Batch>,
    tickets: Vec<Arc<Ticket>>,
}

impl AppendQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch at the end.
    pub(crate) fn push(&self, batch: Batch) -> Arc<Ticket> {
        let ticket = Arc::new(Ticket::default());
        let mut state = self.lock();
        state.batches.push(batch);
        state.tickets.push(Arc::clone(&ticket));
        ticket
    }

    /// Takes the turn, if it is free and there is something to append.
    pub(crate) fn take_turn(&self) -> Option<Turn<'_>> {
        let mut state = self.lock();
        if state.taken || state.batches.is_empty() {
            return None;
        }
        state.taken = true;
        let (batches, tickets) = (std::mem::take(&mut state.batches), std::mem::take(&mut state.tickets));
        Some(Turn { queue: self, batches, tickets })
    }
}

impl Turn<'_> {
    /// The batches to append.
    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Tells what became of each of them.
    pub(crate) fn settle(&mut self, fates: impl IntoIterator<Item = Fate>) {
        for (ticket, fate) in self.tickets.drain(..).zip(fates) {
            ticket.settle(fate);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        for ticket in self.tickets.drain(..) {
            ticket.settle(Err(Unwritten::Abandoned));
        }
        self.batches.clear();
        let mut state = self.queue.lock();
        state.taken = false;
        match state.tickets.first() {
            // Somebody who waits takes the next turn.
            Some(first) => first.poke(),
            None if self.batches.capacity() <= KEPT && self.tickets.capacity() <= KEPT => {
                state.batches = std::mem::take(&mut self.batches);
                state.tickets = std::mem::take(&mut self.tickets);
            }
            None => {}
        }
    }
}

impl Ticket {
    fn lock(&self) -> MutexGuard<'_, TicketState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, fate: Fate) {
        let waker = {
            let mut state = self.lock();
            state.fate = Some(fate);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poke(&self) {
        let waker = {
            let mut state = self.lock();
            state.poked = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The batch's fate, once.
    pub(crate) fn take_fate(&self) -> Option<Fate> {
        self.lock().fate.take()
    }

    /// Waits until there is a fate to take or the turn may be free.
    pub(crate) fn poll_news(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.fate.is_some() || std::mem::take(&mut state.poked) {
            return Poll::Ready(());
        }
        if state.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_records::{BatchBuilder, Codec};
    use highwater_types::{Offset, Timestamp};

    fn batch(value: &str) -> Batch {
        let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
        assert!(builder.try_push(Timestamp(1), None, Some(value.as_bytes()), &[]));
        Batch::check(builder.build()).unwrap()
    }

    fn fate(base: i64) -> Fate {
        Ok(Appended {
            base_offset: Offset(base),
            end_offset: Offset(base + 1),
            duplicate: false,
            append_time: None,
        })
    }

    fn is_ready(ticket: &Ticket) -> bool {
        ticket.poll_news(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn one_turn_takes_all_that_came() {
        let queue = AppendQueue::default();
        let tickets = [queue.push(batch("a")), queue.push(batch("b"))];
        let mut turn = queue.take_turn().unwrap();
        assert_eq!(turn.batches().len(), 2);
        assert!(queue.take_turn().is_none(), "there is one turn");
        turn.settle([fate(0), fate(1)]);
        drop(turn);
        for (base, ticket) in (0..).zip(&tickets) {
            assert!(is_ready(ticket));
            assert_eq!(ticket.take_fate().unwrap().unwrap().base_offset, Offset(base));
        }
        assert!(queue.take_turn().is_none(), "there is nothing to append");
    }

    #[test]
    fn who_came_during_a_turn_is_told_when_it_ends() {
        let queue = AppendQueue::default();
        queue.push(batch("a"));
        let turn = queue.take_turn().unwrap();
        let late = queue.push(batch("b"));
        assert!(!is_ready(&late));
        drop(turn);
        assert!(is_ready(&late) && !is_ready(&late), "poked once");
        assert_eq!(queue.take_turn().unwrap().batches().len(), 1);
    }

    #[test]
    fn a_turn_that_is_given_up_leaves_nobody_waiting() {
        let queue = AppendQueue::default();
        let ticket = queue.push(batch("a"));
        drop(queue.take_turn());
        assert!(matches!(ticket.take_fate(), Some(Err(Unwritten::Abandoned))));
    }
}
