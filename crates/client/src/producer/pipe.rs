//! The way of batches to one broker and back: one task per broker keeps the order of requests, one per request waits
//! for its answer.

use super::batch::{Content, Written};
use super::queue::{Attempt, Outgoing, Stamp};
use super::scheduler::Shared;
use super::{Acks, ProducerConfig};
use crate::client::Pending;
use crate::{Client, ClientError};
use highwater_env::Env;
use highwater_records::{Batch, Codec};
use highwater_types::{BrokerId, Offset, PartitionIndex, Timestamp, TopicId};
use highwater_wire::messages::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use highwater_wire::{ErrorCode, Records, Str};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The last version of Produce that names topics.
const LAST_BY_NAME: i16 = 12;
/// The first version whose batches may be compressed with Zstandard.
const ZSTD_FROM: i16 = 7;

/// Batches for one request.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub batches: Vec<Planned>,
    /// Their bytes before compression.
    pub size_bytes: usize,
}

/// One batch of a request.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The place of its queue.
    pub place: usize,
    pub topic: Str,
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
    pub outgoing: Outgoing,
}

/// A batch on its way.
#[derive(Clone)]
struct Sent {
    place: usize,
    number: u64,
    topic: Str,
    topic_id: TopicId,
    partition: PartitionIndex,
    batch: Option<Batch>,
}

/// The task of one broker: ends when the producer is closed.
pub(crate) async fn run<E: Env>(shared: Arc<Shared<E>>, broker: BrokerId, mut plans: mpsc::Receiver<Plan>) {
    while let Some(plan) = plans.recv().await {
        let sent = prepare(&shared, plan).await;
        match begin(&shared, broker, &sent).await {
            Ok(Some(pending)) => {
                let task = await_answer(Arc::clone(&shared), broker, sent, pending);
                shared.client.env().spawn("producer-answer", task).detach();
            }
            Ok(None) => settle(&shared, broker, sent, |_| Attempt::Written(Written::default())),
            Err(error) => settle(&shared, broker, sent, |_| Attempt::Failed(error.clone())),
        }
    }
}

async fn prepare<E: Env>(shared: &Shared<E>, plan: Plan) -> Vec<Sent> {
    let build = move || plan.batches.into_iter().map(finish_batch).collect();
    match shared.config.codec {
        Codec::None => build(),
        _ => shared.client.env().compute(build).await,
    }
}

/// Builds the batch, or puts other numbers into one that was built before.
fn finish_batch(planned: Planned) -> Sent {
    let Planned { place, topic, topic_id, partition, outgoing } = planned;
    let batch = match (outgoing.content, outgoing.stamp) {
        (Content::Building(mut builder), stamp) => {
            if let Some(Stamp { identity, sequence }) = stamp {
                builder.set_producer(identity.id, identity.epoch, sequence);
            }
            Some(Batch::check(builder.build()).expect("a builder makes whole batches"))
        }
        (Content::Built(batch), Some(Stamp { identity, sequence })) => {
            let header = batch.header();
            let has = (header.producer_id, header.producer_epoch, header.base_sequence);
            if has == (identity.id, identity.epoch, sequence) {
                Some(batch)
            } else {
                Some(batch.with_producer(identity.id, identity.epoch, sequence))
            }
        }
        (Content::Built(batch), None) => Some(batch),
        (Content::Away, _) => None,
    };
    Sent { place, number: outgoing.number, topic, topic_id, partition, batch }
}

/// Sends the request; None if no answer will come.
async fn begin<E: Env>(
    shared: &Shared<E>,
    broker: BrokerId,
    sent: &[Sent],
) -> Result<Option<Pending<E, ProduceRequest>>, ClientError> {
    let client = &shared.client;
    let by_id = sent.iter().all(|sent| sent.topic_id != TopicId::default());
    let limit = if by_id { i16::MAX } else { LAST_BY_NAME };
    let version = client.version_at::<ProduceRequest>(broker, limit).await?;
    if shared.config.codec == Codec::Zstd && version < ZSTD_FROM {
        let text = format!("broker {broker} is too old for batches compressed with zstd");
        return Err(ClientError::Invalid(text));
    }
    let request = request(&shared.config, client, sent);
    match shared.config.acks {
        Acks::None => client.send_unanswered(broker, &request, version).await.map(|()| None),
        _ => client.start(broker, &request, version).await.map(Some),
    }
}

fn request<E: Env>(config: &ProducerConfig, client: &Client<E>, sent: &[Sent]) -> ProduceRequest {
    let mut topic_data: Vec<TopicProduceData> = Vec::new();
    for sent in sent {
        let Some(batch) = &sent.batch else { continue };
        let data =
            PartitionProduceData { index: sent.partition, records: Records::Bytes(batch.bytes().clone()) };
        match topic_data.iter_mut().find(|known| known.name == sent.topic) {
            Some(topic) => topic.partition_data.push(data),
            None => topic_data.push(TopicProduceData {
                name: sent.topic.clone(),
                topic_id: sent.topic_id,
                partition_data: vec![data],
            }),
        }
    }
    ProduceRequest {
        transactional_id: None,
        acks: config.acks.wire(),
        timeout_ms: i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data,
    }
}

async fn await_answer<E: Env>(
    shared: Arc<Shared<E>>,
    broker: BrokerId,
    sent: Vec<Sent>,
    pending: Pending<E, ProduceRequest>,
) {
    match pending.finish().await {
        Ok(answer) => settle(&shared, broker, sent, |sent| attempt_of(&answer, sent)),
        Err(error) => settle(&shared, broker, sent, |_| Attempt::Failed(error.clone())),
    }
}

/// What the answer says of one batch.
fn attempt_of(answer: &ProduceResponse, sent: &Sent) -> Attempt {
    let topic = answer.responses.iter().find(|topic| {
        // Versions by id leave the name empty, and those by name the id.
        topic.name == sent.topic || (topic.name.is_empty() && topic.topic_id == sent.topic_id)
    });
    let found =
        topic.and_then(|topic| topic.partition_responses.iter().find(|found| found.index == sent.partition));
    match found {
        None => Attempt::Failed(ClientError::Protocol {
            peer: "the broker".to_owned(),
            cause: format!("the answer says nothing of {}-{}", sent.topic, sent.partition),
        }),
        Some(found) if found.error_code.is_ok() => Attempt::Written(Written {
            base_offset: Some(found.base_offset).filter(|offset| *offset >= Offset::ZERO),
            log_append_time: Some(found.log_append_time_ms).filter(|time| *time != Timestamp::NONE),
        }),
        Some(found) => Attempt::Refused { code: found.error_code, message: message_of(found) },
    }
}

/// The broker's words, with those on the first record that is to blame.
fn message_of(found: &PartitionProduceResponse) -> Option<String> {
    let record = found.record_errors.first().and_then(|error| {
        let text = error.batch_index_error_message.as_ref()?;
        Some(format!("record {}: {text}", error.batch_index))
    });
    let whole = found.error_message.as_ref().map(ToString::to_string);
    match (whole, record) {
        (Some(whole), Some(record)) => Some(format!("{whole} ({record})")),
        (whole, record) => whole.or(record),
    }
}

/// Tells the queues what became of their batches.
fn settle<E: Env>(
    shared: &Shared<E>,
    broker: BrokerId,
    sent: Vec<Sent>,
    mut attempt_of: impl FnMut(&Sent) -> Attempt,
) {
    let client = &shared.client;
    let now = client.env().clock().now();
    let backoff = |tries: u32| -> Duration { client.backoff(tries) };
    let mut state = shared.lock();
    for sent in sent {
        let attempt = attempt_of(&sent);
        if makes_metadata_stale(&attempt) {
            client.forget(&sent.topic);
        }
        if let Attempt::Refused { code, .. } = &attempt {
            tracing::debug!(topic = %sent.topic, partition = %sent.partition, %code, "a batch was refused");
        }
        let queue = &mut state.queues[sent.place].queue;
        queue.settle(sent.number, sent.batch, attempt, now, &shared.limits, backoff);
    }
    shared.release(&mut state, broker);
    drop(state);
    shared.wake.notify_one();
    shared.settled.notify_waiters();
}

/// Whether another broker may be the one to ask.
fn makes_metadata_stale(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::Written(_) => false,
        Attempt::Failed(_) => true,
        Attempt::Refused { code, .. } => {
            let of_partition = [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND];
            code.is_retriable() && !of_partition.contains(code)
        }
    }
}
