//! Keeping the in-sync sets of what this node leads: what leaders ask the controller for.

use super::fetcher::until_stop;
use crate::partition::Partition;
use crate::state::Shared;
use highwater_env::{Env, Task, sleep, timeout};
use highwater_metadata::BrokerRecord;
use highwater_replication::{Proposal, ProposalAnswer};
use highwater_types::{BrokerEpoch, BrokerId, LogId, mutant};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;

/// How many partitions the controller is asked about at once.
const AT_ONCE: usize = 1_000;
/// How long the controller has for an answer. Whatever it decides after that, the metadata will tell.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often proposals without an answer are looked at at least.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// Whoever decides about in-sync sets.
pub(crate) trait Controller: Send + Sync + 'static {
    /// Asks for other in-sync sets; an answer for each, in order.
    fn alter_in_sync<'a>(
        &'a self,
        proposals: &'a [(LogId, Proposal)],
    ) -> Pin<Box<dyn Future<Output = Vec<ProposalAnswer>> + Send + 'a>>;
}

/// The partitions whose leader has something to ask for.
#[derive(Default)]
pub(crate) struct Proposals {
    asking: Mutex<Asking>,
    wake: Notify,
    controller: Mutex<Option<Arc<dyn Controller>>>,
}

#[derive(Debug, Default)]
struct Asking {
    logs: BTreeSet<LogId>,
    /// Look at all.
    all: bool,
}

impl Proposals {
    /// A leader may have something to ask for.
    pub(crate) fn ask(&self, log: LogId) {
        self.lock().logs.insert(log);
        self.wake.notify_one();
    }

    /// Any leader may have something to ask for: brokers came or went.
    pub(crate) fn ask_all(&self) {
        self.lock().all = true;
        self.wake.notify_one();
    }

    /// Says whom to ask.
    pub(crate) fn set_controller(&self, controller: Arc<dyn Controller>) {
        *self.controller.lock().unwrap_or_else(PoisonError::into_inner) = Some(controller);
        self.ask_all();
    }

    fn controller(&self) -> Option<Arc<dyn Controller>> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the controller until the node stops.
pub(super) fn start<E: Env>(shared: &Arc<Shared<E>>) -> Task {
    let shared = Arc::clone(shared);
    let env = shared.env.clone();
    env.spawn("in-sync", async move {
        let lag = Duration::from_millis(shared.settings.replica_lag_time_max_ms.unsigned_abs());
        let rest = (lag / 2).min(LONGEST_REST);
        while let Some(asking) = until_stop(&shared, due(&shared, rest)).await {
            // Who says whom to ask has all looked at.
            let Some(controller) = shared.directory.replication().proposals().controller() else { continue };
            let proposals = collect(&shared, &asking);
            for part in proposals.chunks(AT_ONCE) {
                until_stop(&shared, propose(&shared, &*controller, part)).await;
            }
        }
    })
}

/// Ends when there may be something to ask for, and takes it.
async fn due<E: Env>(shared: &Shared<E>, rest: Duration) -> Asking {
    let proposals = shared.directory.replication().proposals();
    let take = || Some(std::mem::take(&mut *proposals.lock())).filter(|it| it.all || !it.logs.is_empty());
    let (mut woken, mut rest) = (pin!(proposals.wake.notified()), pin!(sleep(shared.env.clock(), rest)));
    loop {
        if let Some(asking) = take() {
            return asking;
        }
        let rested = poll_fn(|cx| {
            if woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            rest.as_mut().poll(cx).map(|()| true)
        })
        .await;
        if rested {
            // Replicas fall behind by the mere passing of time.
            return Asking { all: true, ..take().unwrap_or_default() };
        }
        woken.set(proposals.wake.notified());
    }
}

type Asked<E> = (Arc<Partition<E>>, (LogId, Proposal));

fn collect<E: Env>(shared: &Shared<E>, asking: &Asking) -> Vec<Asked<E>> {
    let routing = shared.directory.load();
    let image = &routing.image;
    let live = |id: BrokerId| -> Option<BrokerEpoch> {
        let may = |broker: &&BrokerRecord| broker.is_active() || mutant!("isr-join-fenced");
        image.broker(id).filter(may).map(|broker| broker.epoch)
    };
    let ask = |partition: &Arc<Partition<E>>| {
        partition.leading()?;
        let proposal = partition.poll_proposal(live)?;
        Some((Arc::clone(partition), (partition.id(), proposal)))
    };
    if asking.all {
        routing.partitions().filter_map(ask).collect()
    } else {
        asking.logs.iter().filter_map(|&log| routing.partition(log)).filter_map(ask).collect()
    }
}

async fn propose<E: Env>(shared: &Shared<E>, controller: &dyn Controller, asked: &[Asked<E>]) {
    let proposals: Vec<(LogId, Proposal)> = asked.iter().map(|(_, proposal)| proposal.clone()).collect();
    let answers = timeout(shared.env.clock(), PATIENCE, controller.alter_in_sync(&proposals)).await;
    let answers = answers.unwrap_or_default();
    for (at, (partition, (log, proposal))) in asked.iter().enumerate() {
        let answer = answers.get(at).unwrap_or(&ProposalAnswer::Open);
        tracing::debug!(%log, ?proposal, ?answer, "a change of the in-sync replicas");
        partition.answered(proposal, answer);
    }
}
