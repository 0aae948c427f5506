//! Putting back what is damaged in this node's logs, from replicas that have it.
//!
//! Offsets that are damaged are served to nobody. They are asked for as a consumer asks: of a follower's leader first,
//! then of other replicas, which serve what is committed alone, and no damage of their own. Below the high watermark
//! here as well, they are what stood in this log, too; the log checks that once more by leader epochs and checksums.
//! What nobody has is asked for again and again, ever more rarely.

use super::connection::Connection;
use super::fetcher::until_stop;
use super::requests;
use crate::partition::Partition;
use crate::state::Shared;
use bytes::{Bytes, BytesMut};
use highwater_env::{Env, Event, Task};
use highwater_log::LogError;
use highwater_records::Batches;
use highwater_types::{BrokerId, Instant, LogId, Offset, mutant};
use highwater_wire::messages::{FetchPartition, FetchRequest, FetchTopic};
use highwater_wire::{ErrorCode, Records};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;

/// How many bytes are put back at once: each time a whole segment is written anew.
const REPAIR_BYTES: usize = 16 << 20;
/// How long another broker has for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after which a log is tried again that could not be mended; it doubles with every failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The logs in which damage was found.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    logs: Mutex<BTreeSet<LogId>>,
    wake: Notify,
}

impl Damage {
    /// Something of a log is damaged.
    pub(crate) fn report(&self, log: LogId) {
        self.lock().insert(log);
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<LogId> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<LogId>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mends until the node stops.
pub(super) fn start<E: Env>(shared: &Arc<Shared<E>>) -> Task {
    let mender = Mender { shared: Arc::clone(shared), waiting: BTreeMap::new(), links: BTreeMap::new() };
    shared.env.spawn("mender", mender.run())
}

struct Mender<E: Env> {
    shared: Arc<Shared<E>>,
    /// The logs that are to be mended, and when.
    waiting: BTreeMap<LogId, Attempt>,
    links: BTreeMap<BrokerId, Connection<E>>,
}

#[derive(Clone, Copy, Default)]
struct Attempt {
    failures: u32,
    at: Instant,
}

/// Why a log is not whole yet.
#[derive(Debug, thiserror::Error)]
enum Unmended {
    #[error("offset {0} is not known to be committed yet")]
    Uncommitted(Offset),
    #[error("no other replica gave offset {from}: {why}")]
    Nowhere { from: Offset, why: String },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the node stops")]
    Stopping,
}

impl<E: Env> Mender<E> {
    async fn run(mut self) {
        while !self.shared.stop.is_raised() {
            for log in self.shared.directory.replication().damage().take() {
                self.waiting.insert(log, Attempt { failures: 0, at: self.now() });
            }
            let now = self.now();
            let due = self.waiting.iter().find(|(_, attempt)| attempt.at <= now);
            let Some((&log, &attempt)) = due else {
                // Damage is rare: nobody is kept connected for it.
                self.links.clear();
                let next = self.waiting.values().map(|attempt| attempt.at).min();
                self.rest(next).await;
                continue;
            };
            let partition = self.shared.directory.load().partition(log).cloned();
            // One that comes later reports its damage then.
            let Some(partition) = partition.filter(|partition| partition.progress().stopped().is_none())
            else {
                self.waiting.remove(&log);
                continue;
            };
            match self.mend(&partition).await {
                Ok(()) => {
                    self.waiting.remove(&log);
                }
                Err(_) if mutant!("repair-once") => {
                    self.waiting.remove(&log);
                }
                Err(error) => {
                    let pause = FIRST_PAUSE.saturating_mul(1 << attempt.failures.min(16)).min(LONGEST_PAUSE);
                    tracing::warn!(%log, %error, ?pause, "damaged records could not be restored; it is tried again");
                    let failures = attempt.failures.saturating_add(1);
                    self.waiting.insert(log, Attempt { failures, at: self.now().after(pause) });
                }
            }
        }
    }

    /// Mends all of a log. What cannot be mended does not stand in the way of what can.
    async fn mend(&mut self, partition: &Arc<Partition<E>>) -> Result<(), Unmended> {
        let log = partition.log();
        let mut passed = log.start_offset();
        let mut failure = None;
        loop {
            let damaged = log.damaged();
            let Some(range) = damaged.into_iter().find(|range| range.end > passed) else { break };
            let range = range.start.max(log.start_offset()).max(passed)..range.end;
            match self.mend_range(partition, range.clone()).await {
                Ok(end) => passed = end,
                Err(Unmended::Stopping) => return Err(Unmended::Stopping),
                Err(error) => {
                    failure.get_or_insert(error);
                    passed = range.end;
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Mends the beginning of a damaged range; returns up to where.
    async fn mend_range(
        &mut self,
        partition: &Arc<Partition<E>>,
        range: Range<Offset>,
    ) -> Result<Offset, Unmended> {
        let committed = partition.high_watermark();
        if range.start >= committed {
            return Err(Unmended::Uncommitted(range.start));
        }
        let wanted = range.start..range.end.min(committed);
        let mut why = "there is none".to_owned();
        for broker in self.holders(partition) {
            let shared = Arc::clone(&self.shared);
            let gathered = until_stop(&shared, self.gather(broker, partition, wanted.clone())).await;
            let (batches, _charge) = match gathered {
                None => return Err(Unmended::Stopping),
                Some(Ok((batches, _))) if batches.is_empty() => {
                    why = format!("broker {broker} has nothing there yet");
                    continue;
                }
                Some(Ok(gathered)) => gathered,
                Some(Err(error)) => {
                    self.links.remove(&broker);
                    why = format!("broker {broker}: {error}");
                    continue;
                }
            };
            let size = batches.len();
            // Not given up half done when the node stops: it is bounded, and the log waits for it in any case.
            match partition.log().repair(batches).await {
                Ok(repaired) => {
                    let metrics = &self.shared.metrics;
                    metrics.repairs.one();
                    metrics.repaired_bytes.add(size as u64);
                    self.shared.env.observe(&Event::Reached("replication: damage repaired from a replica"));
                    return Ok(repaired.end);
                }
                Err(LogError::DoesNotFit(reason)) => why = format!("what broker {broker} has: {reason}"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Unmended::Nowhere { from: range.start, why })
    }

    /// Whom to ask: a follower's leader, then those in sync, then other replicas.
    fn holders(&self, partition: &Partition<E>) -> Vec<BrokerId> {
        let image = self.shared.directory.load().image.clone();
        let Some(state) = image.partition(partition.id()) else { return Vec::new() };
        let mut holders = Vec::new();
        for &id in state.leader.iter().chain(&state.isr).chain(&state.replicas) {
            let is_live = image.broker(id).is_some_and(highwater_metadata::BrokerRecord::is_active);
            if id != self.shared.config.node_id && is_live && !holders.contains(&id) {
                holders.push(id);
            }
        }
        holders
    }

    /// Whole batches of a broker from the start of a range on, as many as are put back at once, and the memory that is
    /// charged for them.
    async fn gather(
        &mut self,
        broker: BrokerId,
        partition: &Partition<E>,
        wanted: Range<Offset>,
    ) -> io::Result<(Bytes, crate::budget::Charge)> {
        let mut charge = self.shared.budget.overdraw(0);
        let mut gathered = BytesMut::new();
        let mut at = wanted.start;
        while at < wanted.end && gathered.len() < REPAIR_BYTES {
            let Some(batches) = self.fetch(broker, partition, at).await? else { break };
            charge.overdraw(batches.len());
            let before = at;
            for batch in Batches::new(batches) {
                let batch = batch.map_err(io::Error::other)?;
                if batch.header().next_offset() > wanted.end {
                    return Ok((gathered.freeze(), charge));
                }
                at = batch.header().next_offset();
                gathered.extend_from_slice(batch.bytes());
            }
            if at <= before {
                break;
            }
        }
        Ok((gathered.freeze(), charge))
    }

    /// Asks a broker for committed batches from the one on that holds an offset; None if it has none there.
    async fn fetch(
        &mut self,
        broker: BrokerId,
        partition: &Partition<E>,
        from: Offset,
    ) -> io::Result<Option<Bytes>> {
        if !self.links.contains_key(&broker) {
            let link = Connection::open(&self.shared, broker, PATIENCE).await?;
            self.links.insert(broker, link);
        }
        let link = self.links.get_mut(&broker).expect("it was made just now");
        let log = partition.id();
        let most = self.shared.settings.replica_fetch_response_max_bytes;
        let wanted = FetchPartition {
            partition: log.partition,
            // Neither side may know of a later leader than the other.
            current_leader_epoch: partition.leader_epoch(),
            fetch_offset: from,
            partition_max_bytes: most,
            ..FetchPartition::default()
        };
        let topic = FetchTopic { topic_id: log.topic, partitions: vec![wanted], ..FetchTopic::default() };
        let request = FetchRequest {
            session_epoch: -1,
            max_bytes: most,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let answer = link.call(&request, requests::VERSION, PATIENCE).await?;
        if answer.error_code != ErrorCode::NONE {
            return Err(io::Error::other(answer.error_code.name()));
        }
        let data = answer
            .responses
            .into_iter()
            .filter(|topic| topic.topic_id == log.topic)
            .flat_map(|topic| topic.partitions)
            .find(|data| data.partition_index == log.partition);
        match data {
            None => Err(io::Error::other("the answer is about something else")),
            Some(data) if data.error_code != ErrorCode::NONE => Err(io::Error::other(data.error_code.name())),
            Some(data) => Ok(match data.records {
                Records::Bytes(records) if !records.is_empty() => Some(records),
                _ => None,
            }),
        }
    }

    fn now(&self) -> Instant {
        self.shared.env.clock().now()
    }

    /// Waits until damage is reported, the instant given or the node's stop.
    async fn rest(&mut self, until: Option<Instant>) {
        let replication = self.shared.directory.replication();
        let clock = self.shared.env.clock();
        let mut sleep = until.map(|until| clock.sleep_until(until));
        let mut reported = pin!(replication.damage().wake.notified());
        let waiting = poll_fn(|cx| {
            if reported.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(cx),
                None => Poll::Pending,
            }
        });
        until_stop(&self.shared, waiting).await;
    }
}
