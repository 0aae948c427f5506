//! One partition that this node has: its log, its leader epoch and how far it may be read.

use crate::append_queue::{AppendQueue, Fate, News, Ticket, Turn, Unwritten};
use crate::metrics::Metrics;
use crate::progress::Progress;
use highwater_env::Env;
use highwater_log::{Log, LogObserver};
use highwater_records::Batch;
use highwater_types::{LeaderEpoch, LogId, Offset};
use highwater_wire::Str;
use std::cmp::Ordering;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool, AtomicI32};
use std::task::{Context, Poll, Waker};

/// One partition that this node has.
///
/// With a single replica the high watermark is the end of what this node's disk holds for certain, or, for a topic
/// whose durability is `replicated`, of what its page cache holds.
pub(crate) struct Partition<E: Env> {
    id: LogId,
    /// The name of its topic, which never changes.
    topic_name: Str,
    log: Log<E>,
    leader_epoch: AtomicI32,
    /// Batches on their way into the log.
    queue: AppendQueue,
    env: E,
    tracker: Arc<Tracker<E>>,
}

/// What the log tells of its progress. The log holds this and not the partition, which holds the log.
struct Tracker<E> {
    progress: Arc<Progress<E>>,
    /// Whether a record counts when it is synced; else when it is appended.
    sync: AtomicBool,
    metrics: Arc<Metrics>,
}

impl<E: Env> AsRef<AppendQueue> for Partition<E> {
    fn as_ref(&self) -> &AppendQueue {
        &self.queue
    }
}

impl<E: Env> LogObserver for Tracker<E> {
    fn advanced(&self, _log: LogId, end: Offset, synced: Offset) {
        self.progress.advance(if self.sync.load(atomic::Ordering::Relaxed) { synced } else { end });
    }

    fn failed(&self, log: LogId) {
        tracing::error!(%log, "the log failed and takes nothing more until the node is restarted");
        self.metrics.logs_failed.one();
        self.progress.fail();
    }
}

impl<E: Env> Partition<E> {
    /// A partition over its log, which from now on reports to it.
    pub(crate) fn new(
        env: E,
        topic_name: Str,
        log: Log<E>,
        leader_epoch: LeaderEpoch,
        sync: bool,
        metrics: Arc<Metrics>,
    ) -> Self {
        let id = log.id();
        let high_watermark = if sync { log.synced_end() } else { log.end_offset() };
        let tracker = Arc::new(Tracker {
            progress: Arc::new(Progress::new(env.clone(), id, high_watermark)),
            sync: AtomicBool::new(sync),
            metrics,
        });
        log.set_observer(Arc::clone(&tracker) as Arc<dyn LogObserver>);
        // What was committed between the look and the registration was told to nobody.
        tracker.progress.advance(if sync { log.synced_end() } else { log.end_offset() });
        Self {
            id,
            topic_name,
            log,
            leader_epoch: AtomicI32::new(leader_epoch.0),
            queue: AppendQueue::default(),
            env,
            tracker,
        }
    }

    /// The name of the log.
    pub(crate) fn id(&self) -> LogId {
        self.id
    }

    /// The name of its topic.
    pub(crate) fn topic_name(&self) -> &Str {
        &self.topic_name
    }

    /// The log.
    pub(crate) fn log(&self) -> &Log<E> {
        &self.log
    }

    /// How far it may be read, and who waits for more.
    pub(crate) fn progress(&self) -> &Arc<Progress<E>> {
        &self.tracker.progress
    }

    /// The epoch of the leader, which is this node.
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(atomic::Ordering::Relaxed))
    }

    pub(crate) fn set_leader_epoch(&self, epoch: LeaderEpoch) {
        self.leader_epoch.store(epoch.0, atomic::Ordering::Relaxed);
    }

    /// Sets whether a record counts when it is synced, or when it is appended.
    pub(crate) fn set_sync(&self, sync: bool) {
        self.tracker.sync.store(sync, atomic::Ordering::Relaxed);
        if !sync {
            self.tracker.progress.advance(self.log.end_offset());
        }
    }

    /// Puts a client's batch in line. Batches get into the log in the order in which they come here.
    pub(crate) fn enqueue(self: &Arc<Self>, batch: Batch) -> Ticket<Self> {
        Ticket::of(self, batch)
    }

    /// Waits for what becomes of a batch that was put in line; appends what stands there if nobody else does.
    pub(crate) fn poll_appended(ticket: &mut Ticket<Self>, cx: &mut Context<'_>) -> Poll<Fate> {
        loop {
            match ticket.poll(cx) {
                Poll::Ready(News::Fate(fate)) => return Poll::Ready(fate),
                Poll::Ready(News::Turn(turn)) => Self::take(turn),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Appends the batches of a turn: here, if that needs no waiting, as is nearly always so. Else in a task of its
    /// own, because the batches are those of many connections, and the one that came upon them may be closed.
    fn take(turn: Turn<Self>) {
        let env = turn.owner().env.clone();
        let mut append = Box::pin(Self::append(turn));
        if append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            env.spawn("append", append).detach();
        }
    }

    async fn append(turn: Turn<Self>) {
        let partition = Arc::clone(turn.owner());
        let now = partition.env.clock().wall();
        let answers = partition.log.append_all(turn.batches(), partition.leader_epoch(), now).await;
        if !partition.tracker.sync.load(atomic::Ordering::Relaxed) {
            // What counts when it is appended can be read at once.
            partition.tracker.progress.advance(partition.log.end_offset());
        }
        let metrics = &partition.tracker.metrics;
        let (mut batches, mut records, mut bytes) = (0, 0, 0);
        for (batch, answer) in turn.batches().iter().zip(&answers) {
            match answer {
                Ok(appended) if appended.duplicate => metrics.produce_duplicates.one(),
                Ok(_) => {
                    batches += 1;
                    records += u64::try_from(batch.header().record_count).unwrap_or(0);
                    bytes += batch.bytes().len() as u64;
                }
                Err(_) => {}
            }
        }
        metrics.produced_batches.add(batches);
        metrics.produced_records.add(records);
        metrics.produced_bytes.add(bytes);
        turn.settle(answers.into_iter().map(|answer| answer.map_err(Unwritten::Refused)));
    }

    /// The end of what may be read.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.tracker.progress.high_watermark()
    }

    /// The largest epoch that is not above `epoch`, and where it ended; (-1, -1) if none is known.
    pub(crate) fn epoch_end(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let current = self.leader_epoch();
        match epoch.cmp(&current) {
            // The log knows of an epoch from its first record on.
            Ordering::Equal => (epoch, self.log.end_offset()),
            Ordering::Less => self.log.epoch_end_offset(epoch),
            Ordering::Greater => (LeaderEpoch::NONE, Offset(-1)),
        }
    }

    /// The end of what a committed read sees. Without transactions that is the high watermark.
    pub(crate) fn last_stable_offset(&self) -> Offset {
        self.high_watermark()
    }
}

#[cfg(test)]
mod tests;
