//! One partition that this node has: its log, what this node is to it, and how far it may be read.

mod following;
mod history;
mod leading;
mod role;
mod tracker;

pub(crate) use following::Followed;
pub(crate) use leading::{FetchedBy, FollowerView};

use crate::append_queue::{AppendQueue, Fate, News, Ticket, Turn, Unwritten};
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::replication::Replication;
use highwater_env::Env;
use highwater_log::{Log, LogObserver};
use highwater_records::Batch;
use highwater_replication::Ends;
use highwater_types::{BrokerId, LeaderEpoch, LogId, Offset};
use highwater_wire::Str;
use role::Replica;
use std::cmp::Ordering;
use std::future::Future;
use std::sync::atomic::{self, AtomicBool, AtomicI32};
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};
use tracker::Tracker;

/// One partition that this node has.
///
/// With a single replica the high watermark is the end of what this node's disk holds for certain, or, for a topic
/// whose durability is `replicated`, of what its page cache holds. With several, the leader decides: see
/// [`highwater_replication`].
///
/// What this node is to the partition changes when the metadata says so, at once unless something is being appended
/// or cut at that moment; then when that is done. So whatever changes the log does so in the role that it began in.
pub(crate) struct Partition<E: Env> {
    id: LogId,
    /// The name of its topic, which never changes.
    topic_name: Str,
    log: Log<E>,
    /// This node.
    node: BrokerId,
    /// The epoch of the leader, as the metadata has it.
    leader_epoch: AtomicI32,
    /// The epoch that this node leads in, or -1. What a look at [`Tracker::replica`] would tell, without its lock.
    leading: AtomicI32,
    /// Whether enough replicas are in sync, as far as this node, if it leads, knows.
    enough: AtomicBool,
    /// Batches on their way into the log.
    queue: AppendQueue,
    env: E,
    tracker: Arc<Tracker<E>>,
    replication: Arc<Replication<E>>,
}

impl<E: Env> AsRef<AppendQueue> for Partition<E> {
    fn as_ref(&self) -> &AppendQueue {
        &self.queue
    }
}

impl<E: Env> Partition<E> {
    /// A partition over its log, which from now on reports to it. Nobody leads it as far as it knows.
    pub(crate) fn new(
        env: E,
        topic_name: Str,
        log: Log<E>,
        node: BrokerId,
        metrics: Arc<Metrics>,
        replication: Arc<Replication<E>>,
    ) -> Self {
        let id = log.id();
        // What is committed is not kept on disk: it is found out anew.
        let progress = Progress::new(env.clone(), id, log.start_offset(), log.end_offset());
        let tracker =
            Arc::new(Tracker::new(env.clone(), Arc::new(progress), metrics, Arc::clone(&replication)));
        log.set_observer(Arc::clone(&tracker) as Arc<dyn LogObserver>);
        if !log.damaged().is_empty() {
            replication.damage().report(id);
        }
        Self {
            id,
            topic_name,
            log,
            node,
            leader_epoch: AtomicI32::new(LeaderEpoch::NONE.0),
            leading: AtomicI32::new(LeaderEpoch::NONE.0),
            enough: AtomicBool::new(false),
            queue: AppendQueue::default(),
            env,
            tracker,
            replication,
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

    /// The epoch of the leader, as the metadata has it.
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(atomic::Ordering::Acquire))
    }

    /// The epoch that this node leads the partition in, if it does.
    pub(crate) fn leading(&self) -> Option<LeaderEpoch> {
        let epoch = LeaderEpoch(self.leading.load(atomic::Ordering::Acquire));
        (epoch != LeaderEpoch::NONE).then_some(epoch)
    }

    /// Whether enough replicas are in sync for an acknowledgement by all.
    pub(crate) fn has_enough_in_sync(&self) -> bool {
        self.enough.load(atomic::Ordering::Acquire)
    }

    fn replica(&self) -> MutexGuard<'_, Replica> {
        self.tracker.replica()
    }

    fn ends(&self) -> Ends {
        // In this order: what is synced is in the log.
        let synced = self.log.synced_end();
        Ends { end: self.log.end_offset().max(synced), synced }
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
        let Some((epoch, busy)) = partition.begin_append() else {
            let fates = turn.batches().iter().map(|_| Err(Unwritten::NotLeader)).collect::<Vec<_>>();
            turn.settle(fates);
            return;
        };
        let now = partition.env.clock().wall();
        let answers = partition.log.append_all(turn.batches(), epoch, now).await;
        drop(busy);
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

    /// Whether no other leader can have been elected because this broker was not heard of.
    pub(crate) fn is_sure_to_lead(&self) -> bool {
        self.replication.is_heard(self.env.clock().now())
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
