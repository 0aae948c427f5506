//! What one fetch request reads.

use crate::budget::Charge;
use crate::dispatch::Context;
use crate::errors;
use crate::link::Deadline;
use crate::partition::Partition;
use crate::progress::{Stopped, Waiting};
use crate::response::FileOf;
use highwater_env::Env;
use highwater_log::{ReadError, ReadSlice};
use highwater_types::{LeaderEpoch, Offset, PartitionIndex, TopicId, mutant};
use highwater_wire::messages::{FetchPartition, FetchRequest, LeaderIdAndEpoch, PartitionData};
use highwater_wire::{ErrorCode, Str};
use smallvec::SmallVec;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

const TOPIC_IDS_FROM: i16 = 13;
const READ_COMMITTED: i8 = 1;
/// What is read of a partition however little memory is left.
const LEAST_READ_BYTES: usize = 64 << 10;

/// What one request reads.
pub(super) struct Reading<E: Env> {
    context: Context<E>,
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
pub(super) struct Found<F> {
    pub(super) partitions: SmallVec<[(PartitionData, Option<ReadSlice<F>>); 1]>,
    pub(super) bytes: usize,
    /// For those of them that are in memory.
    pub(super) charge: Option<Charge>,
    /// Something that the client must know at once.
    urgent: bool,
}

/// What to do for one partition.
enum Plan<'a, E: Env> {
    /// The answer is known.
    Known(PartitionData),
    /// Read from the offset wanted up to `end`.
    Read { partition: &'a Arc<Partition<E>>, data: PartitionData, end: Offset, max_bytes: usize },
}

impl<F> Found<F> {
    fn new() -> Self {
        Self { partitions: SmallVec::new(), bytes: 0, charge: None, urgent: false }
    }

    /// Whether this is to be answered without waiting for more.
    pub(super) fn is_due(&self, min_bytes: usize) -> bool {
        self.urgent || self.bytes >= min_bytes || self.partitions.is_empty()
    }
}

impl<E: Env> Reading<E> {
    pub(super) fn new(context: Context<E>, request: &FetchRequest) -> Self {
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

    /// The request's connection and header.
    pub(super) fn context(&self) -> &Context<E> {
        &self.context
    }

    /// The most bytes that the answer may have, but for a first batch that is larger.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The topics in the request's order, with the number of partitions wanted of each.
    pub(super) fn topics(&self) -> impl Iterator<Item = (TopicId, &Str, usize)> {
        self.topics.iter().map(|topic| (topic.id, &topic.name, topic.partitions.len()))
    }

    fn parts(&self) -> impl Iterator<Item = &PartitionPart<E>> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Reads what there is now, if that needs no look at the disk.
    pub(super) fn read_at_once(&self) -> Option<Found<FileOf<E>>> {
        let mut found = Found::new();
        for part in self.parts() {
            let (data, slice) = match self.plan(part, &found) {
                Plan::Known(data) => (data, None),
                Plan::Read { partition, data, end, max_bytes } => {
                    let first = found.bytes == 0;
                    let read = partition.log().read_at_once(part.offset, end, max_bytes, first)?;
                    self.take(part, partition, data, read)
                }
            };
            self.add(&mut found, part, data, slice);
        }
        Some(found)
    }

    /// Reads what there is now.
    pub(super) async fn read(&self) -> Found<FileOf<E>> {
        let mut found = Found::new();
        for part in self.parts() {
            let (data, slice) = match self.plan(part, &found) {
                Plan::Known(data) => (data, None),
                Plan::Read { partition, data, end, max_bytes } => {
                    let first = found.bytes == 0;
                    let read = match partition.log().read_at_once(part.offset, end, max_bytes, first) {
                        Some(read) => read,
                        // Boxed because it is rare: every parked fetch would have room for it.
                        None => Box::pin(partition.log().read(part.offset, end, max_bytes, first)).await,
                    };
                    self.take(part, partition, data, read)
                }
            };
            self.add(&mut found, part, data, slice);
        }
        found
    }

    /// What to do for a partition after what was `found` for those before it. The first batch is taken whatever its
    /// size, so that a reader never stands still.
    fn plan<'a>(&self, part: &'a PartitionPart<E>, found: &Found<FileOf<E>>) -> Plan<'a, E> {
        let partition = match &part.partition {
            Ok(partition) => partition,
            Err(error_code) => return Plan::Known(failed(*error_code)),
        };
        let stopped = partition.progress().stopped();
        if stopped == Some(Stopped::Closed) {
            return Plan::Known(failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        }
        if let Some(data) = check_epoch(&self.context, partition, part.epoch) {
            return Plan::Known(data);
        }
        // Looked at once: what is said to the client and how far is read must agree.
        let high_watermark = partition.high_watermark();
        let last_stable_offset = partition.last_stable_offset().min(high_watermark);
        let end = if self.committed { last_stable_offset } else { high_watermark };
        let mut data = PartitionData {
            high_watermark,
            last_stable_offset,
            log_start_offset: partition.log().start_offset(),
            // Null says that the read was not a committed one.
            aborted_transactions: self.committed.then(Vec::new),
            ..PartitionData::default()
        };
        let end = if mutant!("hw-read-twice") { partition.log().end_offset() } else { end };
        if part.offset == end && part.offset >= data.log_start_offset {
            // What was durable can still be read; what comes after it never will.
            data.error_code = stopped.map_or(ErrorCode::NONE, errors::of_stopped);
            return Plan::Known(data);
        }
        // While memory is short less of it is asked for; that the bytes may not come from memory is not known yet.
        let spare = self.context.shared.budget.left().max(LEAST_READ_BYTES);
        let max_bytes = part.max_bytes.min(self.max_bytes.saturating_sub(found.bytes)).min(spare);
        if max_bytes == 0 && found.bytes > 0 {
            return Plan::Known(data);
        }
        Plan::Read { partition, data, end, max_bytes }
    }

    /// What came of reading a partition.
    fn take(
        &self,
        part: &PartitionPart<E>,
        partition: &Partition<E>,
        mut data: PartitionData,
        read: Result<ReadSlice<FileOf<E>>, ReadError>,
    ) -> (PartitionData, Option<ReadSlice<FileOf<E>>>) {
        match read {
            Ok(slice) => return (data, Some(slice).filter(|slice| !slice.is_empty())),
            // Between the high watermark and the end there is something that may not be seen yet.
            Err(ReadError::OutOfRange { start, end }) if part.offset >= start && part.offset <= end => {}
            Err(error) => {
                note(&self.context, partition, &error);
                data.error_code = errors::of_read(&error);
            }
        }
        (data, None)
    }

    fn add(
        &self,
        found: &mut Found<FileOf<E>>,
        part: &PartitionPart<E>,
        mut data: PartitionData,
        slice: Option<ReadSlice<FileOf<E>>>,
    ) {
        if let Some(ReadSlice::Checked(bytes)) = &slice {
            match &mut found.charge {
                Some(charge) => charge.overdraw(bytes.len()),
                None => found.charge = Some(self.context.shared.budget.overdraw(bytes.len())),
            }
        }
        data.partition_index = part.index;
        // Waiting for a partition that has stopped would end at once, again and again.
        let stopped = part.partition.as_ref().is_ok_and(|partition| partition.progress().stopped().is_some());
        found.urgent |= stopped || data.error_code != ErrorCode::NONE;
        found.bytes += slice.as_ref().map_or(0, ReadSlice::len);
        found.partitions.push((data, slice));
    }

    /// Waits until one of the partitions has more than was found, or the deadline.
    pub(super) async fn wait(&self, found: &Found<FileOf<E>>, deadline: &Deadline) {
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
