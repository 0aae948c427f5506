//! A member of the quorum.

use crate::Peer;
use crate::elections::LEASE_PARTS;
use crate::error::{ProposeError, QuorumError};
use crate::leadership::{Fence, Leadership, Progress, Status};
use crate::log_store::{LogStore, broker, voters};
use crate::machine::Machine;
use crate::network::Clients;
use crate::open::{Opened, open};
use crate::options::{MAX_COMMAND_BYTES, QuorumOptions};
use crate::receive::Incoming;
use crate::runtime::{DynEnv, Within, within};
use crate::snapshot_file::SnapshotFile;
use crate::transport::Transport;
use crate::types::{Applied, Command, Fate, Raft};
use bytes::Bytes;
use highwater_env::{Env, Event, timeout};
use highwater_log::Log;
use highwater_types::{BrokerId, Instant, mutant};
use openraft::error::{CheckIsLeaderError, ClientWriteError, Fatal, InitializeError, RaftError};
use openraft::{Config, RaftMetrics, ServerState, SnapshotPolicy};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

type Metrics = RaftMetrics<u64, Peer>;

/// A member of the quorum: a cheap handle.
///
/// Voters elect a leader among themselves, which orders commands; what a majority of the voters has on disk is
/// committed, never lost, and applied by all members in the same order. Learners are told of everything and have no
/// say.
///
/// A member is left with [`Quorum::shutdown`]; one that is merely dropped goes on.
pub struct Quorum<E: Env>(Arc<Inner<E>>);

pub(crate) struct Inner<E: Env> {
    pub env: E,
    pub options: QuorumOptions,
    pub raft: Raft,
    pub log: LogStore<E>,
    /// Read at will, and never waited for: who waits is woken by `progress`.
    pub metrics: watch::Receiver<Metrics>,
    pub progress: Arc<Progress>,
    pub snapshots: Arc<SnapshotFile<E>>,
    pub incoming: Mutex<Option<Incoming>>,
    /// The right to change the members: one change looks at what the one before it left.
    pub membership_turn: tokio::sync::Mutex<()>,
    /// Whether somebody sees to it that a change of voters is not left in the middle.
    pub is_change_watched: AtomicBool,
    /// Held by each proposal while it is on its way, and by a change of voters alone.
    pub proposals: tokio::sync::RwLock<()>,
    scope: Arc<dyn DynEnv>,
}

impl<E: Env> Inner<E> {
    pub(crate) fn node(&self) -> u64 {
        u64::try_from(self.options.node.0).expect("checked when it was opened")
    }

    /// The time that elections go by, which is the library's.
    pub(crate) fn now(&self) -> Instant {
        self.scope.now()
    }
}

impl<E: Env> Quorum<E> {
    /// Opens a member on a log that nothing else writes to. A member that is no voter of any quorum waits to be
    /// called, or for [`Quorum::bootstrap`]. A sole voter elects itself at once.
    ///
    /// Fails if the member lost anything that it promised to keep: a vote, or synced entries.
    // Spelt out because the compiler cannot tell by itself, for a given environment, that the future is Send.
    pub fn open(
        env: E,
        log: Log<E>,
        options: QuorumOptions,
        transport: Arc<dyn Transport>,
        machine: Box<dyn Machine>,
    ) -> impl Future<Output = Result<Self, QuorumError>> + Send + 'static {
        Self::open_member(env, log, options, transport, machine)
    }

    async fn open_member(
        env: E,
        log: Log<E>,
        options: QuorumOptions,
        transport: Arc<dyn Transport>,
        machine: Box<dyn Machine>,
    ) -> Result<Self, QuorumError> {
        let config = Arc::new(config(&options)?);
        let node = u64::try_from(options.node.0)
            .map_err(|_| QuorumError::Options(format!("{} is no node's id", options.node)))?;
        let scope: Arc<dyn DynEnv> = Arc::new(env.clone());
        let Opened { log, machine, progress, snapshots } = open(&env, log, &options, machine).await?;
        let snapshot_timeout = options.snapshot_timeout;
        let progress_of_votes = Arc::clone(&progress);
        let clients =
            Clients { env: env.clone(), node, transport, snapshot_timeout, progress: progress_of_votes };
        let started =
            within(Arc::clone(&scope), Raft::new(node, config, clients, log.clone(), machine)).await;
        let raft = started.map_err(|error| QuorumError::Stopped(error.to_string()))?;
        let metrics = raft.metrics();
        let (incoming, membership_turn) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        let inner = Inner {
            env,
            options,
            raft,
            log,
            metrics,
            progress,
            snapshots,
            incoming,
            membership_turn,
            is_change_watched: AtomicBool::new(false),
            proposals: tokio::sync::RwLock::new(()),
            scope,
        };
        let quorum = Self(Arc::new(inner));
        quorum.start().await.map_err(|error| QuorumError::Stopped(error.to_string()))?;
        Ok(quorum)
    }

    async fn start(&self) -> Result<(), Fatal<u64>> {
        let inner = self.inner();
        let work = inner.raft.with_raft_state(|state| {
            let effective = state.membership_state.effective();
            let index = effective.log_id().as_ref().map(|id| id.index);
            (index, effective.membership().get_joint_config().clone())
        });
        let (index, sets) = self.within(work).await?;
        if let Some(index) = index {
            inner.env.observe(&Event::QuorumVoters { index, voters: voters(&sets) });
        }
        let alone = sets.iter().all(|set| set.len() == 1 && set.contains(&inner.node()));
        if alone && !sets.is_empty() {
            self.within(inner.raft.trigger().elect()).await?;
        }
        let watching = self.clone();
        let watched = inner.raft.metrics();
        inner.env.spawn("quorum-watch", self.within(watching.watch(watched))).detach();
        inner.env.spawn("quorum-elections", self.within(self.clone().stand_when_due())).detach();
        Ok(())
    }

    /// Tells who waits what the library reports. The only task that waits for its reports.
    async fn watch(self, mut reports: watch::Receiver<Metrics>) {
        let inner = self.inner();
        loop {
            let (leadership, failure, joint) = {
                let report = reports.borrow_and_update();
                let joint = report.membership_config.membership().get_joint_config().len() > 1;
                (leadership(&report), report.running_state.clone().err(), joint)
            };
            if let Some(error) = failure {
                inner.progress.stopped(error.to_string());
                return;
            }
            inner.progress.leads(leadership);
            let leads = leadership.leader == Some(inner.options.node);
            if leads && joint && !inner.is_change_watched.swap(true, Ordering::AcqRel) {
                let work = self.clone().finish_change(leadership.term);
                inner.env.spawn("quorum-members", work).detach();
            }
            if reports.changed().await.is_err() {
                inner.progress.stopped("the library ended".to_owned());
                return;
            }
        }
    }

    /// Whether this member belongs to a quorum, or has heard of one.
    pub fn is_bootstrapped(&self) -> bool {
        let report = self.inner().metrics.borrow();
        report.last_log_index.is_some() || report.current_term > 0
    }

    /// Makes a new quorum of these voters. To be called once, on one of them, which the others then hear from.
    ///
    /// A node that lost its disk has not heard of a quorum either: it must not make another one.
    pub async fn bootstrap(&self, voters: BTreeMap<BrokerId, Peer>) -> Result<(), QuorumError> {
        let mut nodes = BTreeMap::new();
        for (id, peer) in voters {
            let node =
                u64::try_from(id.0).map_err(|_| QuorumError::Options(format!("{id} is no node's id")))?;
            nodes.insert(node, peer);
        }
        let node = self.inner().options.node;
        match self.within(self.inner().raft.initialize(nodes)).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Err(QuorumError::Bootstrapped),
            Err(RaftError::APIError(InitializeError::NotInMembers(_))) => Err(QuorumError::NotAVoter(node)),
            Err(RaftError::Fatal(error)) => Err(QuorumError::Stopped(error.to_string())),
        }
    }

    /// Has a command ordered that was decided in `term`, and waits until it is committed and applied on this node;
    /// returns its index. A command that another term overtakes is applied nowhere; an empty one changes nothing.
    pub async fn propose(&self, term: u64, command: Bytes) -> Result<u64, ProposeError> {
        if command.len() > MAX_COMMAND_BYTES {
            return Err(ProposeError::Refused(format!(
                "a command of {} bytes is larger than the {MAX_COMMAND_BYTES} allowed",
                command.len()
            )));
        }
        let inner = self.inner();
        let leadership = self.leadership();
        if leadership.term != term || leadership.leader != Some(inner.options.node) {
            return Err(ProposeError::NotLeader { leader: leadership.leader });
        }
        let fate = Fate::default();
        let command = Command { term, data: command, fate: Some(fate.clone()) };
        let work = async {
            let _beside = inner.proposals.read().await;
            inner.raft.client_write(command).await
        };
        match self.in_time(work).await? {
            Ok(answer) => match answer.data {
                Applied::Done => Ok(answer.log_id.index),
                Applied::OtherTerm => Err(ProposeError::NotLeader { leader: self.leadership().leader }),
            },
            // It stood in the log and was removed. Another member may have it still, be elected and commit it.
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) if fate.is_appended() => {
                inner.env.observe(&Event::Reached("quorum: removed proposal is open"));
                Err(ProposeError::Timeout)
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id.map(broker) })
            }
            Err(RaftError::APIError(error)) => Err(ProposeError::Refused(error.to_string())),
            // The others may commit it.
            Err(RaftError::Fatal(Fatal::Stopped)) if fate.is_appended() => Err(ProposeError::Timeout),
            Err(RaftError::Fatal(error)) => Err(fatal(error)),
        }
    }

    /// Makes sure, by asking a majority, that this node leads, and waits until it has applied everything that was
    /// committed when this was called. What is read of the state afterwards is no older than that.
    pub async fn fence(&self) -> Result<Fence, ProposeError> {
        let inner = self.inner();
        let not_leader = || Err(ProposeError::NotLeader { leader: self.leadership().leader });
        if mutant!("raft-read-stale") && self.leads() {
            let known = inner.progress.known();
            let index = known.applied.map_or(0, |id| id.index);
            return Ok(Fence { term: known.leadership.term, index });
        }
        let asked = self.in_time(inner.raft.get_read_log_id()).await?;
        let read = match asked {
            Ok((Some(read), _)) => read,
            Ok((None, _)) => return not_leader(),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_))) => return not_leader(),
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => {
                return Err(ProposeError::Timeout);
            }
            Err(RaftError::Fatal(error)) => return Err(fatal(error)),
        };
        let applied = inner.progress.wait(|known| match known.applied {
            Some(id) if id.index >= read.index => Some(Ok(())),
            _ => known.stopped.clone().map(Err),
        });
        self.in_time(applied).await?.map_err(ProposeError::Fatal)?;
        // What is read is at least the first entry of the leader's term.
        Ok(Fence { term: read.leader_id.term, index: read.index })
    }

    /// Who leads, as far as this member knows.
    pub fn leadership(&self) -> Leadership {
        self.inner().progress.known().leadership
    }

    /// When this member last heard another one that led, if it ever did.
    pub fn leader_heard(&self) -> Option<Instant> {
        self.inner().progress.known().heard
    }

    /// Waits until [`Quorum::leadership`] differs from `from`. Any number of tasks may wait.
    pub async fn leadership_changed(&self, from: &Leadership) -> Leadership {
        let progress = &self.inner().progress;
        progress.wait(|known| (known.leadership != *from).then_some(known.leadership)).await
    }

    /// Waits until this member has applied everything up to an index. Returns at once if it has; never if it stopped
    /// before.
    pub async fn applied(&self, index: u64) {
        let progress = &self.inner().progress;
        progress.wait(|known| known.applied.filter(|id| id.index >= index).map(|_| ())).await;
    }

    /// Waits until the member stops by itself, and returns why: a write failed, or what it read is damaged. Only
    /// opening it anew heals that.
    pub async fn failed(&self) -> String {
        self.inner().progress.wait(|known| known.stopped.clone()).await
    }

    /// The member's state.
    pub fn status(&self) -> Status {
        let inner = self.inner();
        let known = inner.progress.known();
        let report = inner.metrics.borrow().clone();
        let membership = report.membership_config.membership();
        let leadership = leadership(&report);
        Status {
            term: leadership.term,
            leader: leadership.leader,
            voters: voters(membership.get_joint_config()),
            learners: membership.learner_ids().map(broker).collect(),
            last_index: report.last_log_index,
            committed: known.committed.map(|id| id.index),
            applied: known.applied.map(|id| id.index),
            matched: report
                .replication
                .iter()
                .flatten()
                .filter_map(|(&node, matched)| Some((broker(node), matched.as_ref()?.index)))
                .collect(),
            snapshot: report.snapshot.map(|id| id.index),
            failure: known.stopped,
        }
    }

    /// Where a member is, as far as this one knows.
    pub fn peer(&self, id: BrokerId) -> Option<Peer> {
        let node = u64::try_from(id.0).ok()?;
        self.inner().metrics.borrow().membership_config.membership().get_node(&node).cloned()
    }

    /// Asks to be elected now. The others refuse while they hear from a leader.
    pub async fn campaign(&self) -> Result<(), ProposeError> {
        self.within(self.inner().raft.trigger().elect()).await.map_err(fatal)
    }

    /// Takes a snapshot now, so that the log before it can be removed.
    pub async fn take_snapshot(&self) -> Result<(), ProposeError> {
        self.within(self.inner().raft.trigger().snapshot()).await.map_err(fatal)
    }

    /// Stops the member. Nothing is lost: it may be opened again.
    pub async fn shutdown(&self) {
        let inner = self.inner();
        inner.progress.stopped("it is shut down".to_owned());
        if let Err(error) = self.within(inner.raft.shutdown()).await {
            tracing::warn!(%error, "the quorum's member did not stop as it should");
        }
        inner.snapshots.close().await;
    }

    pub(crate) fn inner(&self) -> &Inner<E> {
        &self.0
    }

    pub(crate) fn leads(&self) -> bool {
        self.leadership().leader == Some(self.inner().options.node)
    }

    /// Runs something of the library.
    pub(crate) fn within<F: Future>(&self, work: F) -> Within<F> {
        within(Arc::clone(&self.inner().scope), work)
    }

    /// [`Quorum::within`] for as long as a request may take.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, ProposeError> {
        let inner = self.inner();
        let done = timeout(inner.env.clock(), inner.options.request_timeout, self.within(work)).await;
        done.map_err(|_| ProposeError::Timeout)
    }
}

impl<E: Env> Clone for Quorum<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Env> std::fmt::Debug for Quorum<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quorum(node {}, {:?})", self.inner().options.node, self.leadership())
    }
}

/// The error of a member that stopped.
pub(crate) fn fatal(error: Fatal<u64>) -> ProposeError {
    match error {
        Fatal::Stopped => ProposeError::Stopped,
        error => ProposeError::Fatal(error.to_string()),
    }
}

/// A leader that was taken out of the voters stops leading, and the library names it until it hears of another one.
fn leadership(report: &Metrics) -> Leadership {
    let leads = |leader: &u64| *leader != report.id || report.state == ServerState::Leader;
    Leadership { term: report.current_term, leader: report.current_leader.filter(leads).map(broker) }
}

fn config(options: &QuorumOptions) -> Result<Config, QuorumError> {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let election = millis(options.election_timeout);
    let config = Config {
        cluster_name: "highwater".to_owned(),
        // The larger one is the leader's lease; it says otherwise when the library would stand, which it does not.
        election_timeout_min: election / 2,
        election_timeout_max: millis(options.election_timeout.mul_f64(LEASE_PARTS)),
        enable_elect: false,
        heartbeat_interval: millis(options.heartbeat_interval).max(1),
        install_snapshot_timeout: millis(options.snapshot_timeout),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every.max(1)),
        max_in_snapshot_log_to_keep: options.keep_entries,
        replication_lag_threshold: options.snapshot_every.saturating_add(options.keep_entries),
        ..Config::default()
    };
    config.validate().map_err(|error| QuorumError::Options(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::DiskId;
    use std::time::Duration;

    #[test]
    fn a_lease_is_shorter_than_the_election_timeout_and_longer_than_half_of_it() {
        for millis in [20, 1_000, 60_000] {
            let election_timeout = Duration::from_millis(millis);
            let options = QuorumOptions {
                election_timeout,
                heartbeat_interval: election_timeout / 4,
                ..QuorumOptions::new(BrokerId(1), DiskId::default(), "")
            };
            let config = config(&options).expect("the options fit together");
            let lease = config.election_timeout_max;
            assert!(2 * lease > millis && lease < millis, "{lease}");
            assert!(!config.enable_elect);
        }
    }
}
