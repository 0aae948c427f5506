//! The groups of one partition of the offsets topic, in one epoch of its leader.

use crate::partition::Partition;
use highwater_env::{Env, Event};
use highwater_groups::{
    Action, Answer, Coordinator, GroupSettings, Note, Now, Record, Token, Topics, WriteId,
};
use highwater_types::{Instant, LeaderEpoch, mutant};
use highwater_wire::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// How many writes may wait for those before them. Whoever wants one more is asked to try again later.
const MAX_QUEUED: usize = 20_000;

/// The groups of one partition of the offsets topic.
///
/// Requests act on the coordinator under a lock that is held for a moment; its task ([`super::serve`]) reads the log,
/// writes what is to be written, and lets time pass.
pub(crate) struct Shard<E: Env> {
    pub(super) env: E,
    pub(super) partition: Arc<Partition<E>>,
    epoch: LeaderEpoch,
    settings: GroupSettings,
    state: Mutex<State>,
    /// Wakes the task: there is something to write, or an earlier timer.
    pub(super) bell: Notify,
}

struct State {
    phase: Phase,
    coordinator: Coordinator,
    /// The requests that wait for their answers.
    waiting: BTreeMap<Token, oneshot::Sender<Answer>>,
    next_token: u64,
    /// What is to be written, in this order.
    queue: VecDeque<Queued>,
    /// The timer that the task knows of.
    due: Option<Instant>,
    /// What it takes for written was not: it must be made anew.
    doubtful: bool,
    /// Topics that went while the log was read.
    gone: BTreeSet<Str>,
}

/// Records to be written together.
pub(super) struct Queued {
    pub(super) id: WriteId,
    pub(super) records: Vec<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The log is being read.
    Loading,
    Active,
    /// The epoch is over, or the node stops.
    Over,
}

/// The answer to a request, once it is there.
pub(crate) struct Reply(oneshot::Receiver<Answer>);

impl Reply {
    /// Waits for it. Whoever is left without one asks another coordinator.
    pub(crate) async fn answer(self) -> Result<Answer, ErrorCode> {
        self.0.await.map_err(|_| ErrorCode::NOT_COORDINATOR)
    }
}

impl<E: Env> Shard<E> {
    pub(super) fn new(
        env: E,
        partition: Arc<Partition<E>>,
        epoch: LeaderEpoch,
        settings: GroupSettings,
    ) -> Self {
        let state = State {
            phase: Phase::Loading,
            coordinator: Coordinator::new(settings.clone()),
            waiting: BTreeMap::new(),
            next_token: 0,
            queue: VecDeque::new(),
            due: None,
            doubtful: false,
            gone: BTreeSet::new(),
        };
        Self { env, partition, epoch, settings, state: Mutex::new(state), bell: Notify::new() }
    }

    pub(super) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().phase == Phase::Over
    }

    /// Whether this node still leads in the shard's epoch.
    pub(super) fn leads(&self) -> bool {
        self.partition.leading() == Some(self.epoch)
    }

    /// Whether nothing can be committed here for now, and others may coordinate by then.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.partition.progress().is_cut_off() && !mutant!("coord-cut-off-parked")
    }

    /// Asks the coordinator for something that is answered now or later.
    pub(crate) fn ask(&self, ask: impl FnOnce(&mut Coordinator, Token, Now)) -> Result<Reply, ErrorCode> {
        let mut state = self.ready()?;
        if state.queue.len() >= MAX_QUEUED {
            return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        }
        let token = Token(state.next_token);
        state.next_token += 1;
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(token, sender);
        ask(&mut state.coordinator, token, self.now());
        self.act(&mut state);
        Ok(Reply(receiver))
    }

    /// Looks at what is committed.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Coordinator) -> T) -> Result<T, ErrorCode> {
        Ok(read(&self.ready()?.coordinator))
    }

    /// The state, if requests may see it.
    fn ready(&self) -> Result<MutexGuard<'_, State>, ErrorCode> {
        let state = self.state();
        let leads = (self.leads() && !self.is_cut_off()) || mutant!("coord-no-unload");
        match state.phase {
            Phase::Active if leads => Ok(state),
            Phase::Loading if mutant!("group-serve-loading") => Ok(state),
            Phase::Loading if leads => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            Phase::Loading | Phase::Active | Phase::Over => Err(ErrorCode::NOT_COORDINATOR),
        }
    }

    /// Forgets what belongs to topics that are gone; while the log is read, once that is done.
    pub(super) fn forget_topics(&self, gone: &BTreeSet<Str>) {
        let mut state = self.state();
        match state.phase {
            Phase::Active => {
                state.coordinator.forget_topics(&|topic| gone.contains(topic));
                self.act(&mut state);
            }
            Phase::Loading => state.gone.extend(gone.iter().cloned()),
            Phase::Over => {}
        }
    }

    /// Begins to read the log, with nothing.
    pub(super) fn begin_loading(&self) {
        self.leave(Phase::Loading);
    }

    pub(super) fn replay(&self, records: impl Iterator<Item = Record>) {
        let mut state = self.state();
        records.for_each(|record| state.coordinator.replay(record));
    }

    /// The log was read.
    pub(super) fn activate(&self) -> usize {
        let mut state = self.state();
        state.coordinator.loaded(self.now());
        state.phase = Phase::Active;
        let gone = std::mem::take(&mut state.gone);
        if !gone.is_empty() {
            state.coordinator.forget_topics(&|topic| gone.contains(topic));
        }
        self.act(&mut state);
        state.coordinator.group_count()
    }

    /// The epoch is over, or the node stops. Whoever waits is told.
    pub(super) fn close(&self) {
        self.leave(Phase::Over);
    }

    fn leave(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        state.coordinator = Coordinator::new(self.settings.clone());
        state.waiting.clear();
        state.queue.clear();
        state.gone.clear();
        state.doubtful = false;
    }

    /// Whether the coordinator must be made anew from the log.
    pub(super) fn is_doubtful(&self) -> bool {
        self.state().doubtful
    }

    /// Lets time pass; when to do so again.
    pub(super) fn tick(&self, topics: &dyn Topics) -> Option<Instant> {
        let mut state = self.state();
        state.coordinator.tick(topics, self.now());
        self.act(&mut state);
        state.due = state.coordinator.next_due();
        state.due
    }

    /// What is to be written next: as much as `take` takes.
    pub(super) fn take_queued<T>(&self, take: impl FnOnce(&mut VecDeque<Queued>) -> T) -> T {
        take(&mut self.state().queue)
    }

    /// Tells what became of writes.
    pub(super) fn settle(&self, ids: &[WriteId], outcome: Result<(), ErrorCode>) {
        let mut state = self.state();
        for id in ids {
            match outcome {
                Ok(()) => state.coordinator.committed(*id, self.now()),
                Err(code) => state.coordinator.failed(*id, code, self.now()),
            }
        }
        self.act(&mut state);
    }

    /// Does what the coordinator wants to be done.
    fn act(&self, state: &mut State) {
        let mut rings = false;
        while let Some(action) = state.coordinator.poll_action() {
            match action {
                Action::Answer(token, answer) => {
                    if let Some(waiting) = state.waiting.remove(&token) {
                        // Nobody may be there to hear it any more.
                        let _ = waiting.send(answer);
                    }
                }
                Action::Write(id, records) => {
                    state.queue.push_back(Queued { id, records });
                    rings = true;
                }
                Action::Reload => {
                    state.doubtful = true;
                    rings = true;
                }
                Action::Note(note) => self.env.observe(&event(note, self.epoch)),
            }
        }
        let due = state.coordinator.next_due();
        rings |= due.is_some_and(|due| state.due.is_none_or(|known| due < known));
        if rings {
            self.bell.notify_one();
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.env.clock().now(), wall: self.env.clock().wall() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came to be, for the environment.
fn event(note: Note, coordinator: LeaderEpoch) -> Event {
    match note {
        Note::Generation { group, generation, protocol, members } => Event::GroupGeneration {
            group: group.to_string(),
            coordinator,
            generation,
            protocol: protocol.to_string(),
            members: members
                .into_iter()
                .map(|(id, said, assignment)| (id.to_string(), said.to_vec(), assignment.to_vec()))
                .collect(),
        },
        Note::Owners { group, all, members, said } => Event::GroupOwners {
            group: group.to_string(),
            coordinator,
            all,
            members: members
                .into_iter()
                .map(|(id, owner)| (id.to_string(), owner.map(|owner| (owner.epoch, owner.partitions))))
                .collect(),
            said: said.into_iter().map(|(id, said)| (id.to_string(), said.to_vec())).collect(),
        },
        Note::Committed { group, generation, member } => Event::OffsetsCommitted {
            group: group.to_string(),
            coordinator,
            generation,
            member: member.to_string(),
        },
    }
}
