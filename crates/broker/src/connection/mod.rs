//! One connection: requests in, answers out.
//!
//! A connection is one task and one state machine: there is no hop to another task between a request's bytes and its
//! answer. Requests are begun in the order in which they arrive and may end in any; their answers are sent in the order
//! of the requests. What may pile up is bounded: requests in work, answers not taken, and memory, which all connections
//! share. A connection that is over its bounds is not read from, and holds up nobody else.

mod input;
mod output;
#[cfg(test)]
mod tests;

use crate::dispatch;
use crate::handlers::produce::{Burst, Form, Single};
use crate::link::Link;
use crate::response::{Answer, Outcome, Response, Work};
use crate::state::Shared;
use highwater_env::{Env, Network, Sleep};
use highwater_types::Instant;
use highwater_wire::ApiKey;
use input::{Input, InputError, Received};
use output::Output;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The streams of an environment.
pub(crate) type StreamOf<E> = <<E as Env>::Network as Network>::Stream;

/// How many times a connection goes round before it lets other tasks run.
const ROUNDS: usize = 16;
/// How many requests are begun in one round before answers are sent.
const REQUESTS_PER_ROUND: usize = 64;
/// How many pieces an answer has most often: head, records, tail.
const PIECES_PER_REQUEST: usize = 3;
/// Answers in memory above this size are counted against the memory of all connections.
const CHARGED_ANSWER_BYTES: usize = 64 << 10;

/// One connection. Ends when it is closed and nothing that it began is left in the middle.
pub(crate) struct Connection<E: Env> {
    shared: Arc<Shared<E>>,
    link: Arc<Link>,
    number: u64,
    /// None once it is closed.
    stream: Option<StreamOf<E>>,
    /// What operations are woken by.
    waker: Waker,
    /// What the link wakes this task by.
    task: Option<Waker>,
    input: Input,
    /// A request that has arrived and may not be begun yet.
    waiting: Option<Received>,
    slots: VecDeque<Slot<E>>,
    /// How many of them are fetches in work.
    fetches: usize,
    /// How many of them are commits of offsets in work.
    commits: usize,
    /// How many of them are single batches on their way into a log.
    in_line: usize,
    /// Whether some of these have not been looked at: they wait for those that came with them.
    fresh: bool,
    /// How many of them the metrics do not know of yet.
    uncounted: u64,
    form: Form,
    /// The bytes in memory of answers that are behind one that is not there yet.
    ready_bytes: usize,
    output: Output<E>,
    phase: Phase,
    timer: Option<(Instant, Sleep)>,
    /// When bytes last moved.
    last_progress: Instant,
    /// The bytes that moved until then, and of which the metrics know.
    counted: (u64, u64, u64),
}

/// Whether requests are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// No more requests; answers of those that were begun are sent, until this instant.
    Ending(Instant),
    /// The peer is gone; only what must not be left in the middle goes on.
    Gone,
}

/// The place of a request in the order of answers.
enum Slot<E: Env> {
    Working {
        work: Work<E>,
        /// Whether it must run to its end.
        finish: bool,
        fetch: bool,
        commit: bool,
        /// Whether its answer is not sent: one before it will never be.
        mute: bool,
    },
    /// A single batch. Must run to its end.
    Single {
        single: Single<E>,
        mute: bool,
    },
    Ready(Response<E>),
    Silent,
}

impl<E: Env> Slot<E> {
    fn is_in_work(&self) -> bool {
        match self {
            Self::Working { .. } => true,
            Self::Single { single, .. } => !single.is_done(),
            Self::Ready(_) | Self::Silent => false,
        }
    }
}

/// How long produce requests took that are done at once: they share clock and counters.
#[derive(Default)]
struct Took {
    now: Option<Instant>,
    last: Option<(Instant, u64)>,
}

impl Took {
    fn add<E: Env>(&mut self, shared: &Shared<E>, begun: Instant) {
        match &mut self.last {
            Some((last, count)) if *last == begun => *count += 1,
            _ => {
                self.record(shared);
                self.last = Some((begun, 1));
            }
        }
    }

    fn record<E: Env>(&mut self, shared: &Shared<E>) {
        let Some((begun, count)) = self.last.take() else { return };
        let now = *self.now.get_or_insert_with(|| shared.env.clock().now());
        shared.metrics.produce_time.record_all(now.since(begun), count);
    }
}

/// Why a connection is closed.
enum End {
    /// The peer sent what cannot be understood or is not served.
    Protocol(String),
    /// The peer sends no more.
    Finished,
    /// The connection is broken, and not worth a warning.
    Broken,
    Idle,
    Stalled,
}

impl<E: Env> Connection<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, link: Arc<Link>, number: u64, stream: StreamOf<E>) -> Self {
        shared.metrics.connections_accepted.one();
        shared.metrics.connections_open.up();
        Self {
            waker: Waker::from(Arc::clone(&link)),
            last_progress: link.now(),
            shared,
            link,
            number,
            stream: Some(stream),
            task: None,
            input: Input::default(),
            waiting: None,
            slots: VecDeque::new(),
            fetches: 0,
            commits: 0,
            in_line: 0,
            fresh: false,
            uncounted: 0,
            form: Form::default(),
            ready_bytes: 0,
            output: Output::default(),
            phase: Phase::Open,
            timer: None,
            counted: (0, 0, 0),
        }
    }

    /// Goes once through all that could be done; says whether anything was.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let now = self.shared.env.clock().now();
        self.link.set_now(now);
        if self.phase == Phase::Open && (self.shared.stop.is_raised() || self.link.is_winding_up()) {
            self.finish_up();
        }
        let look = self.link.take_woken() | std::mem::take(&mut self.fresh);
        let mut progress = look && self.poll_work()?;
        progress |= self.poll_requests(cx)?;
        progress |= self.poll_output(cx)?;
        if self.count_moved() {
            self.last_progress = now;
        }
        Ok(progress)
    }

    /// Looks at every request in work.
    fn poll_work(&mut self) -> Result<bool, End> {
        let mut cx = Context::from_waker(&self.waker);
        let mut progress = false;
        let mut refused = None;
        let mut took = Took::default();
        for slot in &mut self.slots {
            let (work, fetch, commit, mute) = match slot {
                Slot::Working { work, fetch, commit, mute, .. } => (work, fetch, commit, mute),
                Slot::Single { single, .. } if !single.is_done() => {
                    let was_in_line = single.is_in_line();
                    if single.poll(&self.shared, &self.link, &mut cx).is_ready() {
                        progress = true;
                        took.add(&self.shared, single.begun());
                    }
                    self.in_line -= usize::from(was_in_line && !single.is_in_line());
                    continue;
                }
                Slot::Single { .. } | Slot::Ready(_) | Slot::Silent => continue,
            };
            let Poll::Ready(outcome) = work.as_mut().poll(&mut cx) else { continue };
            self.fetches -= usize::from(*fetch);
            self.commits -= usize::from(*commit);
            progress = true;
            *slot = match outcome {
                Outcome::Respond(response) if !*mute => {
                    self.ready_bytes += response.memory_bytes();
                    Slot::Ready(response)
                }
                Outcome::Respond(_) | Outcome::Silent => Slot::Silent,
                Outcome::Close(reason) => {
                    refused.get_or_insert(reason);
                    Slot::Silent
                }
            };
        }
        took.record(&self.shared);
        refused.map_or(Ok(progress), |reason| Err(End::Protocol(reason)))
    }

    /// Begins requests, as many as may be.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        let mut burst = None;
        let mut read = 0;
        for _ in 0..REQUESTS_PER_ROUND {
            let Some(received) = self.poll_request(cx)? else { break };
            progress = true;
            if self.input.received() != read {
                // What comes after another read may follow from what this has not seen.
                read = self.input.received();
                burst = None;
            }
            self.begin(received, &mut burst)?;
        }
        Ok(progress)
    }

    /// The next request that may be begun now.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<Option<Received>, End> {
        let limits = &self.shared.config.limits;
        if self.phase != Phase::Open
            || self.link.is_held()
            || self.slots.len() >= limits.in_flight_requests
            || self.output.pieces() > PIECES_PER_REQUEST * limits.in_flight_requests
            || self.ready_bytes + self.output.memory_bytes() > limits.unsent_bytes
        {
            return Ok(None);
        }
        if self.waiting.is_none() {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            let max_frame_bytes = usize::try_from(self.shared.settings.socket_request_max_bytes).unwrap_or(0);
            let alone = self.slots.is_empty();
            match self.input.poll_frame(stream, max_frame_bytes, &self.shared.budget, alone, cx) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Ok(Some(received))) => self.waiting = Some(received),
                Poll::Ready(Ok(None)) => return Err(End::Finished),
                Poll::Ready(Err(InputError::Io(_) | InputError::PartialFrame)) => return Err(End::Broken),
                Poll::Ready(Err(error @ InputError::Frame(..))) => {
                    return Err(End::Protocol(error.to_string()));
                }
            }
        }
        let key = self.waiting.as_ref().and_then(|received| dispatch::peek_api(&received.frame));
        // The answers of two fetches may each be as large as a fetch may be: one of them at a time. And what a request
        // appends, or commits, is seen by those after it.
        if (self.fetches > 0 && key == Some(ApiKey::FETCH))
            || (self.commits > 0 && key == Some(ApiKey::OFFSET_FETCH))
            || ((self.in_line > 0 || self.link.is_lined_up()) && key != Some(ApiKey::PRODUCE))
        {
            return Ok(None);
        }
        Ok(self.waiting.take())
    }

    fn begin(&mut self, received: Received, burst: &mut Option<Burst<E>>) -> Result<(), End> {
        let Received { mut frame, mut charge } = received;
        let key = dispatch::peek_api(&frame);
        if key == Some(ApiKey::PRODUCE) {
            let burst = burst.get_or_insert_with(|| Burst::new(&self.shared));
            match Single::begin(burst, self.link.now(), frame, charge) {
                Ok(single) => {
                    self.uncounted += 1;
                    self.in_line += 1;
                    self.fresh = true;
                    self.slots.push_back(Slot::Single { single, mute: false });
                    return Ok(());
                }
                Err(back) => (frame, charge) = back,
            }
        }
        let (fetch, commit) = (key == Some(ApiKey::FETCH), key == Some(ApiKey::OFFSET_COMMIT));
        let outcome = match dispatch::begin(&self.shared, &self.link, frame, charge) {
            Answer::Ready(outcome) => outcome,
            Answer::Pending { mut work, finish } => {
                match work.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => {
                        self.fetches += usize::from(fetch);
                        self.commits += usize::from(commit);
                        self.slots.push_back(Slot::Working { work, finish, fetch, commit, mute: false });
                        return Ok(());
                    }
                }
            }
        };
        match outcome {
            Outcome::Respond(response) if self.slots.is_empty() => self.send(response),
            Outcome::Respond(response) => {
                self.ready_bytes += response.memory_bytes();
                self.slots.push_back(Slot::Ready(response));
            }
            Outcome::Silent => {}
            Outcome::Close(reason) => return Err(End::Protocol(reason)),
        }
        Ok(())
    }

    fn send(&mut self, mut response: Response<E>) {
        if self.stream.is_none() {
            return;
        }
        let bytes = response.memory_bytes();
        if bytes > CHARGED_ANSWER_BYTES && response.charge.is_none() {
            response.charge = Some(self.shared.budget.overdraw(bytes));
        }
        self.output.push(response);
    }

    /// Sends what is to be sent next.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        while self.slots.front().is_some_and(|slot| !slot.is_in_work()) {
            progress = true;
            match self.slots.pop_front() {
                Some(Slot::Ready(response)) => {
                    self.ready_bytes -= response.memory_bytes();
                    self.send(response);
                }
                Some(Slot::Single { single, mute: false }) if self.stream.is_some() => {
                    let form = &mut self.form;
                    self.output.write(|onto| single.answer(form, onto)).map_err(End::Protocol)?;
                }
                _ => {}
            }
        }
        let Some(stream) = &mut self.stream else { return Ok(progress) };
        if self.output.is_empty() {
            return Ok(progress);
        }
        let before = self.output.sent();
        match self.output.poll_send(stream, cx) {
            Poll::Ready(Ok(())) | Poll::Pending => Ok(progress || self.output.sent() > before),
            Poll::Ready(Err(error)) => {
                if error.kind() == std::io::ErrorKind::UnexpectedEof {
                    tracing::error!(peer = %self.link.peer, "connection closed: {error}");
                }
                Err(End::Broken)
            }
        }
    }

    /// Tells the metrics of requests begun and of bytes that moved; says whether any did.
    fn count_moved(&mut self) -> bool {
        if self.uncounted > 0 {
            self.shared.metrics.requests.of(ApiKey::PRODUCE).add(std::mem::take(&mut self.uncounted));
        }
        let now = (self.input.received(), self.output.sent(), self.output.sent_from_files());
        if now == self.counted {
            return false;
        }
        let metrics = &self.shared.metrics;
        metrics.received_bytes.add(now.0 - self.counted.0);
        metrics.sent_bytes.add(now.1 - self.counted.1);
        if now.2 > self.counted.2 {
            metrics.sent_file_bytes.add(now.2 - self.counted.2);
        }
        self.counted = now;
        true
    }

    /// The instant at which the connection is closed if nothing moves until then.
    fn patience(&self) -> Option<(Instant, End)> {
        let limits = &self.shared.config.limits;
        if let Phase::Ending(deadline) = self.phase {
            return Some((deadline, End::Stalled));
        }
        let idle = Duration::from_millis(self.shared.settings.connections_max_idle_ms.unsigned_abs());
        if !self.output.is_empty() {
            Some((self.last_progress.after(limits.stall), End::Stalled))
        } else if !self.slots.is_empty() || self.waiting.is_some() {
            // Whatever is in work has its own deadline.
            None
        } else if self.input.keeps_memory() {
            Some((self.last_progress.after(limits.stall.min(idle)), End::Stalled))
        } else {
            Some((self.last_progress.after(idle), End::Idle))
        }
    }

    /// Waits for the next instant at which something is due. Ready when it has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let patience = if self.phase == Phase::Gone { None } else { self.patience() };
        let due = match &patience {
            Some((at, _)) => self.link.earliest_deadline().min(*at),
            None => self.link.earliest_deadline(),
        };
        if due == Instant(u64::MAX) {
            return Poll::Pending;
        }
        // A timer that goes off early costs one look: setting another one for every change would cost more.
        if self.timer.as_ref().is_none_or(|(at, _)| *at > due) {
            self.timer = Some((due, self.shared.env.clock().sleep_until(due)));
        }
        let Some((_, sleep)) = &mut self.timer else { return Poll::Pending };
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.timer = None;
        self.link.ring();
        match patience {
            Some((at, end)) if self.shared.env.clock().now() >= at => Poll::Ready(Err(end)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Takes no more requests; the answers of those that were begun are still sent, up to the first one that would have
    /// to be waited for at leisure.
    fn finish_up(&mut self) {
        let deadline = self.shared.env.clock().now().after(self.shared.config.limits.shutdown_grace);
        self.phase = Phase::Ending(deadline);
        self.waiting = None;
        self.input = Input::default();
        self.counted.0 = 0;
        if let Some(first) =
            self.slots.iter().position(|slot| matches!(slot, Slot::Working { finish: false, .. }))
        {
            for mut slot in self.slots.split_off(first) {
                let in_work = slot.is_in_work();
                match &mut slot {
                    Slot::Working { finish: true, mute, .. } | Slot::Single { mute, .. } if in_work => {
                        *mute = true;
                        self.slots.push_back(slot);
                    }
                    Slot::Ready(response) => self.ready_bytes -= response.memory_bytes(),
                    Slot::Working { .. } | Slot::Single { .. } | Slot::Silent => {}
                }
            }
        }
    }

    /// Closes the connection. Requests that must run to their end still do.
    fn hang_up(&mut self) {
        self.phase = Phase::Gone;
        self.stream = None;
        self.timer = None;
        self.waiting = None;
        self.input = Input::default();
        self.output = Output::default();
        self.counted = (0, 0, 0);
        self.ready_bytes = 0;
        self.slots.retain(|slot| match slot {
            Slot::Working { finish, .. } => *finish,
            Slot::Single { .. } => slot.is_in_work(),
            Slot::Ready(_) | Slot::Silent => false,
        });
        self.link.ring();
    }

    fn end(&mut self, end: End) {
        self.count_moved();
        let metrics = &self.shared.metrics;
        match end {
            End::Protocol(reason) => {
                metrics.protocol_errors.one();
                self.shared.warn_of_peer(self.link.peer, &reason);
                self.finish_up();
            }
            End::Finished if self.phase == Phase::Open => self.finish_up(),
            End::Finished | End::Broken => self.hang_up(),
            End::Idle => {
                metrics.connections_idle.one();
                self.hang_up();
            }
            End::Stalled => {
                metrics.connections_stalled.one();
                self.hang_up();
            }
        }
    }

    fn is_done(&self) -> bool {
        self.phase != Phase::Open && self.slots.is_empty() && self.output.is_empty()
    }
}

/// Nothing in it is pinned in place.
impl<E: Env> Unpin for Connection<E> {}

impl<E: Env> Future for Connection<E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            this.link.set_task(cx.waker());
            this.task = Some(cx.waker().clone());
        }
        for _ in 0..ROUNDS {
            let progress = match this.round(cx) {
                Ok(progress) => progress,
                Err(end) => {
                    this.end(end);
                    true
                }
            };
            if this.is_done() {
                return Poll::Ready(());
            }
            if progress {
                continue;
            }
            match this.poll_timer(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => this.end(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<E: Env> Drop for Connection<E> {
    fn drop(&mut self) {
        self.shared.metrics.connections_open.down();
        self.shared.connections.leave(self.number);
    }
}
