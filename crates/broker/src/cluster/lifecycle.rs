//! The life of a node in its cluster: it founds or finds the quorum, registers, catches up, is unfenced, tells that it
//! is alive, and takes leave.

use super::{Cluster, ClusterError, CommitError, Inner, carry_out, lead, millis};
use crate::internal::message::{Endpoint, Feature, Follow, Heartbeat, Register, Setting, uuid_bytes};
use crate::latch::Latch;
use highwater_env::{Env, Event, First, Purpose, Rng, Task, first, sleep, timeout};
use highwater_metadata::RefusalCode;
use highwater_metadata::configs::CLUSTER_WIDE;
use highwater_metadata::controller::supported_features;
use highwater_types::{BrokerEpoch, LogId, mutant};
use rand::RngExt as _;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// How long to wait before a refused or failed registration is tried again, without the jitter.
const RETRY: Duration = Duration::from_millis(100);
/// How often a node that takes leave asks whether it may go.
const FAREWELL_ROUND: Duration = Duration::from_millis(50);
/// How long a node that takes leave waits for its leaderships to move.
const FAREWELL: Duration = Duration::from_secs(5);
/// How many lost logs the controller is told of at once.
const LOST_AT_ONCE: usize = 1_000;
/// After how many attempts people are told what is waited for.
const ATTEMPTS_PER_WORD: u32 = 50;

/// Whether a node has come to serve.
#[derive(Default)]
pub(crate) struct Readiness {
    done: Latch,
    failure: Mutex<Option<ClusterError>>,
    /// Raised when the node takes no part in its cluster any more, though nobody stopped it.
    ended: Latch,
    why: Mutex<String>,
}

impl Readiness {
    /// Waits until the node serves, or cannot.
    pub(crate) async fn wait(&self) -> Result<(), ClusterError> {
        self.done.raised().await;
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Waits until the node takes no part in its cluster any more, though nobody stopped it; why.
    pub(crate) async fn ended(&self) -> String {
        self.ended.raised().await;
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&self, why: String) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.ended.raise();
    }

    fn settle(&self, outcome: Result<(), ClusterError>) {
        if !self.done.is_raised() {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
            self.done.raise();
        }
    }
}

/// Where clients and other nodes reach this one.
pub(crate) struct Addresses {
    pub(crate) endpoints: Vec<highwater_metadata::Endpoint>,
    /// The internal port, as others reach it.
    pub(crate) internal: (String, u16),
}

/// Starts the tasks of a node's life in its cluster. `serve` is called once, when clients may come.
pub(crate) fn start<E: Env>(
    cluster: &Cluster<E>,
    addresses: Addresses,
    readiness: &Arc<Readiness>,
    serve: impl FnOnce() + Send + 'static,
) -> Vec<Task> {
    let env = cluster.0.env.clone();
    let life = env.spawn("lifecycle", {
        let (cluster, readiness) = (cluster.clone(), Arc::clone(readiness));
        async move {
            let stop = Arc::clone(&cluster.0.stop);
            let life = async {
                match first(cluster.0.quorum.failed(), live(&cluster, &addresses, &readiness, serve)).await {
                    First::One(problem) => Err(ClusterError::QuorumFailed(problem)),
                    First::Other(outcome) => outcome,
                }
            };
            let outcome = cluster.0.until_stop(life).await.unwrap_or(Err(ClusterError::Stopped));
            if let Err(error) = &outcome
                && !stop.is_raised()
            {
                tracing::error!(%error, "this node takes no part in its cluster any more");
                readiness.end(error.to_string());
            }
            readiness.settle(outcome);
        }
    });
    vec![life, lead::start(cluster), carry_out::start(cluster)]
}

async fn live<E: Env>(
    cluster: &Cluster<E>,
    addresses: &Addresses,
    readiness: &Readiness,
    serve: impl FnOnce() + Send,
) -> Result<(), ClusterError> {
    let inner = &cluster.0;
    cluster.found().await?;
    cluster.meet_voters().await?;
    if !inner.config.is_broker {
        // A controller alone has nothing to register; it follows the metadata as soon as there is any.
        follow(cluster, addresses, || inner.is_told()).await?;
        inner.committed.applied.reached(1).await;
        inner.registered.raise_to(inner.committed.applied.value());
        serve();
        readiness.settle(Ok(()));
        // One that is told already is asked by nobody whether it is configured as the others are.
        follow(cluster, addresses, || false).await?;
        return std::future::pending().await;
    }
    let mut jitter = inner.env.entropy(Purpose::Jitter);
    let mut serve = Some(serve);
    // A mark of an earlier stop says nothing of the last one.
    let mut clean_epoch = match inner.seen.mark().await {
        Some(mark) if inner.store.was_clean() || mutant!("clean-marker-kept") => mark.epoch,
        _ => BrokerEpoch::NONE,
    };
    loop {
        let epoch = register(cluster, addresses, clean_epoch, &mut jitter).await?;
        // Whoever registers again without a restart has lost nothing.
        clean_epoch = epoch;
        inner.seen.registered(epoch).await.map_err(ClusterError::Seen)?;
        inner.registered.raise_to(u64::try_from(epoch.0).unwrap_or(0));
        inner.committed.applied.reached(u64::try_from(epoch.0).unwrap_or(0)).await;
        inner.check_image()?;
        inner.carried.reached(u64::try_from(epoch.0).unwrap_or(0)).await;
        // Ends when the registration is not good any more.
        beat(cluster, epoch, || {
            if let Some(serve) = serve.take() {
                serve();
                readiness.settle(Ok(()));
            }
        })
        .await?;
    }
}

/// Sees that the active controller tells this node of the metadata, and is configured as this node is, unless that is
/// not needed any more.
async fn follow<E: Env>(
    cluster: &Cluster<E>,
    addresses: &Addresses,
    is_done: impl Fn() -> bool,
) -> Result<(), ClusterError> {
    let inner = &cluster.0;
    let request = Follow {
        node: inner.node.0,
        disk: uuid_bytes(inner.store.disk_id().0),
        host: addresses.internal.0.clone(),
        port: addresses.internal.1.into(),
        settings: inner.cluster_wide_settings(),
    };
    let mut attempts = 0_u32;
    while !is_done() {
        let error = match cluster.follow(request.clone()).await {
            Ok(()) => return Ok(()),
            Err(CommitError::Refused(refusal)) if is_final(refusal.code) => {
                return Err(ClusterError::Refused(refusal.message));
            }
            Err(error) => error,
        };
        if attempts.is_multiple_of(ATTEMPTS_PER_WORD) {
            tracing::info!("waiting for a controller that tells this node of the metadata: {error}");
        }
        attempts += 1;
        sleep(inner.env.clock(), RETRY).await;
    }
    Ok(())
}

/// Registers with the active controller, however long it takes to find one.
async fn register<E: Env>(
    cluster: &Cluster<E>,
    addresses: &Addresses,
    clean_epoch: BrokerEpoch,
    jitter: &mut Rng,
) -> Result<BrokerEpoch, ClusterError> {
    let inner = &cluster.0;
    let endpoints = addresses.endpoints.iter().map(|endpoint| Endpoint {
        listener: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port.into(),
        security_protocol: endpoint.security_protocol.into(),
    });
    let features = supported_features().into_iter().map(|feature| Feature {
        name: feature.name,
        min: feature.min.into(),
        max: feature.max.into(),
    });
    let request = Register {
        node: inner.node.0,
        incarnation: uuid_bytes(inner.draw_id()),
        disk: uuid_bytes(inner.store.disk_id().0),
        endpoints: endpoints.collect(),
        rack: inner.config.rack.clone(),
        clean_epoch: clean_epoch.0,
        controller: inner.config.is_voter(),
        internal_host: addresses.internal.0.clone(),
        internal_port: addresses.internal.1.into(),
        features: features.collect(),
        settings: inner.cluster_wide_settings(),
    };
    // Who has served before does not end for what may pass.
    let is_new = inner.registered.value() == 0;
    let patience = millis(inner.settings.initial_broker_registration_timeout_ms.into());
    let mut attempts = 0_u32;
    let mut refused_since = None;
    loop {
        let error = match cluster.register(request.clone()).await {
            Ok(epoch) => return Ok(epoch),
            Err(CommitError::Refused(refusal)) if is_final(refusal.code) => {
                return Err(ClusterError::Refused(refusal.message));
            }
            Err(error) => error,
        };
        let now = inner.env.clock().now();
        match &error {
            CommitError::Refused(refusal) => {
                let since = *refused_since.get_or_insert(now);
                if is_new && now.since(since) >= patience {
                    return Err(ClusterError::Refused(refusal.message.clone()));
                }
            }
            _ => refused_since = None,
        }
        if let Some(problem) = inner.turned_away().filter(|_| is_new) {
            return Err(ClusterError::Config(problem));
        }
        if attempts.is_multiple_of(ATTEMPTS_PER_WORD) {
            let voters: Vec<String> = inner.config.voters.iter().map(|voter| voter.id.to_string()).collect();
            tracing::info!(voters = voters.join(","), "waiting for the cluster: not registered yet: {error}");
        }
        attempts += 1;
        let spread = jitter.random_range(0..=RETRY.as_millis()) as u64;
        sleep(inner.env.clock(), RETRY + Duration::from_millis(spread)).await;
    }
}

/// Whether another attempt would be refused as well.
fn is_final(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::InconsistentClusterId
            | RefusalCode::InvalidRegistration
            | RefusalCode::UnsupportedVersion
    )
}

/// Tells the controller again and again that this broker is alive, until it has forgotten the registration.
/// `unfenced` is called whenever the broker stands unfenced in the metadata that is carried out here.
async fn beat<E: Env>(
    cluster: &Cluster<E>,
    epoch: BrokerEpoch,
    mut unfenced: impl FnMut(),
) -> Result<(), ClusterError> {
    let inner = &cluster.0;
    let clock = inner.env.clock();
    let interval = millis(inner.settings.broker_heartbeat_interval_ms.into());
    loop {
        inner.check_image()?;
        // What was found lost up to there is told first: the controller takes a broker that has applied as much for
        // complete wherever it is not told otherwise.
        let applied = inner.carried.value();
        let untold = !inner.report_lost(cluster).await && !mutant!("lost-log-untold");
        inner.hand_over_failed(cluster).await;
        let heartbeat = Heartbeat {
            node: inner.node.0,
            epoch: epoch.0,
            applied,
            want_shutdown: false,
            want_fence: untold && !inner.is_unfenced(epoch),
        };
        let begun = clock.now();
        match cluster.heartbeat(heartbeat).await {
            Ok(seen) if !seen.fenced => {
                let session = millis(inner.settings.broker_session_timeout_ms.into());
                // A controller that was elected since then leaves as much to brokers that it has not heard yet.
                inner.directory.replication().renew(begun.after(session / 2));
                if timeout(clock, interval, inner.stands_unfenced(epoch)).await.is_ok() {
                    unfenced();
                }
            }
            Ok(_) => sleep(clock, RETRY.min(interval)).await,
            Err(CommitError::Refused(refusal)) => match refusal.code {
                RefusalCode::StaleBrokerEpoch | RefusalCode::BrokerIdNotRegistered => {
                    tracing::warn!("the controller does not know this broker any more: {}", refusal.message);
                    return Ok(());
                }
                _ => tracing::warn!("heartbeat refused: {}", refusal.message),
            },
            Err(error) => tracing::debug!(%error, "no controller took the heartbeat"),
        }
        let next = begun.after(interval);
        if clock.now() < next {
            clock.sleep_until(next).await;
        }
    }
}

impl<E: Env> Cluster<E> {
    /// Has this broker's leaderships moved to others, as far as others can take them, before it stops.
    pub(crate) async fn take_leave(&self) {
        let inner = &self.0;
        let epoch = self.broker_epoch();
        if epoch == BrokerEpoch::NONE || !inner.config.is_broker {
            return;
        }
        inner.directory.replication().leave();
        let clock = inner.env.clock();
        let farewell = async {
            loop {
                let heartbeat = Heartbeat {
                    node: inner.node.0,
                    epoch: epoch.0,
                    applied: inner.carried.value(),
                    want_shutdown: true,
                    want_fence: false,
                };
                match self.heartbeat(heartbeat).await {
                    Ok(seen) if seen.should_shut_down => return,
                    Ok(_) => {}
                    // Without a controller nothing moves.
                    Err(error) => return tracing::info!(%error, "stopping without a controller's leave"),
                }
                sleep(clock, FAREWELL_ROUND).await;
            }
        };
        if timeout(clock, FAREWELL, farewell).await.is_err() {
            tracing::warn!("stopping although this broker still leads partitions");
        }
    }
}

impl<E: Env> Inner<E> {
    /// Runs work until the node stops; None if it did.
    pub(super) async fn until_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.stop.poll_raised(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Why this node has no place in the cluster, if every other voter turned it away.
    fn turned_away(&self) -> Option<String> {
        let others = self.config.voters.iter().filter(|voter| voter.id != self.node);
        let refusals = others.map(|voter| self.peers.refusal(&voter.host, voter.port));
        refusals.collect::<Option<Vec<String>>>()?.pop()
    }

    /// Whether the metadata is this cluster's, and can be followed.
    fn check_image(&self) -> Result<(), ClusterError> {
        if let Some(problem) = self.committed.failure() {
            return Err(ClusterError::Unusable(problem));
        }
        let (own, image) = (self.cluster_id(), self.committed.image());
        match image.cluster_id() {
            Some(other) if other != own => Err(ClusterError::Config(format!(
                "the data directory belongs to cluster {own}, and the metadata in it to cluster {other}"
            ))),
            _ => Ok(()),
        }
    }

    /// Tells the controller of lost logs, if there are any that it was not told of; whether it knows of all of them.
    async fn report_lost(&self, cluster: &Cluster<E>) -> bool {
        let lost: Vec<LogId> = {
            let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.lost.iter().copied().take(LOST_AT_ONCE).collect()
        };
        if lost.is_empty() {
            return true;
        }
        match cluster.report_lost_logs(&lost).await {
            Ok(()) => {
                self.forget_told(&lost).await;
                let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                wanted.lost.retain(|log| !lost.contains(log));
                wanted.lost.is_empty()
            }
            Err(error) => {
                tracing::warn!(%error, "the controller could not be told of lost logs; it is tried again");
                false
            }
        }
    }

    /// Leaves the partitions of logs that failed, or cannot be made, to the other replicas in sync, where any of those
    /// lives: this node takes nothing for them until it is started again, or they are made. As long as a log that was
    /// never made counts, nothing is committed that it does not have.
    async fn hand_over_failed(&self, cluster: &Cluster<E>) {
        let failed: Vec<LogId> = {
            let image = &self.directory.load().image;
            let unmade = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).failed.clone();
            let failed = self.store.logs().into_iter().filter(|log| log.is_poisoned()).map(|log| log.id());
            failed.chain(unmade).filter(|log| image.has_heirs(*log, self.node)).take(LOST_AT_ONCE).collect()
        };
        if failed.is_empty() || mutant!("failed-log-kept") {
            return;
        }
        match cluster.report_failed_logs(&failed).await {
            Ok(()) => {
                self.env.observe(&Event::Reached("cluster: partition of a failed log handed over"));
                tracing::info!(logs = failed.len(), "the partitions of logs that failed were left to others");
            }
            Err(error) => {
                tracing::warn!(%error, "the partitions of logs that failed could not be left to others yet");
            }
        }
    }

    /// What the controller knows of logs is not to be told again by the next process.
    async fn forget_told(&self, lost: &[LogId]) {
        for log in lost.iter().filter_map(|id| self.store.log(*id)) {
            if let Err(error) = log.losses_told().await {
                tracing::warn!(log = %log.id(), %error, "what was lost will be told again after a restart");
            }
        }
    }

    /// What this node's own configuration says of what must be the same everywhere.
    fn cluster_wide_settings(&self) -> Vec<Setting> {
        let setting = |name: &str| {
            let value = self.directory.statics().get(name)?.to_owned();
            Some(Setting { name: name.to_owned(), value })
        };
        CLUSTER_WIDE.into_iter().filter_map(setting).collect()
    }

    /// Whether this node is told of the metadata: one that stands in it with the disk that it has is told, and one with
    /// a new disk is another one, whom nobody knows yet.
    fn is_told(&self) -> bool {
        self.quorum.peer(self.node).is_some_and(|peer| peer.disk == self.store.disk_id())
    }

    /// Whether this broker stands unfenced in the metadata that was carried out.
    fn is_unfenced(&self, epoch: BrokerEpoch) -> bool {
        let routing = self.directory.load();
        let broker = routing.image.broker(self.node);
        broker.is_some_and(|broker| broker.epoch == epoch && !broker.fenced)
    }

    /// Waits until this broker stands unfenced in the metadata that was carried out.
    async fn stands_unfenced(&self, epoch: BrokerEpoch) {
        loop {
            let carried = self.carried.value();
            if self.is_unfenced(epoch) {
                return;
            }
            self.carried.reached(carried + 1).await;
        }
    }
}
