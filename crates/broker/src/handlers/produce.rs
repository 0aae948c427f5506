//! Produce, versions 3 to 13; 0 to 2 are advertised and refused, see [`super::produce_old`].
//!
//! Appends of one connection happen in the order of its requests: the next request is not begun before all batches of
//! this one are in their logs. The answer to acks=1 is given then, to acks=-1 once the high watermark has passed the
//! batches, to acks=0 never; an error at acks=0 closes the connection, which is all that can be told.
//!
//! Transactional batches are refused with INVALID_TXN_STATE, as Kafka does where no transaction is going on: there are
//! no transactions yet, and InitProducerId gives no transactional producer.

use crate::budget::Charge;
use crate::dispatch::Context;
use crate::errors;
use crate::partition::Partition;
use crate::progress::{Stopped, Waiting};
use crate::response::{Answer, Outcome};
use crate::topic::{Topic, TopicRules};
use bytes::Bytes;
use highwater_env::{Env, Event};
use highwater_metadata::is_internal_topic;
use highwater_records::{Batch, BatchError, ProduceRules, recompress, validate_produced};
use highwater_types::{Offset, PartitionIndex, Timestamp, mutant};
use highwater_wire::messages::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use highwater_wire::{ErrorCode, Message, Records, Str};
use smallvec::SmallVec;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

const FIRST_VERSION: i16 = 3;
const TOPIC_IDS_FROM: i16 = 13;
const ACKS_NONE: i16 = 0;
const ACKS_LEADER: i16 = 1;
const ACKS_ALL: i16 = -1;

pub(crate) fn begin<E: Env>(context: Context<E>, body: Bytes, charge: Option<Charge>) -> Answer<E> {
    if context.version() < FIRST_VERSION {
        return super::produce_old::refuse(&context, body);
    }
    match ProduceRequest::decode_body(body, context.version()) {
        Ok(request) => Answer::Pending { work: Box::pin(produce(context, request, charge)), finish: true },
        Err(error) => Answer::close(error.to_string()),
    }
}

async fn produce<E: Env>(context: Context<E>, request: ProduceRequest, charge: Option<Charge>) -> Outcome<E> {
    let hold = context.link.hold();
    let acks = request.acks;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut appends = Appends { context: &context, acks, waits: SmallVec::new() };
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for (index, topic) in request.topic_data.into_iter().enumerate() {
        responses.push(appends.topic(index, topic, request.transactional_id.is_some()).await);
    }
    let mut waits = appends.waits;
    // The batches are written: their bytes are needed no more, and the next request may come.
    drop((hold, charge));
    if acks == ACKS_ALL && !mutant!("ack-before-isr") {
        wait(&context, &mut waits, timeout).await;
    }
    for appended in &waits {
        let response = &mut responses[appended.topic].partition_responses[appended.partition];
        match appended.outcome {
            Poll::Ready(Ok(())) => context.shared.env.observe(&Event::Acknowledged {
                log: appended.log,
                base: response.base_offset,
                last: Offset(appended.end.0 - 1),
                acks,
            }),
            Poll::Ready(Err(stopped)) => fail(response, errors::of_stopped(stopped)),
            Poll::Pending => fail(response, ErrorCode::REQUEST_TIMED_OUT),
        }
    }
    context.shared.metrics.produce_time.record(context.shared.env.clock().now().since(context.begun));
    if acks == ACKS_NONE {
        return silent(&responses);
    }
    context.respond(&ProduceResponse { responses, ..ProduceResponse::default() })
}

/// The end of a request that wants no answer.
fn silent<E: Env>(responses: &[TopicProduceResponse]) -> Outcome<E> {
    let failed = responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .find(|partition| partition.error_code != ErrorCode::NONE);
    match failed {
        Some(partition) => Outcome::Close(format!(
            "a batch that was sent without waiting for an answer was refused: {}",
            partition.error_code.name()
        )),
        None => Outcome::Silent,
    }
}

fn fail(response: &mut PartitionProduceResponse, code: ErrorCode) {
    response.error_code = code;
    response.base_offset = Offset(-1);
}

/// A batch in its log, for which the answer may have to wait.
struct Appended<E: Env> {
    /// Where its answer is.
    topic: usize,
    partition: usize,
    log: highwater_types::LogId,
    end: Offset,
    waiting: Waiting<E>,
    outcome: Poll<Result<(), Stopped>>,
}

/// Waits for all of them, for a time.
async fn wait<E: Env>(context: &Context<E>, waits: &mut [Appended<E>], timeout: Duration) {
    let deadline = context.link.deadline(context.link.now().after(timeout));
    poll_fn(|cx| {
        let mut all = true;
        for appended in waits.iter_mut().filter(|appended| appended.outcome.is_pending()) {
            appended.outcome = appended.waiting.poll(cx);
            all &= appended.outcome.is_ready();
        }
        if all { Poll::Ready(()) } else { deadline.poll_passed() }
    })
    .await;
}

/// The batches of one request on their way into their logs.
struct Appends<'a, E: Env> {
    context: &'a Context<E>,
    acks: i16,
    waits: SmallVec<[Appended<E>; 1]>,
}

impl<E: Env> Appends<'_, E> {
    async fn topic(
        &mut self,
        topic_index: usize,
        data: TopicProduceData,
        transactional: bool,
    ) -> TopicProduceResponse {
        let by_id = self.context.version() >= TOPIC_IDS_FROM;
        let routing = self.context.shared.directory.load();
        let topic = if by_id { routing.topic_by_id(data.topic_id) } else { routing.topic(&data.name) };
        let unknown = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        let mut partition_responses = Vec::with_capacity(data.partition_data.len());
        for (index, partition) in data.partition_data.into_iter().enumerate() {
            let result = match topic {
                _ if !matches!(self.acks, ACKS_NONE | ACKS_LEADER | ACKS_ALL) => {
                    Err(Refused::new(ErrorCode::INVALID_REQUIRED_ACKS, "acks must be 0, 1 or -1"))
                }
                _ if transactional => Err(Refused::transactional()),
                Some(topic) => self.partition(topic, topic_index, index, &partition).await,
                None => Err(unknown.into()),
            };
            let index = partition.index;
            partition_responses.push(match result {
                Ok(response) => response,
                Err(refused) => {
                    self.context.shared.metrics.produce_refused.one();
                    refused.response(index)
                }
            });
        }
        // The name of a topic that there is is shared; that of another is copied, so that the frame is not kept.
        let name = topic.map_or_else(|| Str::from(&*data.name), |topic| topic.name.clone());
        TopicProduceResponse { name, topic_id: data.topic_id, partition_responses }
    }

    async fn partition(
        &mut self,
        topic: &Topic<E>,
        topic_index: usize,
        partition_index: usize,
        data: &PartitionProduceData,
    ) -> Result<PartitionProduceResponse, Refused> {
        let partition = match topic.partition(data.index) {
            Some(Some(partition)) => partition,
            Some(None) => return Err(ErrorCode::KAFKA_STORAGE_ERROR.into()),
            None => return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into()),
        };
        if is_internal_topic(&topic.name) {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION.into());
        }
        if self.acks == ACKS_ALL && topic.lacks_replicas(data.index) {
            let message = "fewer replicas are in sync than min.insync.replicas asks for";
            return Err(Refused::new(ErrorCode::NOT_ENOUGH_REPLICAS, message));
        }
        let Records::Bytes(records) = &data.records else { return Err(BatchError::Empty.into()) };
        let now = self.context.shared.env.clock().wall();
        let batch = check(self.context, &topic.rules, records.clone(), now).await?;
        let appended = append(self.context, partition, &batch, now).await?;
        self.waits.push(Appended {
            topic: topic_index,
            partition: partition_index,
            log: partition.id(),
            end: appended.end_offset,
            waiting: Waiting::new(Arc::clone(partition.progress()), appended.end_offset),
            outcome: match self.acks {
                ACKS_ALL if !mutant!("ack-before-isr") => Poll::Pending,
                _ => Poll::Ready(Ok(())),
            },
        });
        Ok(PartitionProduceResponse {
            index: data.index,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.append_time.unwrap_or(Timestamp::NONE),
            log_start_offset: partition.log().start_offset(),
            ..PartitionProduceResponse::default()
        })
    }
}

/// Checks a client's batch, and changes its codec where the topic asks for another.
async fn check<E: Env>(
    context: &Context<E>,
    topic: &TopicRules,
    records: Bytes,
    now: Timestamp,
) -> Result<Batch, Refused> {
    let rules = topic.at(context.version(), now);
    let batch = if topic.is_heavy(records.len()) {
        let (rules, compression) = (rules, topic.compression);
        // Boxed because it is rare: the future of every request would have room for it.
        Box::pin(context.shared.env.compute(move || check_and_convert(records, rules, compression))).await?
    } else {
        check_and_convert(records, rules, topic.compression)?
    };
    if batch.header().attributes.is_transactional() {
        return Err(Refused::transactional());
    }
    Ok(batch)
}

fn check_and_convert(
    records: Bytes,
    rules: ProduceRules,
    compression: Option<highwater_records::Codec>,
) -> Result<Batch, BatchError> {
    let batch = validate_produced(records.clone(), &rules)?;
    let Some(codec) = compression else { return Ok(batch) };
    if batch.header().attributes.codec()? == codec {
        return Ok(batch);
    }
    // What is packed anew is vouched for by a checksum of ours: every record must be sound.
    validate_produced(records, &ProduceRules { deep: true, ..rules })?;
    let batch = recompress(&batch, codec, rules.max_decompressed_bytes)?;
    let size = batch.header().size_bytes();
    if size > rules.max_message_bytes {
        return Err(BatchError::TooLarge { size, limit: rules.max_message_bytes });
    }
    Ok(batch)
}

async fn append<E: Env>(
    context: &Context<E>,
    partition: &Partition<E>,
    batch: &Batch,
    now: Timestamp,
) -> Result<highwater_log::Appended, Refused> {
    let appended = partition.log().append(batch, partition.leader_epoch(), now).await.map_err(|error| {
        let code = errors::of_append(&error);
        if code == ErrorCode::KAFKA_STORAGE_ERROR {
            tracing::warn!(log = %partition.id(), %error, "a batch was not appended");
        }
        Refused::new(code, &error.to_string())
    })?;
    partition.appended(appended.end_offset);
    let metrics = &context.shared.metrics;
    if appended.duplicate {
        metrics.produce_duplicates.one();
    } else {
        metrics.produced_batches.one();
        metrics.produced_records.add(u64::try_from(batch.header().record_count).unwrap_or(0));
        metrics.produced_bytes.add(batch.bytes().len() as u64);
    }
    Ok(appended)
}

/// Why a batch was not appended.
struct Refused {
    code: ErrorCode,
    message: Option<Str>,
    /// The record that it was for.
    record: Option<(i32, &'static str)>,
}

impl Refused {
    fn new(code: ErrorCode, message: &str) -> Self {
        Self { code, message: Some(Str::from(message)), record: None }
    }

    fn transactional() -> Self {
        Self::new(ErrorCode::INVALID_TXN_STATE, "this broker has no transactions yet")
    }

    fn response(self, index: PartitionIndex) -> PartitionProduceResponse {
        PartitionProduceResponse {
            index,
            error_code: self.code,
            base_offset: Offset(-1),
            error_message: self.message,
            record_errors: self
                .record
                .map(|(batch_index, reason)| BatchIndexAndErrorMessage {
                    batch_index,
                    batch_index_error_message: Some(Str::from_static(reason)),
                })
                .into_iter()
                .collect(),
            ..PartitionProduceResponse::default()
        }
    }
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, record: None }
    }
}

impl From<BatchError> for Refused {
    fn from(error: BatchError) -> Self {
        let record = match error {
            BatchError::InvalidRecord { index, reason } => Some((index, reason)),
            _ => None,
        };
        Self { code: errors::of_batch(&error), message: Some(Str::from(error.to_string())), record }
    }
}
