//! The batches of one partition, from the first record to the outcome. Pure: `now` comes in.
//!
//! A batch is sent only when every batch before it is on its way or done; and with
//! idempotence each batch has sequence numbers, so that the broker refuses one whose predecessor it does not have
//! (OUT_OF_ORDER_SEQUENCE_NUMBER). A refused batch is sent again with the same numbers.
//!
//! Where a batch failed for good, its numbers are missing, and the next batch is refused although nothing is on its
//! way before it. Then, when nothing is on its way at all, the partition goes on under the next producer epoch, in
//! which numbers start from 0 (KIP-360). The epoch is counted per partition, for a broker compares it per partition.
//!
//! Three more rules keep a batch from being written twice or out of order:
//!
//! - A broker knows a repeat only among its last five batches, so no batch is sent while one that is five batches
//!   older has no outcome.
//! - A broker takes the first batch of a producer that it does not know whatever its number, so the first batch of an
//!   epoch goes alone.
//! - A batch of which an attempt was lost on the way is not sent under another epoch: the lost attempt may arrive
//!   late, and the broker could not tell that the two are the same. It fails, with its outcome open.

use super::batch::{Content, QueuedBatch, Written};
use crate::ClientError;
use highwater_records::Batch;
use highwater_types::{Instant, ProducerEpoch, ProducerId};
use highwater_wire::ErrorCode;
use std::collections::VecDeque;
use std::time::Duration;

/// The producer that a partition's sequence numbers belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// What a queue needs to know of the producer's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub idempotence: bool,
    pub in_flight: usize,
    pub linger: Duration,
    pub delivery_timeout: Duration,
}

/// The numbers that a batch carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub identity: Identity,
    pub sequence: i32,
}

/// A batch to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Its number in the queue.
    pub number: u64,
    pub content: Content,
    pub stamp: Option<Stamp>,
}

/// What became of one attempt.
#[derive(Clone, Debug)]
pub(crate) enum Attempt {
    /// The broker has it.
    Written(Written),
    /// The broker said no.
    Refused { code: ErrorCode, message: Option<String> },
    /// Nobody knows.
    Failed(ClientError),
}

/// Why a queue has nothing to send, if it has something at all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until something happens to what is on its way, or a record comes.
    Event,
    /// Until then.
    Until(Instant),
    /// Until a producer id is there.
    Identity,
}

/// The batches of one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionQueue {
    batches: VecDeque<QueuedBatch>,
    identity: Option<Identity>,
    next_sequence: i32,
    /// How many batches were sent, repeats aside.
    sent: u64,
    /// Go on under the next epoch as soon as nothing is on its way.
    renew: bool,
    /// Whether a batch of this epoch has been written.
    established: bool,
    /// A producer whose epochs are used up.
    used_up: Option<ProducerId>,
    /// Nothing is sent before that, after a failure.
    hold_until: Instant,
}

impl PartitionQueue {
    /// The last batch, if it still takes records.
    pub(crate) fn open_batch(&mut self) -> Option<&mut QueuedBatch> {
        self.batches.back_mut().filter(|batch| batch.is_open())
    }

    /// Appends a batch. The one before it takes no more records.
    pub(crate) fn push(&mut self, batch: QueuedBatch) {
        self.seal();
        self.batches.push_back(batch);
    }

    /// Sends what there is without waiting for more.
    pub(crate) fn seal(&mut self) {
        if let Some(last) = self.batches.back_mut() {
            last.seal();
        }
    }

    /// The number of the oldest batch whose outcome somebody waits for.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.batches.iter().find(|batch| batch.is_awaited()).map(|batch| batch.number)
    }

    /// Whether a batch could be sent now; see [`PartitionQueue::take`].
    pub(crate) fn readiness(&self, now: Instant, limits: &Limits) -> Result<(), Wait> {
        let in_flight = self.batches.iter().filter(|batch| batch.in_flight).count();
        let Some(next) = self.batches.iter().find(|batch| !batch.in_flight) else { return Err(Wait::Event) };
        // Until the trouble is over, batches that were refused go one by one.
        let alone = limits.idempotence && (!self.established || next.attempts > 0);
        let most = if alone { 1 } else { limits.in_flight };
        let oldest = self.batches.iter().find(|batch| batch.attempts > 0);
        let window = oldest.filter(|_| next.attempts == 0).map_or(0, |oldest| self.sent - oldest.ordinal);
        if self.renew || in_flight >= most || window >= limits.in_flight as u64 {
            return Err(Wait::Event);
        }
        let ripe = if next.is_open() { next.created.after(limits.linger) } else { Instant(0) };
        let from = ripe.max(self.hold_until);
        if now < from {
            return Err(Wait::Until(from));
        }
        if limits.idempotence && self.identity.is_none() {
            return Err(Wait::Identity);
        }
        Ok(())
    }

    /// The size of the batch that [`PartitionQueue::take`] would give.
    pub(crate) fn next_size(&self) -> usize {
        self.batches.iter().find(|batch| !batch.in_flight).map_or(0, |batch| batch.size_bytes)
    }

    /// Takes the next batch to be sent. Call it only when [`PartitionQueue::readiness`] says so.
    pub(crate) fn take(&mut self, limits: &Limits) -> Option<Outgoing> {
        let index = self.batches.iter().position(|batch| !batch.in_flight)?;
        let stamped = limits.idempotence.then_some(self.identity).flatten();
        let batch = &mut self.batches[index];
        batch.seal();
        let count = batch.record_count();
        let stamp = stamped.map(|identity| {
            let sequence = *batch.sequence.get_or_insert_with(|| {
                let first = self.next_sequence;
                self.next_sequence = plus(first, count);
                first
            });
            Stamp { identity, sequence }
        });
        if batch.attempts == 0 {
            batch.ordinal = self.sent;
            self.sent += 1;
        }
        batch.in_flight = true;
        batch.attempts += 1;
        batch.sent_first = index == 0;
        Some(Outgoing { number: batch.number, content: batch.take_content(), stamp })
    }

    /// Gives the partition a producer. Numbers start from 0.
    pub(crate) fn identify(&mut self, identity: Identity) {
        if self.identity.is_none() {
            self.identity = Some(identity);
            self.restart_sequences();
        }
    }

    /// Whether a producer must be given before anything can be sent: this one, if it has not been used up.
    pub(crate) fn can_use(&self, identity: Identity) -> bool {
        self.used_up != Some(identity.id)
    }

    /// Takes in what became of an attempt. `content` is the batch as it was sent; `backoff` is how long to wait before
    /// the next attempt, by the number of those that were made.
    pub(crate) fn settle(
        &mut self,
        number: u64,
        content: Option<Batch>,
        attempt: Attempt,
        now: Instant,
        limits: &Limits,
        backoff: impl FnOnce(u32) -> Duration,
    ) {
        self.settle_batch(number, content, attempt, now, limits, backoff);
        if self.renew && self.batches.iter().all(|batch| !batch.in_flight) {
            self.start_epoch();
        }
    }

    fn settle_batch(
        &mut self,
        number: u64,
        content: Option<Batch>,
        attempt: Attempt,
        now: Instant,
        limits: &Limits,
        backoff: impl FnOnce(u32) -> Duration,
    ) {
        let Some(index) = self.batches.iter().position(|batch| batch.number == number) else { return };
        let batch = &mut self.batches[index];
        batch.in_flight = false;
        let error = match attempt {
            Attempt::Written(written) => {
                self.established = true;
                return self.finish(index, Ok(written));
            }
            Attempt::Refused { code: ErrorCode::DUPLICATE_SEQUENCE_NUMBER, .. } => {
                self.established = true;
                return self.finish(index, Ok(Written::default()));
            }
            Attempt::Refused { code, message } => {
                let missing = [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID];
                let again = limits.idempotence && missing.contains(&code);
                // If nothing was on its way before it, nothing can fill the gap any more.
                let gap = again && batch.sent_first;
                self.renew |= limits.idempotence && (gap || code == ErrorCode::INVALID_PRODUCER_EPOCH);
                let error =
                    ClientError::Refused { what: "the batch was not written".to_owned(), code, message };
                if !again && !error.is_retriable() {
                    // What this attempt was refused for, one before it may have passed.
                    let alone = batch.attempts == 1;
                    let error = if alone { error } else { ClientError::Unsure { refusal: Box::new(error) } };
                    return self.finish(index, Err(error));
                }
                error
            }
            Attempt::Failed(error) if !error.is_retriable() => return self.finish(index, Err(error)),
            Attempt::Failed(error) => {
                batch.unsure = true;
                error
            }
        };
        let in_time = batch.is_awaited() && now < batch.created.after(limits.delivery_timeout);
        let Some(content) = content.filter(|_| in_time) else {
            return self.finish(index, Err(error));
        };
        batch.put_back(content);
        let wait = backoff(batch.attempts - 1);
        self.hold_until = self.hold_until.max(now.after(wait));
    }

    /// Gives up what is older than it may get. A batch that is on its way stays until its attempt has an outcome,
    /// which nobody waits for any more. Returns whether there was any.
    pub(crate) fn expire(&mut self, now: Instant, limits: &Limits) -> bool {
        let mut any = false;
        for index in (0..self.batches.len()).rev() {
            let batch = &mut self.batches[index];
            if !batch.is_awaited() || now < batch.created.after(limits.delivery_timeout) {
                continue;
            }
            any = true;
            let error =
                crate::connection::timed_out("delivering a record".to_owned(), limits.delivery_timeout);
            if batch.in_flight {
                batch.answer(Err(error));
            } else {
                self.finish(index, Err(error));
            }
        }
        any
    }

    /// When the oldest batch is older than it may get.
    pub(crate) fn expires(&self, limits: &Limits) -> Option<Instant> {
        self.batches
            .iter()
            .find(|batch| batch.is_awaited())
            .map(|batch| batch.created.after(limits.delivery_timeout))
    }

    /// Fails everything.
    pub(crate) fn abandon(&mut self, error: &ClientError) {
        for mut batch in self.batches.drain(..) {
            batch.answer(Err(error.clone()));
        }
    }

    fn finish(&mut self, index: usize, outcome: Result<Written, ClientError>) {
        if let Some(mut batch) = self.batches.remove(index) {
            batch.answer(outcome);
        }
    }

    /// The numbers start anew under the next epoch, or under another producer once epochs are used up.
    fn start_epoch(&mut self) {
        self.renew = false;
        let Some(identity) = self.identity.take() else { return };
        for index in (0..self.batches.len()).rev() {
            if self.batches[index].unsure {
                let what = "the outcome of the batch cannot be learnt any more".to_owned();
                let code = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
                self.finish(index, Err(ClientError::Refused { what, code, message: None }));
            }
        }
        match identity.epoch.0.checked_add(1) {
            Some(epoch) => self.identity = Some(Identity { epoch: ProducerEpoch(epoch), ..identity }),
            None => self.used_up = Some(identity.id),
        }
        self.restart_sequences();
    }

    fn restart_sequences(&mut self) {
        self.next_sequence = 0;
        self.established = false;
        for batch in &mut self.batches {
            batch.sequence = None;
        }
    }
}

/// Sequence numbers wrap from `i32::MAX` to 0.
fn plus(sequence: i32, count: i32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX);
    i32::try_from(sum).expect("masked to 31 bits")
}

#[cfg(test)]
mod tests;
