use super::*;
use highwater_records::{BatchBuilder, Codec};
use highwater_types::{Offset, Timestamp};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

impl AsRef<AppendQueue> for AppendQueue {
    fn as_ref(&self) -> &AppendQueue {
        self
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request that waits, and whether it was woken.
struct Request {
    ticket: Ticket<AppendQueue>,
    bell: Arc<Bell>,
}

impl Request {
    fn new(queue: &Arc<AppendQueue>, value: &str) -> Self {
        Self { ticket: Ticket::of(queue, batch(value)), bell: Arc::default() }
    }

    fn poll(&mut self) -> Poll<News<AppendQueue>> {
        self.ticket.poll(&mut Context::from_waker(&Arc::clone(&self.bell).into()))
    }

    fn turn(&mut self) -> Turn<AppendQueue> {
        match self.poll() {
            Poll::Ready(News::Turn(turn)) => turn,
            other => panic!("not the turn: {other:?}"),
        }
    }

    fn fate(&mut self) -> Fate {
        match self.poll() {
            Poll::Ready(News::Fate(fate)) => fate,
            other => panic!("not a fate: {other:?}"),
        }
    }

    fn waits(&mut self) {
        assert!(self.poll().is_pending());
    }

    /// How often it was woken since the last time.
    fn woken(&self) -> usize {
        self.bell.0.swap(0, Ordering::Relaxed)
    }
}

fn batch(value: &str) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    assert!(builder.try_push(Timestamp(1), None, Some(value.as_bytes()), &[]));
    Batch::check(builder.build()).unwrap()
}

fn fate(base: i64) -> Fate {
    let (base_offset, end_offset) = (Offset(base), Offset(base + 1));
    Ok(Appended { base_offset, end_offset, duplicate: false, append_time: None })
}

fn queue() -> Arc<AppendQueue> {
    Arc::default()
}

fn is_idle(queue: &AppendQueue) -> bool {
    let state = queue.lock();
    state.batches.is_empty()
        && state.line.is_empty()
        && state.free.len() == state.places.len()
        && !state.taken
}

#[test]
fn one_turn_takes_all_that_came() {
    let queue = queue();
    let [mut a, mut b] = ["a", "b"].map(|value| Request::new(&queue, value));
    let turn = a.turn();
    assert_eq!(turn.batches().len(), 2);
    b.waits();
    turn.settle([fate(0), fate(1)]);
    assert_eq!((a.woken(), b.woken()), (0, 1));
    assert_eq!(a.fate().unwrap().base_offset, Offset(0));
    assert_eq!(b.fate().unwrap().base_offset, Offset(1));
    assert!(is_idle(&queue));
}

#[test]
fn who_came_during_a_turn_takes_the_next_one() {
    let queue = queue();
    let mut first = Request::new(&queue, "a");
    let turn = first.turn();
    let [mut b, mut c] = ["b", "c"].map(|value| Request::new(&queue, value));
    b.waits();
    c.waits();
    turn.settle([fate(0)]);
    assert_eq!((b.woken(), c.woken()), (1, 0), "one of them is enough");
    assert_eq!(b.turn().batches().len(), 2);
}

#[test]
fn a_request_that_waits_elsewhere_is_passed_over() {
    let queue = queue();
    let mut first = Request::new(&queue, "a");
    let turn = first.turn();
    // Its request waits for another partition, and looks here later.
    let busy = Request::new(&queue, "b");
    let mut waiting = Request::new(&queue, "c");
    waiting.waits();
    drop(turn);
    assert_eq!((busy.woken(), waiting.woken()), (0, 1));
    assert_eq!(waiting.turn().batches().len(), 2, "what the other one brought is appended, too");
}

#[test]
fn a_turn_that_is_given_up_leaves_nobody_waiting() {
    let queue = queue();
    let [mut a, mut b] = ["a", "b"].map(|value| Request::new(&queue, value));
    let turn = a.turn();
    b.waits();
    drop(turn);
    assert_eq!(b.woken(), 1);
    for request in [&mut a, &mut b] {
        assert!(matches!(request.fate(), Err(Unwritten::Abandoned)));
    }
    assert!(is_idle(&queue));
}

#[test]
fn the_turn_is_passed_on_by_a_request_that_goes_away() {
    // Before the turn is free, and after it was woken to take it.
    for woken in [false, true] {
        let queue = queue();
        let mut first = Request::new(&queue, "a");
        let turn = first.turn();
        let [mut b, mut c] = ["b", "c"].map(|value| Request::new(&queue, value));
        b.waits();
        c.waits();
        if woken {
            turn.settle([fate(0)]);
            assert_eq!((b.woken(), c.woken()), (1, 0));
            drop(b);
        } else {
            drop(b);
            assert_eq!(c.woken(), 0, "there is no turn to take");
            turn.settle([fate(0)]);
        }
        assert_eq!(c.woken(), 1);
        assert_eq!(c.turn().batches().len(), 1, "whoever goes away takes its batch along");
    }
}

#[test]
fn a_request_that_goes_away_while_its_batch_is_appended_is_forgotten() {
    let queue = queue();
    let [mut a, b] = ["a", "b"].map(|value| Request::new(&queue, value));
    let turn = a.turn();
    drop(b);
    assert_eq!(turn.batches().len(), 2);
    turn.settle([fate(0), fate(1)]);
    a.fate().unwrap();
    assert!(is_idle(&queue));
    drop(a);
    // Fates that nobody took leave nothing behind, either.
    let [mut a, b] = ["a", "b"].map(|value| Request::new(&queue, value));
    a.turn().settle([fate(2), fate(3)]);
    drop((a, b));
    assert!(is_idle(&queue));
}
