//! The active controller: decisions are made here, one after another, and committed by the quorum.

use super::command::Command;
use super::{Cluster, CommitError, Inner, millis};
use highwater_env::{Env, Task, sleep};
use highwater_metadata::configs::ConfigView;
use highwater_metadata::controller::{self, Controller, Decision};
use highwater_metadata::{Refusal, RefusalCode};
use highwater_quorum::ProposeError;
use highwater_types::{BrokerId, Instant, mutant};
use std::time::Duration;

/// How often the controller looks whether brokers are still alive and what else is due.
const ROUND: Duration = Duration::from_millis(200);

/// What the active controller knows beside the metadata, for as long as it is that.
pub(super) struct Lead {
    /// The term that it leads in.
    term: u64,
    controller: Controller,
}

/// What a decision sees.
pub(super) struct Sight<'a> {
    pub(super) view: &'a ConfigView<'a>,
    pub(super) controller: &'a mut Controller,
    /// The index up to which the view's image holds what was committed.
    pub(super) index: u64,
    pub(super) now: Instant,
}

impl<E: Env> Cluster<E> {
    /// Makes a decision and has it committed. The answers are true when this returns, and stay so whatever fails. On
    /// a broker, what concerns it was carried out.
    ///
    /// A change that was begun runs to its end even if the caller goes away.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&ConfigView<'_>) -> Decision<T>,
    ) -> Result<Vec<Result<T, Refusal>>, CommitError> {
        let (answers, index) = self.decide(|sight| decide(sight.view)).await?;
        self.0.wait_carried(index).await;
        Ok(answers)
    }

    /// Forgets a broker that is gone for good.
    pub(crate) async fn unregister_broker(
        &self,
        id: BrokerId,
    ) -> Result<Vec<Result<(), Refusal>>, CommitError> {
        let decide =
            |Sight { view, controller, .. }: Sight<'_>| controller::unregister_broker(view, controller, id);
        let (answers, index) = self.decide(decide).await?;
        self.0.wait_carried(index).await;
        let quorum = &self.0.quorum;
        if answers.iter().all(Result::is_ok) && quorum.status().learners.contains(&id) {
            let peer = quorum.peer(id);
            if let Err(error) = quorum.remove_learner(id).await {
                tracing::warn!(%id, %error, "a broker that is gone is told of the metadata still: unregister it again");
            }
            // It may have registered anew meanwhile, and been told that it follows already.
            if let Some(peer) = peer.filter(|_| self.0.committed.image().broker(id).is_some())
                && let Err(error) = quorum.add_learner(id, peer).await
            {
                tracing::warn!(%id, %error, "a broker that is back is not told of the metadata: start it again");
            }
        }
        Ok(answers)
    }

    /// Like [`Cluster::change`], for decisions that need what the controller alone knows. Returns without waiting for
    /// anything to be carried out, and the index of what was committed; 0 if nothing had to be.
    pub(super) async fn decide<T: Send + 'static>(
        &self,
        decide: impl FnOnce(Sight<'_>) -> Decision<T>,
    ) -> Result<(Vec<Result<T, Refusal>>, u64), CommitError> {
        let inner = &self.0;
        let mut turn = inner.turn.lock().await;
        let mut lead = inner.lead(&mut turn).await?;
        let term = lead.term;
        let (image, index) = inner.committed.image_and_index();
        let view = inner.view(&image);
        let now = inner.env.clock().now();
        let sight = Sight { view: &view, controller: &mut lead.controller, index, now };
        let Decision { records, answers } = decide(sight);
        if records.is_empty() {
            *turn = Some(lead);
            return Ok((answers, 0));
        }
        let Ok(command) = Command::encode(&records) else {
            let message = "The request would change too much at once: split it into several";
            let refusal = Refusal::new(RefusalCode::PolicyViolation, message);
            *turn = Some(lead);
            return Ok((answers.into_iter().map(|answer| answer.and(Err(refusal.clone()))).collect(), 0));
        };
        // If this fails, or nobody waits for it any more, it is open whether the command will be committed: then there
        // is no lead, and before the next decision the quorum is asked what it holds.
        let index = inner.quorum.propose(term, command).await?;
        *turn = Some(lead);
        drop(turn);
        match inner.committed.refusal(index) {
            Some(problem) => Err(CommitError::Contradiction(problem)),
            None => Ok((answers, index)),
        }
    }
}

impl<E: Env> Inner<E> {
    /// What this node knows as the active controller; made anew when it has become that, after it has applied all that
    /// was committed before.
    async fn lead(&self, turn: &mut Option<Lead>) -> Result<Lead, CommitError> {
        let leadership = self.quorum.leadership();
        let last = turn.take();
        if let Some(problem) = self.quorum.status().failure {
            return Err(CommitError::Failed(problem));
        }
        if leadership.leader != Some(self.node) {
            return Err(CommitError::NotController);
        }
        if let Some(lead) = last.filter(|lead| lead.term == leadership.term) {
            return Ok(lead);
        }
        let term = leadership.term;
        if !mutant!("ctrl-concurrent-fence") {
            // Commits after everything that stands in this leader's log. A command whose proposer went away may be
            // among that: what was committed before now does not hold it, and a decision that misses it would be a
            // wrong one.
            let nothing = Command::encode(&[]).ok().expect("nothing is no large command");
            self.quorum.propose(term, nothing).await?;
        }
        let mut image = self.committed.image();
        if image.cluster_id().is_none() {
            // The first command of a new cluster names it.
            let records = controller::bootstrap(&image, self.cluster_id());
            let command = Command::encode(&records).ok().expect("one record is no large command");
            self.quorum.propose(term, command).await?;
            image = self.committed.image();
        }
        let controller = Controller::new(&image, self.env.clock().now().before(self.without_controller()));
        tracing::info!(term, "this node is the active controller");
        Ok(Lead { term, controller })
    }

    /// For how long brokers had no controller, when there is a new one, to tell that they are alive. It counts as a
    /// part of their sessions, so that who was lost together with the controller is not missed for longer than others;
    /// half a session is left in any case to find the new one.
    fn without_controller(&self) -> Duration {
        let election = millis(self.settings.controller_quorum_election_timeout_ms.into());
        let now = self.env.clock().now();
        // Who has led before has heard nobody meanwhile, and a voter that came late heard nobody at all.
        let silence = self.quorum.leader_heard().map_or(election, |heard| now.since(heard));
        let session = millis(self.settings.broker_session_timeout_ms.into());
        silence.min(session / 2)
    }
}

impl From<ProposeError> for CommitError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { .. } => Self::NotController,
            ProposeError::Timeout => Self::Open,
            ProposeError::Refused(problem) => {
                Self::Refused(Refusal::new(RefusalCode::InvalidRequest, problem))
            }
            ProposeError::Stopped => Self::Stopped,
            ProposeError::Fatal(problem) => Self::Failed(problem),
        }
    }
}

/// Does what is due on the active controller again and again, until the node stops.
pub(super) fn start<E: Env>(cluster: &Cluster<E>) -> Task {
    let cluster = cluster.clone();
    let env = cluster.0.env.clone();
    env.spawn("controller", async move {
        let inner = &cluster.0;
        while !inner.stop.is_raised() {
            let leadership = inner.quorum.leadership();
            if leadership.leader != Some(inner.node) {
                inner.until_stop(inner.quorum.leadership_changed(&leadership)).await;
                continue;
            }
            let mut expiry = None;
            let due = cluster.decide(|Sight { view, controller, now, .. }| {
                let records = controller.tick(view, now);
                expiry = controller.next_expiry(view).map(|at| at.since(now));
                Decision::<()> { records, answers: Vec::new() }
            });
            if let Some(Err(error)) = inner.until_stop(due).await
                && !matches!(error, CommitError::NotController | CommitError::Stopped)
            {
                tracing::warn!(%error, "the controller could not do what is due");
            }
            // A broker that is lost is missed on time, as those wait for it who write to what it led.
            let pause = expiry.filter(|left| !left.is_zero()).map_or(ROUND, |left| left.min(ROUND));
            inner.until_stop(sleep(inner.env.clock(), pause)).await;
        }
    })
}
