//! Fetch, versions 4 to 18, for consumers.
//!
//! There are no fetch sessions yet: session id 0 is always answered, so that clients send full fetches. A request that
//! waits for data is parked with the partitions it reads, is woken once per group commit, and has the connection's timer
//! for its deadline. Records that this process appended lately are sent from their file; others are read, checked and
//! sent from memory. Follower fetches and diverging epochs come with replication.

use crate::budget::Charge;
use crate::dispatch::Context;
use crate::errors;
use crate::partition::Partition;
use crate::progress::{Stopped, Waiting};
use crate::response::{Answer, FileOf, FileRange, Outcome};
use bytes::Bytes;
use highwater_env::Env;
use highwater_log::{ReadError, ReadSlice};
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use highwater_wire::messages::{
    FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use highwater_wire::{ApiKey, ErrorCode, Message, Records, Str};
use smallvec::SmallVec;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

const TOPIC_IDS_FROM: i16 = 13;
const READ_COMMITTED: i8 = 1;
/// What is read of a partition however little memory is left.
const LEAST_READ_BYTES: usize = 64 << 10;
/// The longest that a fetch waits, whatever it asks for: a connection whose peer is gone is found out that way.
const MAX_WAIT: Duration = Duration::from_secs(300);

pub(crate) fn begin<E: Env>(context: Context<E>, body: Bytes, charge: Option<Charge>) -> Answer<E> {
    let request = match FetchRequest::decode_body(body, context.version()) {
        Ok(request) => request,
        Err(error) => return Answer::close(error.to_string()),
    };
    // A full fetch has epoch 0 (and would like a session) or -1 (and would not). Any other is of a session that was never
    // given.
    if request.session_epoch > 0 {
        let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
        return Answer::Ready(context.respond(&FetchResponse { error_code, ..FetchResponse::default() }));
    }
    Answer::Pending { work: Box::pin(fetch(context, request, charge)), finish: false }
}

async fn fetch<E: Env>(context: Context<E>, request: FetchRequest, charge: Option<Charge>) -> Outcome<E> {
    let reading = Reading::new(&context, &request);
    // Topic names that are kept are the directory's or copies: the frame is needed no more.
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    // No more than can be given is waited for.
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(reading.max_bytes);
    drop((request, charge));
    let deadline = context.link.deadline(context.begun.after(wait));
    let mut found = reading.read().await;
    if !found.is_due(min_bytes) && !wait.is_zero() {
        context.shared.metrics.fetches_parked.one();
        while !found.is_due(min_bytes) && deadline.poll_passed().is_pending() {
            reading.wait(&found, &deadline).await;
            found = reading.read().await;
        }
    }
    let metrics = &context.shared.metrics;
    metrics.fetched_bytes.add(found.bytes as u64);
    let outcome = reading.respond(found);
    metrics.fetch_time.record(context.shared.env.clock().now().since(context.begun));
    outcome
}

/// What one request reads.
struct Reading<'a, E: Env> {
    context: &'a Context<E>,
    committed: bool,
    max_bytes: usize,
    topics: SmallVec<[TopicPart<E>; 1]>,
}

struct TopicPart<E: Env> {
    id: TopicId,
    name: Str,
    partitions: SmallVec<[PartitionPart<E>; 1]>,
}

struct PartitionPart<E: Env> {
    index: PartitionIndex,
    offset: Offset,
    max_bytes: usize,
    /// The epoch that the client believes in.
    epoch: LeaderEpoch,
    partition: Result<Arc<Partition<E>>, ErrorCode>,
}

/// What was found for a request, in its order.
struct Found<F> {
    partitions: SmallVec<[(PartitionData, Option<ReadSlice<F>>); 1]>,
    bytes: usize,
    /// For those of them that are in memory.
    charge: Option<Charge>,
    /// Something that the client must know at once.
    urgent: bool,
}

impl<F> Found<F> {
    fn is_due(&self, min_bytes: usize) -> bool {
        self.urgent || self.bytes >= min_bytes || self.partitions.is_empty()
    }
}

impl<'a, E: Env> Reading<'a, E> {
    fn new(context: &'a Context<E>, request: &FetchRequest) -> Self {
        let routing = context.shared.directory.load();
        let by_id = context.version() >= TOPIC_IDS_FROM;
        let topics = request
            .topics
            .iter()
            .map(|wanted| {
                let topic =
                    if by_id { routing.topic_by_id(wanted.topic_id) } else { routing.topic(&wanted.topic) };
                let find = |index| match topic.map(|topic| topic.partition(index)) {
                    Some(Some(Some(partition))) => Ok(Arc::clone(partition)),
                    Some(Some(None)) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
                    None if by_id => Err(ErrorCode::UNKNOWN_TOPIC_ID),
                    _ => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                };
                TopicPart {
                    id: wanted.topic_id,
                    name: topic.map_or_else(|| Str::from(&*wanted.topic), |topic| topic.name.clone()),
                    partitions: wanted
                        .partitions
                        .iter()
                        .map(|part| PartitionPart::new(part, &find))
                        .collect(),
                }
            })
            .collect();
        let ours = context.shared.settings.fetch_max_bytes;
        Self {
            context,
            committed: request.isolation_level == READ_COMMITTED,
            max_bytes: usize::try_from(request.max_bytes.min(ours)).unwrap_or(0),
            topics,
        }
    }

    fn parts(&self) -> impl Iterator<Item = &PartitionPart<E>> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Reads what there is now. The first batch is taken whatever its size, so that a reader never stands still.
    async fn read(&self) -> Found<FileOf<E>> {
        let mut found = Found { partitions: SmallVec::new(), bytes: 0, charge: None, urgent: false };
        for part in self.parts() {
            let room = self.max_bytes.saturating_sub(found.bytes);
            let (mut data, slice) = self.read_part(part, room, found.bytes == 0).await;
            if let Some(ReadSlice::Checked(bytes)) = &slice {
                match &mut found.charge {
                    Some(charge) => charge.overdraw(bytes.len()),
                    None => found.charge = Some(self.context.shared.budget.overdraw(bytes.len())),
                }
            }
            data.partition_index = part.index;
            // Waiting for a partition that has stopped would end at once, again and again.
            let stopped =
                part.partition.as_ref().is_ok_and(|partition| partition.progress().stopped().is_some());
            found.urgent |= stopped || data.error_code != ErrorCode::NONE;
            found.bytes += slice.as_ref().map_or(0, ReadSlice::len);
            found.partitions.push((data, slice));
        }
        found
    }

    async fn read_part(
        &self,
        part: &PartitionPart<E>,
        room: usize,
        first: bool,
    ) -> (PartitionData, Option<ReadSlice<FileOf<E>>>) {
        let partition = match &part.partition {
            Ok(partition) => partition,
            Err(error_code) => return (failed(*error_code), None),
        };
        if let Some(data) = check_epoch(self.context, partition, part.epoch) {
            return (data, None);
        }
        // Looked at once: what is said to the client and how far is read must agree.
        let high_watermark = partition.high_watermark();
        let end =
            if self.committed { partition.last_stable_offset().min(high_watermark) } else { high_watermark };
        let mut data = PartitionData {
            high_watermark,
            last_stable_offset: partition.last_stable_offset().min(high_watermark),
            log_start_offset: partition.log().start_offset(),
            // Null says that the read was not a committed one.
            aborted_transactions: self.committed.then(Vec::new),
            ..PartitionData::default()
        };
        // While memory is short less of it is asked for; that the bytes may not come from memory is not known yet.
        let spare = self.context.shared.budget.left().max(LEAST_READ_BYTES);
        let max_bytes = part.max_bytes.min(room).min(spare);
        let stopped = partition.progress().stopped();
        if stopped == Some(Stopped::Closed) {
            return (failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), None);
        }
        let at_end = part.offset == end && part.offset >= data.log_start_offset;
        if at_end && let Some(stopped) = stopped {
            // What was durable can still be read; what comes after it never will.
            data.error_code = errors::of_stopped(stopped);
        }
        if at_end || (max_bytes == 0 && !first) {
            return (data, None);
        }
        match partition.log().read(part.offset, end, max_bytes, first).await {
            Ok(slice) => (data, Some(slice).filter(|slice| !slice.is_empty())),
            // Between the high watermark and the end there is something that may not be seen yet.
            Err(ReadError::OutOfRange { start, end }) if part.offset >= start && part.offset <= end => {
                (data, None)
            }
            Err(error) => {
                note(self.context, partition, &error);
                data.error_code = errors::of_read(&error);
                (data, None)
            }
        }
    }

    /// Waits until one of the partitions has more than was found, or the deadline.
    async fn wait(&self, found: &Found<FileOf<E>>, deadline: &crate::link::Deadline) {
        let mut waits: SmallVec<[Waiting<E>; 1]> = self
            .parts()
            .zip(&found.partitions)
            .filter_map(|(part, (data, _))| {
                let partition = part.partition.as_ref().ok()?;
                Some(Waiting::new(Arc::clone(partition.progress()), data.high_watermark.next()))
            })
            .collect();
        poll_fn(|cx| {
            let mut any = false;
            for waiting in &mut waits {
                any |= waiting.poll(cx).is_ready();
            }
            if any { Poll::Ready(()) } else { deadline.poll_passed() }
        })
        .await;
    }

    fn respond(&self, found: Found<FileOf<E>>) -> Outcome<E> {
        let mut files: SmallVec<[FileRange<FileOf<E>>; 1]> = SmallVec::new();
        let charge = found.charge;
        let mut partitions = found.partitions.into_iter().map(|(data, slice)| {
            let records = match slice {
                None => Records::EMPTY,
                Some(ReadSlice::Checked(bytes)) => Records::Bytes(bytes),
                Some(ReadSlice::Verified { file, position, length }) => {
                    let id = u32::try_from(files.len()).expect("a request has fewer partitions than that");
                    files.push(FileRange { file, position, length });
                    Records::External {
                        id,
                        length: u32::try_from(length).expect("a read is bounded by 31 bits"),
                    }
                }
            };
            PartitionData { records, ..data }
        });
        let responses = self
            .topics
            .iter()
            .map(|topic| FetchableTopicResponse {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partitions: partitions.by_ref().take(topic.partitions.len()).collect(),
            })
            .collect();
        drop(partitions);
        let body = FetchResponse { responses, ..FetchResponse::default() };
        match self.context.encode(ApiKey::FETCH, self.context.version(), &body) {
            Ok(mut response) => {
                response.files = files;
                response.charge = charge;
                Outcome::Respond(response)
            }
            Err(reason) => Outcome::Close(reason),
        }
    }
}

impl<E: Env> PartitionPart<E> {
    fn new(
        wanted: &FetchPartition,
        find: &impl Fn(PartitionIndex) -> Result<Arc<Partition<E>>, ErrorCode>,
    ) -> Self {
        Self {
            index: wanted.partition,
            offset: wanted.fetch_offset,
            max_bytes: usize::try_from(wanted.partition_max_bytes).unwrap_or(0),
            epoch: wanted.current_leader_epoch,
            partition: find(wanted.partition),
        }
    }
}

fn failed(error_code: ErrorCode) -> PartitionData {
    PartitionData { error_code, high_watermark: Offset(-1), ..PartitionData::default() }
}

/// What a client is told that believes in another epoch than the partition's (KIP-320).
fn check_epoch<E: Env>(
    context: &Context<E>,
    partition: &Partition<E>,
    believed: LeaderEpoch,
) -> Option<PartitionData> {
    let code = errors::of_epoch(partition.leader_epoch(), believed)?;
    let mut data = failed(code);
    data.current_leader =
        LeaderIdAndEpoch { leader_id: context.shared.config.node_id, leader_epoch: partition.leader_epoch() };
    Some(data)
}

fn note<E: Env>(context: &Context<E>, partition: &Partition<E>, error: &ReadError) {
    match error {
        ReadError::Damaged { .. } => {
            context.shared.metrics.damage_met.one();
            tracing::error!(log = %partition.id(), %error, "damaged records were asked for and not served");
        }
        ReadError::Io(_) => tracing::error!(log = %partition.id(), %error, "a read failed"),
        _ => {}
    }
}
