//! The producer.
//!
//! [`Producer::send`] puts a record into the open batch of its partition ([`queue`]); one task, the scheduler, decides
//! what is sent when ([`scheduler`]); one task per broker turns batches into requests ([`pipe`]). Records are bounded
//! by `buffer_bytes`, requests by `max_in_flight` per broker.

mod batch;
mod config;
mod partitioner;
mod pipe;
mod queue;
mod record;
mod scheduler;

pub use config::{Acks, ProducerConfig};
pub use partitioner::{murmur2, partition_of_key};
pub use record::{Delivered, Delivery, ProducerRecord};

use crate::{Client, ClientError, TopicMetadata};
use batch::{NewRecord, QueuedBatch};
use highwater_env::{Elapsed, Env, Purpose, timeout_at};
use highwater_records::BatchBuilder;
use highwater_types::PartitionIndex;
use scheduler::{Shared, State};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Sends records. A cheap handle; when the last one is dropped, whatever was not sent is given up. Call
/// [`Producer::close`] for a clean end.
pub struct Producer<E: Env>(Arc<Handle<E>>);

/// Ends the producer's tasks when the last handle is gone.
struct Handle<E: Env>(Arc<Shared<E>>);

impl<E: Env> Drop for Handle<E> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<E: Env> Clone for Producer<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Env> fmt::Debug for Producer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

impl<E: Env> Producer<E> {
    /// Starts a producer.
    ///
    /// # Errors
    ///
    /// When the configuration contradicts itself.
    pub fn new(client: Client<E>, config: ProducerConfig) -> Result<Self, ClientError> {
        config.check()?;
        let env = client.env().clone();
        let shared = Arc::new(Shared::new(client, config, env.entropy(Purpose::Partitioner)));
        env.spawn("producer", scheduler::run(Arc::clone(&shared))).detach();
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Queues a record, and waits for metadata and for room in the buffer where those are missing. The outcome is
    /// awaited apart from that: records that are sent one after another to one partition are written in that order.
    ///
    /// # Errors
    ///
    /// When the topic or partition does not exist, the record is too large, metadata or room did not come within
    /// `max_block`, or the producer is closed.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ClientError> {
        let shared = &self.0.0;
        let clock = shared.client.env().clock();
        let size = record.size_bound();
        if size > shared.config.max_request_bytes {
            let limit = shared.config.max_request_bytes;
            let text = format!("a record of about {size} bytes is larger than max_request_bytes = {limit}");
            return Err(ClientError::Invalid(text));
        }
        let deadline = clock.now().after(shared.config.max_block);
        let blocked = |what: &str| crate::connection::timed_out(what.to_owned(), shared.config.max_block);
        let topic = timeout_at(clock, deadline, shared.client.topic(&record.topic, true))
            .await
            .unwrap_or_else(|Elapsed| Err(blocked("asking for the topic's metadata")))?;
        let permits =
            u32::try_from(size).map_err(|_| ClientError::Invalid("the record is too large".into()))?;
        let room = Arc::clone(&shared.memory).acquire_many_owned(permits);
        let memory = timeout_at(clock, deadline, room)
            .await
            .map_err(|Elapsed| blocked("waiting for room in the producer's buffer"))?
            .map_err(|_| ClientError::Closed)?;
        self.enqueue(&record, &topic, size, memory)
    }

    /// Sends everything that was queued before this call, without waiting for fuller batches, and waits for the
    /// outcome of all of it. The outcomes themselves are told to those who sent.
    pub async fn flush(&self) {
        let shared = &self.0.0;
        let barrier = {
            let mut state = shared.lock();
            state.queues.iter_mut().for_each(|entry| entry.queue.seal());
            state.next_number
        };
        shared.wake.notify_one();
        loop {
            let mut settled = pin!(shared.settled.notified());
            settled.as_mut().enable();
            if shared.lock().queues.iter().all(|entry| entry.queue.oldest().is_none_or(|n| n >= barrier)) {
                return;
            }
            settled.await;
        }
    }

    /// Flushes, and ends the producer for all its handles.
    pub async fn close(self) {
        self.flush().await;
        self.0.0.close();
    }

    fn enqueue(
        &self,
        record: &ProducerRecord,
        topic: &TopicMetadata,
        size: usize,
        memory: OwnedSemaphorePermit,
    ) -> Result<Delivery, ClientError> {
        let shared = &self.0.0;
        let clock = shared.client.env().clock();
        let now = clock.now();
        let fields = NewRecord {
            timestamp: record.timestamp.unwrap_or_else(|| clock.wall()),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
        };
        let (reply, outcome) = oneshot::channel();
        let mut state = shared.lock();
        if state.closed {
            return Err(ClientError::Closed);
        }
        let partition = choose_partition(&mut state, record, topic, size, shared.config.batch_bytes)?;
        let number = state.next_number;
        let queue = state.queue(&record.topic, partition);
        let rest = match queue.open_batch() {
            Some(open) => open.try_push(&fields, reply, memory).err(),
            None => Some((reply, memory)),
        };
        let opened = rest.is_some();
        if let Some((reply, memory)) = rest {
            let builder = BatchBuilder::new(shared.config.codec, shared.config.batch_bytes);
            let batch = QueuedBatch::new(number, now, partition, builder, &fields, reply, memory)
                .ok_or_else(|| ClientError::Invalid("the record is too large for a batch".to_owned()))?;
            queue.push(batch);
            state.next_number += 1;
        }
        drop(state);
        if opened {
            // A new batch has a time at which it is sent, and the one before it is full.
            shared.wake.notify_one();
        }
        Ok(Delivery(outcome))
    }
}

fn choose_partition(
    state: &mut State,
    record: &ProducerRecord,
    topic: &TopicMetadata,
    size: usize,
    batch_bytes: usize,
) -> Result<PartitionIndex, ClientError> {
    let all = || topic.partitions.iter().map(|partition| partition.index);
    if let Some(partition) = record.partition {
        return all().find(|known| *known == partition).ok_or_else(|| {
            let count = topic.partitions.len();
            ClientError::Invalid(format!(
                "{} has {count} partitions, and no partition {partition}",
                record.topic
            ))
        });
    }
    if let Some(key) = &record.key {
        return Ok(partition_of_key(key, topic.partitions.len()));
    }
    let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
    let mut available: Vec<_> = led.map(|partition| partition.index).collect();
    if available.is_empty() {
        available = all().collect();
    }
    if available.is_empty() {
        return Err(ClientError::Invalid(format!("{} has no partitions", record.topic)));
    }
    Ok(state.stick(&record.topic, &available, size, batch_bytes))
}

#[cfg(test)]
mod tests;
