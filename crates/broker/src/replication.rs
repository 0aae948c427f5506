//! What a node does so that its partitions are replicated: it fetches what it follows, and asks the controller for
//! changes of the in-sync sets of what it leads.
//!
//! For each broker that it follows anything at there are two connections, each with one request under way: one that
//! fetches, whose requests are parked there until there is data, and one that says how far the logs are on disk, so
//! that such news never waits for data. Damage is put back beside that: see [`mender`].

mod connection;
mod cut_off;
mod fetcher;
mod mender;
mod proposals;
mod quota;
mod reporter;
mod requests;
mod session;
mod source;

pub(crate) use fetcher::until_stop;
pub(crate) use mender::Damage;
pub(crate) use proposals::{Controller, Proposals};
pub(crate) use quota::{Quotas, is_limited};
pub(crate) use source::Reports;

use crate::partition::Partition;
use crate::state::Shared;
use highwater_env::{Env, Task};
use highwater_types::{BrokerId, Instant, LogId, mutant};
use source::Source;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// What a node does so that its partitions are replicated.
pub(crate) struct Replication<E: Env> {
    proposals: Arc<Proposals>,
    damage: Damage,
    /// Until when the controller leaves this broker its leaderships, in nanoseconds of the node's clock, as far as it
    /// said so.
    lease: AtomicU64,
    /// This broker has offered its leaderships to others: they may have them before it hears of that.
    leaves: AtomicBool,
    quotas: Quotas,
    /// The brokers that something is or was followed at.
    sources: Mutex<BTreeMap<BrokerId, Arc<Source<E>>>>,
    /// The node, once it runs.
    shared: OnceLock<Weak<Shared<E>>>,
    tasks: Mutex<Vec<Task>>,
}

impl<E: Env> Replication<E> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            proposals: Arc::default(),
            damage: Damage::default(),
            lease: AtomicU64::new(0),
            leaves: AtomicBool::new(false),
            quotas: Quotas::default(),
            sources: Mutex::default(),
            shared: OnceLock::new(),
            tasks: Mutex::default(),
        })
    }

    /// The partitions whose leader has something to ask the controller for.
    pub(crate) fn proposals(&self) -> &Arc<Proposals> {
        &self.proposals
    }

    /// The logs in which damage was found.
    pub(crate) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// The controller counts on this broker until then, unless it says something else.
    pub(crate) fn renew(&self, until: Instant) {
        self.lease.fetch_max(until.0, Ordering::Relaxed);
    }

    /// This broker asks the controller to give its leaderships to others.
    pub(crate) fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// Whether the controller has been heard lately, so that nobody else can have been elected in silence.
    pub(crate) fn is_heard(&self, now: Instant) -> bool {
        let leaves = self.leaves.load(Ordering::Relaxed) && !mutant!("leaving-judges");
        now.0 < self.lease.load(Ordering::Relaxed) && !leaves || mutant!("deposed-judges")
    }

    /// What replication may take.
    pub(crate) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Begins to work for a node.
    pub(crate) fn start(self: &Arc<Self>, shared: &Arc<Shared<E>>) {
        if self.shared.set(Arc::downgrade(shared)).is_err() {
            return;
        }
        self.add(proposals::start(shared));
        self.add(mender::start(shared));
        self.add(cut_off::start(shared));
        let sources: Vec<_> = self.sources().values().cloned().collect();
        for source in sources {
            self.start_source(shared, &source);
        }
    }

    /// Ends when all that was begun has ended, after the node was told to stop.
    pub(crate) async fn stopped(&self) {
        loop {
            let task = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(task) = task else { return };
            task.await;
        }
    }

    /// Fetches a partition from a broker from now on.
    pub(crate) fn follow(self: &Arc<Self>, leader: BrokerId, partition: &Arc<Partition<E>>) -> Arc<Reports> {
        let (source, is_new) = {
            let mut sources = self.sources();
            let count = sources.len();
            let source = sources.entry(leader).or_insert_with(|| Arc::new(Source::new(leader)));
            let source = Arc::clone(source);
            (source, sources.len() > count)
        };
        source.add(partition);
        if is_new && let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
            self.start_source(&shared, &source);
        }
        Arc::clone(source.reports())
    }

    /// Brokers were started, fenced or unfenced.
    pub(crate) fn brokers_changed(&self) {
        self.proposals.ask_all();
        self.sources().values().for_each(|source| source.look_again());
    }

    /// Fetches a partition from a broker no longer.
    pub(crate) fn unfollow(&self, leader: BrokerId, log: LogId) {
        if let Some(source) = self.sources().get(&leader) {
            source.remove(log);
        }
    }

    fn start_source(&self, shared: &Arc<Shared<E>>, source: &Arc<Source<E>>) {
        self.add(fetcher::start(shared, source));
        self.add(reporter::start(shared, source));
    }

    fn add(&self, task: Task) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<BrokerId, Arc<Source<E>>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
