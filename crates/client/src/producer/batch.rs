//! A batch in a producer's queue, and those who wait for its outcome.

use super::record::Delivered;
use crate::ClientError;
use highwater_records::{Batch, BatchBuilder, Header};
use highwater_types::{Instant, Offset, PartitionIndex, Timestamp};
use std::fmt;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The records of a batch in each of its stages.
#[derive(Debug)]
pub(crate) enum Content {
    /// Records are being collected.
    Building(BatchBuilder),
    /// It has been sent before.
    Built(Batch),
    /// It is on its way.
    Away,
}

/// Where a batch was written. No offset where none is known: acks=0, and a repeat of something long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub base_offset: Option<Offset>,
    pub log_append_time: Option<Timestamp>,
}

/// A record on its way into a batch.
#[derive(Debug)]
pub(crate) struct NewRecord<'a> {
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header],
}

/// What gets the outcome of one record.
pub(crate) type Reply = oneshot::Sender<Result<Delivered, ClientError>>;

struct Waiter {
    timestamp: Timestamp,
    reply: Reply,
}

/// A batch in a producer's queue.
pub(crate) struct QueuedBatch {
    /// Rises from batch to batch, over all partitions.
    pub number: u64,
    pub created: Instant,
    pub in_flight: bool,
    /// How often it was sent.
    pub attempts: u32,
    /// How many batches of the queue were sent before it was first sent.
    pub ordinal: u64,
    /// Whether nothing was on its way or waiting before it when it was last sent.
    pub sent_first: bool,
    /// Whether an attempt had no outcome, so that it may still reach the broker at any time.
    pub unsure: bool,
    /// The sequence number of its first record, once it has one.
    pub sequence: Option<i32>,
    /// Its bytes before compression.
    pub size_bytes: usize,
    partition: PartitionIndex,
    record_count: i32,
    content: Content,
    sealed: bool,
    waiters: Vec<Waiter>,
    /// The room that its records take in the producer's buffer.
    memory: OwnedSemaphorePermit,
}

impl QueuedBatch {
    /// A batch with one record. A record that is too large for a batch by itself comes back as None.
    pub(crate) fn new(
        number: u64,
        created: Instant,
        partition: PartitionIndex,
        mut builder: BatchBuilder,
        record: &NewRecord<'_>,
        reply: Reply,
        memory: OwnedSemaphorePermit,
    ) -> Option<Self> {
        if !builder.try_push(record.timestamp, record.key, record.value, record.headers) {
            return None;
        }
        Some(Self {
            number,
            created,
            in_flight: false,
            attempts: 0,
            ordinal: 0,
            sent_first: false,
            unsure: false,
            sequence: None,
            size_bytes: builder.size_bytes(),
            partition,
            record_count: 1,
            content: Content::Building(builder),
            sealed: false,
            waiters: vec![Waiter { timestamp: record.timestamp, reply }],
            memory,
        })
    }

    /// Whether it still takes records.
    pub(crate) fn is_open(&self) -> bool {
        !self.sealed
    }

    /// Takes no more records.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Whether somebody waits for its outcome.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.waiters.is_empty()
    }

    pub(crate) fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Appends a record; gives back what could not be taken.
    pub(crate) fn try_push(
        &mut self,
        record: &NewRecord<'_>,
        reply: Reply,
        memory: OwnedSemaphorePermit,
    ) -> Result<(), (Reply, OwnedSemaphorePermit)> {
        let Content::Building(builder) = &mut self.content else { return Err((reply, memory)) };
        if self.sealed || !builder.try_push(record.timestamp, record.key, record.value, record.headers) {
            return Err((reply, memory));
        }
        self.size_bytes = builder.size_bytes();
        self.record_count = builder.record_count();
        self.memory.merge(memory);
        self.waiters.push(Waiter { timestamp: record.timestamp, reply });
        Ok(())
    }

    /// The records, to be sent.
    pub(crate) fn take_content(&mut self) -> Content {
        std::mem::replace(&mut self.content, Content::Away)
    }

    /// The records, to be sent again.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        self.content = Content::Built(batch);
    }

    /// Tells everybody who waits.
    pub(crate) fn answer(&mut self, outcome: Result<Written, ClientError>) {
        for (index, waiter) in (0..).zip(self.waiters.drain(..)) {
            let outcome = outcome.clone().map(|written| Delivered {
                partition: self.partition,
                offset: written.base_offset.map(|base| base.plus(index)),
                timestamp: written.log_append_time.unwrap_or(waiter.timestamp),
            });
            // Nobody need be interested.
            let _ = waiter.reply.send(outcome);
        }
    }
}

impl fmt::Debug for QueuedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedBatch")
            .field("number", &self.number)
            .field("record_count", &self.record_count)
            .field("in_flight", &self.in_flight)
            .field("attempts", &self.attempts)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
