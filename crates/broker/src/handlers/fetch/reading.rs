//! What one fetch request reads.

use super::session::{Mode, lock};
use super::wanted::{self, Wanted};
use super::{TOPIC_IDS_FROM, failed};
use crate::budget::Charge;
use crate::dispatch::Context;
use crate::errors;
use crate::handlers::endpoints::endpoints;
use crate::link::Deadline;
use crate::partition::{FetchedBy, FollowerView, Partition};
use crate::progress::{Mark, Stopped, Waiting};
use crate::replication::is_limited;
use crate::response::FileOf;
use crate::topic::Topic;
use highwater_env::Env;
use highwater_log::{ReadError, ReadSlice};
use highwater_types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, mutant};
use highwater_wire::messages::fetch::EpochEndOffset;
use highwater_wire::messages::{FetchRequest, NodeEndpoint, PartitionData};
use highwater_wire::{ErrorCode, Str};
use smallvec::SmallVec;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// From this version on a consumer may read from any replica.
const ANY_REPLICA_FROM: i16 = 11;
const REPLICA_STATE_FROM: i16 = 15;
const READ_COMMITTED: i8 = 1;
/// What is read of a partition however little memory is left.
const LEAST_READ_BYTES: usize = 64 << 10;

/// What one request reads.
pub(super) struct Reading<E: Env> {
    context: Context<E>,
    mode: Mode,
    follower: Option<FollowerId>,
    /// How many bytes per second are served to followers that are throttled.
    throttled_rate: i64,
    /// The consumer's rack, if it may be sent to another replica.
    rack: Option<Str>,
    committed: bool,
    max_bytes: usize,
    topics: usize,
    parts: SmallVec<[PartitionPart<E>; 1]>,
}

/// The follower that fetches.
struct FollowerId {
    replica: BrokerId,
    /// Its incarnation, as it says, and as the metadata has it.
    broker_epoch: BrokerEpoch,
    registered: BrokerEpoch,
    /// Whether the metadata allows it to be in sync.
    live: bool,
}

pub(super) struct PartitionPart<E: Env> {
    pub(super) wanted: Wanted,
    topic: Option<Arc<Topic<E>>>,
    partition: Result<Arc<Partition<E>>, ErrorCode>,
}

/// What was found for a request, in its order.
pub(super) struct Found<F> {
    pub(super) partitions: SmallVec<[FoundPart<F>; 1]>,
    pub(super) bytes: usize,
    /// For those of them that are in memory.
    pub(super) charge: Option<Charge>,
    /// Something that the client must know at once.
    urgent: bool,
}

pub(super) struct FoundPart<F> {
    pub(super) data: PartitionData,
    pub(super) slice: Option<ReadSlice<F>>,
    /// The epoch that it was read in, and the end of what could be.
    epoch: LeaderEpoch,
    end: Offset,
    /// Nothing has changed since the client was last told.
    pub(super) untold: bool,
}

/// What to do for one partition.
enum Plan<'a, E: Env> {
    /// The answer is known, and something that the client does not wait for.
    Known(PartitionData),
    /// There is nothing to read, or no room for it.
    Nothing { partition: &'a Arc<Partition<E>>, view: View },
    /// Read from the offset wanted up to `end`.
    Read { partition: &'a Arc<Partition<E>>, view: View, max_bytes: usize },
}

/// What may be seen of a partition.
struct View {
    data: PartitionData,
    epoch: LeaderEpoch,
    end: Offset,
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
    pub(super) fn new(context: Context<E>, request: &FetchRequest, mode: Mode) -> Self {
        let routing = context.shared.directory.load();
        let by_id = context.version() >= TOPIC_IDS_FROM;
        let mut topics = 0;
        let mut last: Option<(Wanted, Option<Arc<Topic<E>>>)> = None;
        let mut find = |mut wanted: Wanted| {
            let key = &wanted.key;
            let topic = match &last {
                Some((last, topic)) if (last.key.topic_id, &last.key.topic) == (key.topic_id, &key.topic) => {
                    topic.clone()
                }
                _ => {
                    topics += 1;
                    let topic =
                        if by_id { routing.topic_by_id(key.topic_id) } else { routing.topic(&key.topic) };
                    last = Some((wanted.clone(), topic.cloned()));
                    topic.cloned()
                }
            };
            let partition = match topic.as_ref().map(|topic| topic.partition(key.index)) {
                Some(Some(Some(partition))) => Ok(Arc::clone(partition)),
                Some(Some(None)) => Err(topic.as_ref().map_or(ErrorCode::NONE, |it| it.absence(key.index))),
                None if by_id => Err(ErrorCode::UNKNOWN_TOPIC_ID),
                _ => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            };
            if !by_id {
                // The name of a known topic is shared; that of another is copied, so that the frame is not kept.
                wanted.key.topic = match &topic {
                    Some(topic) => topic.name.clone(),
                    None => Str::from(&*wanted.key.topic),
                };
            }
            PartitionPart { wanted, topic, partition }
        };
        let parts = match &mode {
            Mode::Incremental(session) => lock(session).wanted().into_iter().map(&mut find).collect(),
            _ => wanted::of(request, by_id).map(&mut find).collect(),
        };
        let (replica, epoch) = if context.version() >= REPLICA_STATE_FROM {
            (request.replica_state.replica_id, BrokerEpoch(request.replica_state.replica_epoch))
        } else {
            (request.replica_id, BrokerEpoch::NONE)
        };
        let follower = (replica.0 >= 0).then(|| {
            let broker = routing.image.broker(replica);
            FollowerId {
                replica,
                broker_epoch: epoch,
                registered: broker.map_or(BrokerEpoch::NONE, |broker| broker.epoch),
                live: broker.is_some_and(highwater_metadata::BrokerRecord::is_active),
            }
        });
        let settings = &context.shared.settings;
        let selects = settings.replica_selector_class.as_deref().is_some_and(is_rack_aware);
        let rack = (selects && follower.is_none() && !request.rack_id.is_empty())
            .then(|| Str::from(&*request.rack_id));
        let ours = settings.fetch_max_bytes;
        Self {
            mode,
            follower,
            throttled_rate: routing.settings.leader_replication_throttled_rate,
            rack,
            committed: request.isolation_level == READ_COMMITTED,
            max_bytes: usize::try_from(request.max_bytes.min(ours)).unwrap_or(0),
            topics,
            parts,
            context,
        }
    }

    /// The request's connection and header.
    pub(super) fn context(&self) -> &Context<E> {
        &self.context
    }

    /// What the request is to its session.
    pub(super) fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Whether another replica asks.
    pub(super) fn is_follower(&self) -> bool {
        self.follower.is_some()
    }

    /// The most bytes that the answer may have, but for a first batch that is larger.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// How often the topic changes along the request.
    pub(super) fn topic_count(&self) -> usize {
        self.topics
    }

    /// The partitions in the order of the answer.
    pub(super) fn parts(&self) -> impl Iterator<Item = &PartitionPart<E>> {
        self.parts.iter()
    }

    /// Where the leaders and replicas listen that the answer sends the client to.
    pub(super) fn endpoints(&self, found: &Found<FileOf<E>>) -> Vec<NodeEndpoint> {
        let named = found
            .partitions
            .iter()
            .flat_map(|found| [found.data.current_leader.leader_id, found.data.preferred_read_replica]);
        endpoints(&self.context, named)
    }

    /// Reads what there is now, if that needs no look at the disk.
    pub(super) fn read_at_once(&self) -> Option<Found<FileOf<E>>> {
        let mut found = Found::new();
        for part in &self.parts {
            match self.plan(part, &found) {
                Plan::Known(data) => self.add_known(&mut found, part, data),
                Plan::Nothing { partition, view } => self.add(&mut found, part, partition, view, None),
                Plan::Read { partition, view, max_bytes } => {
                    let first = found.bytes == 0;
                    let read =
                        partition.log().read_at_once(part.wanted.offset, view.end, max_bytes, first)?;
                    self.add(&mut found, part, partition, view, Some(read));
                }
            }
        }
        Some(found)
    }

    /// Reads what there is now.
    pub(super) async fn read(&self) -> Found<FileOf<E>> {
        let mut found = Found::new();
        for part in &self.parts {
            match self.plan(part, &found) {
                Plan::Known(data) => self.add_known(&mut found, part, data),
                Plan::Nothing { partition, view } => self.add(&mut found, part, partition, view, None),
                Plan::Read { partition, view, max_bytes } => {
                    let (first, offset, log) = (found.bytes == 0, part.wanted.offset, partition.log());
                    let read = match log.read_at_once(offset, view.end, max_bytes, first) {
                        Some(read) => read,
                        // Boxed because it is rare: every parked fetch would have room for it.
                        None => Box::pin(log.read(offset, view.end, max_bytes, first)).await,
                    };
                    self.add(&mut found, part, partition, view, Some(read));
                }
            }
        }
        found
    }

    /// What to do for a partition after what was `found` for those before it. The first batch is taken whatever its
    /// size, so that a reader never stands still.
    fn plan<'a>(&self, part: &'a PartitionPart<E>, found: &Found<FileOf<E>>) -> Plan<'a, E> {
        let partition = match &part.partition {
            Ok(partition) => partition,
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) => {
                return Plan::Known(elsewhere(part, ErrorCode::NOT_LEADER_OR_FOLLOWER));
            }
            Err(error_code) => return Plan::Known(failed(*error_code)),
        };
        let stopped = partition.progress().stopped();
        if stopped == Some(Stopped::Closed) {
            return Plan::Known(failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        }
        let view = match &self.follower {
            Some(follower) => self.view_of_follower(follower, part, partition),
            None => self.view_of_consumer(part, partition),
        };
        let mut view = match view {
            Ok(view) => view,
            Err(data) => return Plan::Known(*data),
        };
        if part.wanted.offset == view.end && part.wanted.offset >= view.data.log_start_offset {
            // What was durable can still be read; what comes after it never will.
            view.data.error_code = stopped.map_or(ErrorCode::NONE, errors::of_stopped);
            return Plan::Nothing { partition, view };
        }
        // While memory is short less of it is asked for; that the bytes may not come from memory is not known yet.
        let spare = self.context.shared.budget.left().max(LEAST_READ_BYTES);
        let room = self.max_bytes.saturating_sub(found.bytes);
        let quota = self.quota_left(part, partition);
        let max_bytes = part.wanted.max_bytes.min(room).min(spare).min(quota);
        if quota == 0 || (max_bytes == 0 && found.bytes > 0) {
            return Plan::Nothing { partition, view };
        }
        Plan::Read { partition, view, max_bytes }
    }

    /// What a consumer may see: everything below the high watermark.
    fn view_of_consumer(
        &self,
        part: &PartitionPart<E>,
        partition: &Partition<E>,
    ) -> Result<View, Box<PartitionData>> {
        let leads = partition.leading().is_some();
        if !leads && self.context.version() < ANY_REPLICA_FROM {
            return Err(Box::new(elsewhere(part, ErrorCode::NOT_LEADER_OR_FOLLOWER)));
        }
        if let Some(code) = errors::of_epoch(partition.leader_epoch(), part.wanted.epoch) {
            return Err(Box::new(elsewhere(part, code)));
        }
        // The epoch first: what is read in it, or after it, is waited for in it.
        let epoch = partition.progress().epoch();
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
        if part.wanted.offset > high_watermark && !leads {
            // It may be committed, and this replica not know yet.
            data.error_code = ErrorCode::OFFSET_NOT_AVAILABLE;
            return Err(Box::new(data));
        }
        if leads && let Some(nearer) = self.nearer_replica(part, partition) {
            data.preferred_read_replica = nearer;
            return Err(Box::new(data));
        }
        if let Some((epoch, end_offset)) = diverging(partition, &part.wanted) {
            data.diverging_epoch = EpochEndOffset { epoch, end_offset };
            return Err(Box::new(data));
        }
        let end = if mutant!("hw-read-twice") { partition.log().end_offset() } else { end };
        Ok(View { data, epoch, end })
    }

    /// What a follower may see: all of the log. What it has is counted.
    fn view_of_follower(
        &self,
        follower: &FollowerId,
        part: &PartitionPart<E>,
        partition: &Partition<E>,
    ) -> Result<View, Box<PartitionData>> {
        let wanted = &part.wanted;
        let epoch = partition.progress().epoch();
        let view = partition.fetched_by(&FetchedBy {
            replica: follower.replica,
            broker_epoch: follower.broker_epoch,
            registered: follower.registered,
            live: follower.live,
            leader_epoch: wanted.epoch,
            offset: wanted.offset,
            last_epoch: wanted.last_epoch,
            synced: wanted.synced,
        });
        let log_start_offset = partition.log().start_offset();
        match view {
            FollowerView::Up { end, high_watermark } => {
                let data = PartitionData {
                    high_watermark,
                    last_stable_offset: high_watermark,
                    log_start_offset,
                    ..PartitionData::default()
                };
                // Who wants no bytes has only come to say how far it is.
                let end = if self.max_bytes == 0 { wanted.offset } else { end };
                Ok(View { data, epoch, end })
            }
            FollowerView::Diverges { epoch, end, high_watermark } => Err(Box::new(PartitionData {
                high_watermark,
                log_start_offset,
                diverging_epoch: EpochEndOffset { epoch, end_offset: end },
                ..PartitionData::default()
            })),
            FollowerView::Refused(code) => {
                Err(Box::new(PartitionData { log_start_offset, ..elsewhere(part, code) }))
            }
        }
    }

    /// How much may be served of a partition to a follower. Who is in sync is never held back: every produce request
    /// waits for it.
    fn quota_left(&self, part: &PartitionPart<E>, partition: &Partition<E>) -> usize {
        match &self.follower {
            Some(follower)
                if self.is_throttled(part) && partition.in_sync_end(follower.replica).is_none() =>
            {
                let shared = &self.context.shared;
                let quota = &shared.directory.replication().quotas().leader;
                quota.left(self.throttled_rate, shared.env.clock().now())
            }
            _ => usize::MAX,
        }
    }

    /// Whether this node serves a partition to followers within its quota.
    fn is_throttled(&self, part: &PartitionPart<E>) -> bool {
        is_limited(self.throttled_rate)
            && self.follower.is_some()
            && part
                .topic
                .as_ref()
                .is_some_and(|topic| topic.rules.leader_throttled.contains(part.wanted.key.index, topic.node))
    }

    /// Counts what is served of throttled partitions.
    pub(super) fn count_throttled(&self, found: &Found<FileOf<E>>) {
        if !is_limited(self.throttled_rate) {
            return;
        }
        let throttled = self.parts.iter().zip(&found.partitions).filter(|(part, _)| self.is_throttled(part));
        let bytes = throttled.map(|(_, found)| found.slice.as_ref().map_or(0, ReadSlice::len)).sum();
        let shared = &self.context.shared;
        let quota = &shared.directory.replication().quotas().leader;
        quota.record(bytes, self.throttled_rate, shared.env.clock().now());
    }

    /// An in-sync replica in the consumer's rack that has what it wants, if the leader is in another.
    fn nearer_replica(&self, part: &PartitionPart<E>, partition: &Partition<E>) -> Option<BrokerId> {
        let (rack, topic) = (self.rack.as_ref()?, part.topic.as_ref()?);
        let image = &self.context.shared.directory.load().image;
        let is_near = |id: BrokerId| {
            image.broker(id).is_some_and(|broker| broker.is_active() && broker.rack.as_deref() == Some(rack))
        };
        let state = topic.metadata.partition(part.wanted.key.index)?;
        if is_near(topic.node) {
            return None;
        }
        let near = state.isr.iter().copied().filter(|&id| id != topic.node && is_near(id));
        near.filter_map(|id| Some((partition.in_sync_end(id)?, id)))
            .filter(|&(end, _)| end >= part.wanted.offset)
            .max_by_key(|&(end, id)| (end, std::cmp::Reverse(id)))
            .map(|(_, id)| id)
    }

    /// Takes what came of reading a partition.
    fn add(
        &self,
        found: &mut Found<FileOf<E>>,
        part: &PartitionPart<E>,
        partition: &Partition<E>,
        view: View,
        read: Option<Result<ReadSlice<FileOf<E>>, ReadError>>,
    ) {
        let View { mut data, epoch, end } = view;
        let mut slice = None;
        match read {
            None => {}
            Some(Ok(read)) => slice = Some(read).filter(|slice| !slice.is_empty()),
            // Between the high watermark and the end there is something that may not be seen yet.
            Some(Err(ReadError::OutOfRange { start, end }))
                if part.wanted.offset >= start && part.wanted.offset <= end => {}
            Some(Err(error)) => {
                note(&self.context, partition, &error);
                let replicas =
                    part.topic.as_ref().and_then(|it| it.metadata.partition(part.wanted.key.index));
                data.error_code = errors::of_read(&error, replicas.is_some_and(|it| it.replicas.len() > 1));
            }
        }
        if slice.is_some() && partition.progress().epoch() != epoch {
            // The log may have been cut meanwhile: what was read may not be what the marks are about.
            (slice, data) = (None, elsewhere(part, ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        if let Some(ReadSlice::Checked(bytes)) = &slice {
            match &mut found.charge {
                Some(charge) => charge.overdraw(bytes.len()),
                None => found.charge = Some(self.context.shared.budget.overdraw(bytes.len())),
            }
        }
        // Waiting for a partition that has stopped would end at once, again and again.
        let stopped = partition.progress().stopped().is_some();
        found.urgent |= stopped || data.error_code != ErrorCode::NONE;
        found.bytes += slice.as_ref().map_or(0, ReadSlice::len);
        data.partition_index = part.wanted.key.index;
        found.partitions.push(FoundPart { data, slice, epoch, end, untold: false });
    }

    /// Takes what is known without reading, which is never what a client waits for.
    fn add_known(&self, found: &mut Found<FileOf<E>>, part: &PartitionPart<E>, mut data: PartitionData) {
        found.urgent = true;
        data.partition_index = part.wanted.key.index;
        let (epoch, end) = (LeaderEpoch::NONE, part.wanted.offset);
        found.partitions.push(FoundPart { data, slice: None, epoch, end, untold: false });
    }

    /// Waits until one of the partitions has more than was found, or the deadline.
    pub(super) async fn wait(&self, found: &Found<FileOf<E>>, deadline: &Deadline) {
        let mark = if self.is_follower() { Mark::LogEnd } else { Mark::HighWatermark };
        let mut waits: SmallVec<[Waiting<E>; 1]> = self
            .parts
            .iter()
            .zip(&found.partitions)
            .filter_map(|(part, found)| {
                let partition = part.partition.as_ref().ok()?;
                let progress = Arc::clone(partition.progress());
                Some(Waiting::new(progress, mark, found.end.next(), found.epoch))
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

/// Whether a class of Kafka's selects replicas by rack.
fn is_rack_aware(class: &str) -> bool {
    class == "rack" || class.ends_with("RackAwareReplicaSelector")
}

/// The answer to who asked the wrong node, or in the wrong epoch.
fn elsewhere<E: Env>(part: &PartitionPart<E>, error_code: ErrorCode) -> PartitionData {
    let mut data = failed(error_code);
    if let Some(topic) = &part.topic {
        data.current_leader = topic.leader(part.wanted.key.index);
    }
    data
}

/// Where the log of a consumer that says what it read last parts from this one: records that it read were lost.
fn diverging<E: Env>(partition: &Partition<E>, wanted: &Wanted) -> Option<(LeaderEpoch, Offset)> {
    if wanted.last_epoch == LeaderEpoch::NONE {
        return None;
    }
    let (epoch, end) = partition.log().epoch_end_offset(wanted.last_epoch);
    let parts = epoch != LeaderEpoch::NONE && (epoch < wanted.last_epoch || end < wanted.offset);
    parts.then_some((epoch, end))
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
