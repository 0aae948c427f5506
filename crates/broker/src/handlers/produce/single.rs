//! A produce request of one small batch for one partition, which is what clients send that do not batch.
//!
//! What it does is what every produce request does, by the same functions; what it lacks is everything that a request
//! of any shape needs: decoded structs, a future of its own, references to what all connections share. A request that
//! is not plain, or that is going to be refused before its batch is in line, takes the general way.

use super::part::Part;
use super::{ACKS_ALL, ACKS_LEADER, check_here, find};
use crate::budget::Charge;
use crate::directory::Routing;
use crate::link::Link;
use crate::state::Shared;
use bytes::Bytes;
use highwater_env::Env;
use highwater_types::{Instant, Timestamp};
use highwater_wire::messages::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use highwater_wire::{ApiKey, ProduceTopic, SingleProduce, Str, append_response};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What requests that were read from a connection at once have in common.
pub(crate) struct Burst<E: Env> {
    routing: Arc<Routing<E>>,
    now: Timestamp,
}

impl<E: Env> Burst<E> {
    /// As of now. Not to be kept: see [`crate::directory::Directory::load`].
    pub(crate) fn new(shared: &Shared<E>) -> Self {
        Self { routing: shared.directory.load(), now: shared.env.clock().wall() }
    }
}

/// One such request, in work.
pub(crate) struct Single<E: Env> {
    part: Part<E>,
    response: PartitionProduceResponse,
    /// What its frame takes of the memory of all connections, until the batch is in its log.
    charge: Option<Arc<Charge>>,
    correlation_id: i32,
    timeout_ms: i32,
    version: i16,
    acks: i16,
    stage: Stage,
    begun: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    InLine,
    /// Its batch is in the log; until when the high watermark is waited for.
    Waiting(Instant),
    Done,
}

impl<E: Env> Single<E> {
    /// Puts the batch of such a request in line. Gives frame and charge back if the general way is the one to take.
    pub(crate) fn begin(
        burst: &Burst<E>,
        begun: Instant,
        frame: Bytes,
        charge: Option<Arc<Charge>>,
    ) -> Result<Self, (Bytes, Option<Arc<Charge>>)> {
        let Some(request) = SingleProduce::read(&frame) else { return Err((frame, charge)) };
        let Some(part) = line_up(burst, &frame, &request) else { return Err((frame, charge)) };
        Ok(Self {
            part,
            response: PartitionProduceResponse { index: request.partition, ..Default::default() },
            charge,
            correlation_id: request.correlation_id,
            timeout_ms: request.timeout_ms,
            version: request.version,
            acks: request.acks,
            stage: Stage::InLine,
            begun,
        })
    }

    /// Whether its batch is not in its log, and not refused.
    pub(crate) fn is_in_line(&self) -> bool {
        self.stage == Stage::InLine
    }

    /// Whether its answer is known.
    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// When it was begun.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Ready when it is done. Not to be called after that.
    pub(crate) fn poll(&mut self, shared: &Shared<E>, link: &Link, cx: &mut Context<'_>) -> Poll<()> {
        if self.stage == Stage::InLine {
            ready!(self.part.poll_appended(self.acks, &shared.metrics, &mut self.response, cx));
            // The batch is written: its bytes are needed no more.
            self.charge = None;
            let timeout = Duration::from_millis(u64::try_from(self.timeout_ms).unwrap_or(0));
            self.stage = Stage::Waiting(link.now().after(timeout));
        }
        if let Stage::Waiting(deadline) = self.stage
            && self.part.poll_reached(cx).is_pending()
        {
            ready!(link.poll_passed(deadline));
        }
        self.part.finish(&shared.env, self.acks, &mut self.response);
        self.stage = Stage::Done;
        Poll::Ready(())
    }

    /// Puts the answer behind what stands in `onto`.
    pub(crate) fn answer(self, form: &mut Form, onto: &mut Vec<u8>) -> Result<(), String> {
        let partition = self.part.partition();
        let [topic] = &mut form.0.responses[..] else { unreachable!("a form has one topic") };
        if topic.name != *partition.topic_name() {
            topic.name = partition.topic_name().clone();
        }
        topic.topic_id = partition.id().topic;
        topic.partition_responses.clear();
        topic.partition_responses.push(self.response);
        append_response(onto, self.correlation_id, ApiKey::PRODUCE, self.version, &form.0)
            .map_err(|error| format!("the answer cannot be encoded: {error}"))
    }
}

/// The answer that was encoded last, for its memory.
pub(crate) struct Form(ProduceResponse);

impl Default for Form {
    fn default() -> Self {
        let topic = TopicProduceResponse { name: Str::new(), ..Default::default() };
        Self(ProduceResponse { responses: vec![topic], ..Default::default() })
    }
}

fn line_up<E: Env>(burst: &Burst<E>, frame: &Bytes, request: &SingleProduce<'_>) -> Option<Part<E>> {
    if !matches!(request.acks, ACKS_LEADER | ACKS_ALL) {
        return None;
    }
    let topic = match request.topic {
        ProduceTopic::Name(name) => burst.routing.topic(name)?,
        ProduceTopic::Id(id) => burst.routing.topic_by_id(id)?,
    };
    let (partition, epoch) = find(request.acks, false, topic, request.partition).ok()?;
    let records = request.records.clone();
    if topic.rules.is_heavy(&frame[records.clone()]) {
        return None;
    }
    let batch = check_here(&topic.rules, request.version, frame.slice(records), burst.now).ok()?;
    Some(Part::new(partition.enqueue(batch), epoch))
}
