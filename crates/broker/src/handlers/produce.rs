//! Produce, versions 3 to 13; 0 to 2 are advertised and refused, see [`super::produce_old`].
//!
//! A request of one batch for one partition is read and answered in a form of its own ([`single`]), any other by the
//! general one; what they do with a batch is the same ([`part`]).
//!
//! Batches of one connection are put in line for their partitions in the order of its requests, and all that are in
//! line for one partition are appended together: the first request that gets round to it does so for the others. A
//! request of another kind is not begun before those in front of it are in their logs. The answer to acks=1 is given
//! then, to acks=-1 once the high watermark has passed the batches, to acks=0 never; an error at acks=0 closes the
//! connection, which is all that can be told.
//!
//! Transactional batches are refused with INVALID_TXN_STATE, as Kafka does where no transaction is going on: there are
//! no transactions yet, and InitProducerId gives no transactional producer.

mod part;
mod refused;
mod single;

use crate::budget::Charge;
use crate::dispatch::Context;
use crate::handlers::endpoints::endpoints;
use crate::link::Hold;
use crate::partition::Partition;
use crate::response::{Answer, Outcome};
use crate::topic::{Topic, TopicRules};
use bytes::Bytes;
use highwater_env::Env;
use highwater_metadata::is_internal_topic;
use highwater_records::{Batch, BatchError, ProduceRules, recompress, validate_produced};
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp, mutant};
use highwater_wire::messages::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use highwater_wire::{ErrorCode, Message, Records, Str};
use part::Part;
use refused::Refused;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub(crate) use single::{Burst, Form, Single};

const FIRST_VERSION: i16 = 3;
const TOPIC_IDS_FROM: i16 = 13;
const ACKS_NONE: i16 = 0;
const ACKS_LEADER: i16 = 1;
const ACKS_ALL: i16 = -1;

pub(crate) fn begin<E: Env>(context: Context<E>, body: Bytes, charge: Option<Arc<Charge>>) -> Answer<E> {
    if context.version() < FIRST_VERSION {
        return super::produce_old::refuse(&context, body);
    }
    match ProduceRequest::decode_body(body, context.version()) {
        Ok(request) => {
            let mut production = Production {
                held: Some((context.link.hold(), charge)),
                responses: Vec::with_capacity(request.topic_data.len()),
                parts: SmallVec::new(),
                context,
                request,
            };
            Answer::Pending { work: Box::pin(async move { production.run().await }), finish: true }
        }
        Err(error) => Answer::close(error.to_string()),
    }
}

/// One request. All that its future keeps stands here once, and what is passed on is passed by reference: the future of
/// every request fits what the allocator has at hand that way.
struct Production<E: Env> {
    context: Context<E>,
    request: ProduceRequest,
    /// What is given back when all batches are in their logs: the next request's turn, and the memory of this one.
    held: Option<(Hold, Option<Arc<Charge>>)>,
    responses: Vec<TopicProduceResponse>,
    parts: SmallVec<[Place<E>; 1]>,
}

/// A batch, and where its answer is.
struct Place<E: Env> {
    topic: u32,
    partition: u32,
    part: Part<E>,
}

impl<E: Env> Production<E> {
    async fn run(&mut self) -> Outcome<E> {
        self.line_up().await;
        if let Some((hold, _)) = &mut self.held {
            hold.line_up();
        }
        if !self.parts.is_empty() {
            // The requests that came with this one get in line, too.
            yield_once().await;
            self.append().await;
        }
        // The batches are written: their bytes are needed no more.
        self.held = None;
        if self.request.acks == ACKS_ALL && !mutant!("ack-before-isr") {
            self.wait().await;
        }
        self.finish()
    }

    /// Checks all batches and puts those that are good in line.
    async fn line_up(&mut self) {
        for topic_index in 0..self.request.topic_data.len() {
            let routing = self.context.shared.directory.load();
            let data = &self.request.topic_data[topic_index];
            let by_id = self.context.version() >= TOPIC_IDS_FROM;
            let topic = if by_id { routing.topic_by_id(data.topic_id) } else { routing.topic(&data.name) };
            self.responses.push(TopicProduceResponse {
                // The name of a known topic is shared; that of another is copied, so that the frame is not kept.
                name: topic.map_or_else(|| Str::from(&*data.name), |topic| topic.name.clone()),
                topic_id: data.topic_id,
                partition_responses: Vec::with_capacity(data.partition_data.len()),
            });
            for partition_index in 0..data.partition_data.len() {
                let result = match topic {
                    Some(topic) => self.line_up_part(topic, topic_index, partition_index).await,
                    None if by_id => Err(ErrorCode::UNKNOWN_TOPIC_ID.into()),
                    None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into()),
                };
                let index = self.request.topic_data[topic_index].partition_data[partition_index].index;
                let mut response = PartitionProduceResponse { index, ..PartitionProduceResponse::default() };
                if let Err(refused) = result {
                    self.context.shared.metrics.produce_refused.one();
                    if refused.is_cut_off {
                        // Some clients ask whom they are connected to who leads, and would be sent here again.
                        self.context.link.wind_up();
                    }
                    refused.tell(&mut response);
                }
                self.responses[topic_index].partition_responses.push(response);
            }
        }
        // Slices of the frame, which only the batches need from here on.
        self.request.topic_data = Vec::new();
        self.context.header.client_id = None;
    }

    async fn line_up_part(
        &mut self,
        topic: &Topic<E>,
        topic_index: usize,
        partition_index: usize,
    ) -> Result<(), Refused> {
        let index = self.request.topic_data[topic_index].partition_data[partition_index].index;
        let (partition, epoch) =
            find(self.request.acks, self.request.transactional_id.is_some(), topic, index)?;
        // What is awaited is made in its place: a variable of its own would be kept in the future beside it.
        let batch = {
            let data = &mut self.request.topic_data[topic_index].partition_data[partition_index];
            check(&self.context, &topic.rules, std::mem::take(&mut data.records)).await?
        };
        self.parts.push(Place {
            topic: u32::try_from(topic_index).expect("a frame has fewer topics than that"),
            partition: u32::try_from(partition_index).expect("a frame has fewer partitions than that"),
            part: Part::new(partition.enqueue(batch), epoch),
        });
        Ok(())
    }

    /// Waits until all of them are in their logs, or refused.
    async fn append(&mut self) {
        let (acks, metrics) = (self.request.acks, &self.context.shared.metrics);
        for Place { topic, partition, part } in &mut self.parts {
            let response = &mut self.responses[*topic as usize].partition_responses[*partition as usize];
            poll_fn(|cx| part.poll_appended(acks, metrics, response, cx)).await;
        }
    }

    /// Waits for all of them, for a time.
    async fn wait(&mut self) {
        let timeout = Duration::from_millis(u64::try_from(self.request.timeout_ms).unwrap_or(0));
        let link = &self.context.link;
        let deadline = link.now().after(timeout);
        poll_fn(|cx| {
            let mut all = true;
            for place in &mut self.parts {
                all &= place.part.poll_reached(cx).is_ready();
            }
            if all { Poll::Ready(()) } else { link.poll_passed(deadline) }
        })
        .await;
    }

    fn finish(&mut self) -> Outcome<E> {
        let (shared, acks) = (&self.context.shared, self.request.acks);
        for Place { topic, partition, part } in &self.parts {
            let response = &mut self.responses[*topic as usize].partition_responses[*partition as usize];
            part.finish(&shared.env, acks, response);
        }
        shared.metrics.produce_time.record(shared.env.clock().now().since(self.context.begun));
        let mut responses = std::mem::take(&mut self.responses);
        if acks == ACKS_NONE {
            return silent(&responses);
        }
        let leaders = name_leaders(&self.context, &mut responses);
        let node_endpoints = endpoints(&self.context, leaders.into_iter());
        self.context.respond(&ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() })
    }
}

/// Tells the client whom to ask instead, where this node does not lead; returns those it is told of.
fn name_leaders<E: Env>(context: &Context<E>, responses: &mut [TopicProduceResponse]) -> BTreeSet<BrokerId> {
    let mut leaders = BTreeSet::new();
    for topic in responses {
        for partition in &mut topic.partition_responses {
            if partition.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER {
                let routing = context.shared.directory.load();
                let known = routing.topic_by_id(topic.topic_id).or_else(|| routing.topic(&topic.name));
                let Some(known) = known else { continue };
                let leader = known.leader(partition.index);
                // Who leads as far as it knows itself, and is cut off, does not know whom to ask.
                if leader.leader_id != context.shared.config.node_id {
                    leaders.insert(leader.leader_id);
                    partition.current_leader = leader;
                }
            }
        }
    }
    leaders
}

/// Lets the connection begin what else has come, and goes on then.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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

/// The partition that a batch is for, if the batch may go there at all.
fn find<E: Env>(
    acks: i16,
    transactional: bool,
    topic: &Topic<E>,
    index: PartitionIndex,
) -> Result<(&Arc<Partition<E>>, LeaderEpoch), Refused> {
    if !matches!(acks, ACKS_NONE | ACKS_LEADER | ACKS_ALL) {
        return Err(Refused::new(ErrorCode::INVALID_REQUIRED_ACKS, "acks must be 0, 1 or -1"));
    }
    if transactional {
        return Err(Refused::transactional());
    }
    let partition = match topic.partition(index) {
        Some(Some(partition)) => partition,
        Some(None) => return Err(topic.absence(index).into()),
        None => return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into()),
    };
    if is_internal_topic(&topic.name) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION.into());
    }
    let epoch = partition.leading().ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    if acks == ACKS_ALL && partition.progress().is_cut_off() {
        return Err(Refused::cut_off());
    }
    if acks == ACKS_ALL && topic.lacks_replicas(index) {
        let message = "fewer replicas are in sync than min.insync.replicas asks for";
        return Err(Refused::new(ErrorCode::NOT_ENOUGH_REPLICAS, message));
    }
    Ok((partition, epoch))
}

/// Checks a client's batch, and changes its codec where the topic asks for another.
async fn check<E: Env>(context: &Context<E>, topic: &TopicRules, records: Records) -> Result<Batch, Refused> {
    let Records::Bytes(records) = records else { return Err(BatchError::Empty.into()) };
    let now = context.shared.env.clock().wall();
    if topic.is_heavy(&records) {
        // Boxed because it is rare: the future of every request would have room for it.
        return plain(Box::pin(check_elsewhere(context, topic, records, now)).await?);
    }
    check_here(topic, context.version(), records, now)
}

/// [`check`] for a batch that is not heavy.
fn check_here(
    topic: &TopicRules,
    produce_version: i16,
    records: Bytes,
    now: Timestamp,
) -> Result<Batch, Refused> {
    plain(check_and_convert(records, topic.at(produce_version, now), topic.compression)?)
}

/// The batch, if it is of no transaction.
fn plain(batch: Batch) -> Result<Batch, Refused> {
    if batch.header().attributes.is_transactional() {
        return Err(Refused::transactional());
    }
    Ok(batch)
}

async fn check_elsewhere<E: Env>(
    context: &Context<E>,
    topic: &TopicRules,
    records: Bytes,
    now: Timestamp,
) -> Result<Batch, BatchError> {
    let (rules, compression) = (topic.at(context.version(), now), topic.compression);
    context.shared.env.compute(move || check_and_convert(records, rules, compression)).await
}

fn check_and_convert(
    records: Bytes,
    rules: ProduceRules,
    compression: Option<highwater_records::Codec>,
) -> Result<Batch, BatchError> {
    let Some(codec) = compression else { return validate_produced(records, &rules) };
    let batch = validate_produced(records.clone(), &rules)?;
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
