//! What is sent when.

use super::ProducerConfig;
use super::partitioner::Sticky;
use super::pipe::{self, Plan, Planned};
use super::queue::{Identity, Limits, PartitionQueue, Wait};
use crate::{Client, ClientError, ClusterMetadata};
use highwater_env::{Env, Rng, sleep, timeout_at};
use highwater_types::{BrokerId, Instant, PartitionIndex, TopicId};
use highwater_wire::Str;
use highwater_wire::messages::InitProducerIdRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, mpsc};

/// What the handles and tasks of one producer share.
pub(crate) struct Shared<E: Env> {
    pub client: Client<E>,
    pub config: ProducerConfig,
    pub limits: Limits,
    /// Wakes the scheduler.
    pub wake: Notify,
    /// Wakes those who flush.
    pub settled: Notify,
    /// One permit per byte of the buffer.
    pub memory: Arc<Semaphore>,
    state: Mutex<State>,
}

/// The state that changes.
pub(crate) struct State {
    pub queues: Vec<Entry>,
    /// Places in `queues`.
    index: BTreeMap<(Str, PartitionIndex), usize>,
    pub next_number: u64,
    pub closed: bool,
    identity: Option<Identity>,
    /// A task asks for a producer id.
    acquiring: bool,
    /// A task asks for metadata.
    refreshing: bool,
    /// Where the next round begins, so that every partition has its turn.
    turn: usize,
    pipes: BTreeMap<BrokerId, Pipe>,
    sticky: BTreeMap<Str, Sticky>,
    rng: Rng,
}

/// The queue of a partition.
pub(crate) struct Entry {
    pub topic: Str,
    pub partition: PartitionIndex,
    pub queue: PartitionQueue,
}

/// The way to one broker.
struct Pipe {
    plans: mpsc::Sender<Plan>,
    /// Requests that are not settled.
    outstanding: usize,
}

impl State {
    /// The queue of a partition.
    pub(crate) fn queue(&mut self, topic: &Str, partition: PartitionIndex) -> &mut PartitionQueue {
        let queues = &mut self.queues;
        let place = *self.index.entry((topic.clone(), partition)).or_insert_with(|| {
            queues.push(Entry { topic: topic.clone(), partition, queue: PartitionQueue::default() });
            queues.len() - 1
        });
        &mut self.queues[place].queue
    }

    /// The partition for a record without a key.
    pub(crate) fn stick(
        &mut self,
        topic: &Str,
        available: &[PartitionIndex],
        size: usize,
        batch_bytes: usize,
    ) -> PartitionIndex {
        let sticky = self.sticky.entry(topic.clone()).or_default();
        sticky.choose(available, size, batch_bytes, &mut self.rng)
    }
}

/// What one round found.
#[derive(Default)]
struct Round {
    plans: BTreeMap<BrokerId, Plan>,
    next: Option<Instant>,
    needs_identity: bool,
    stale_topics: BTreeSet<Str>,
}

impl Round {
    fn at(&mut self, instant: Instant) {
        self.next = Some(self.next.map_or(instant, |next| next.min(instant)));
    }
}

impl<E: Env> Shared<E> {
    pub(crate) fn new(client: Client<E>, config: ProducerConfig, rng: Rng) -> Self {
        let limits = Limits {
            idempotence: config.idempotence,
            in_flight: config.partition_in_flight(),
            linger: config.linger,
            delivery_timeout: config.delivery_timeout,
        };
        let state = State {
            queues: Vec::new(),
            index: BTreeMap::new(),
            next_number: 0,
            closed: false,
            identity: None,
            acquiring: false,
            refreshing: false,
            turn: 0,
            pipes: BTreeMap::new(),
            sticky: BTreeMap::new(),
            rng,
        };
        let memory = Arc::new(Semaphore::new(config.buffer_bytes));
        let (wake, settled) = (Notify::new(), Notify::new());
        Self { client, config, limits, wake, settled, memory, state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the producer: what is queued fails.
    pub(crate) fn close(&self) {
        {
            let mut state = self.lock();
            state.closed = true;
            state.pipes.clear();
            state.queues.iter_mut().for_each(|entry| entry.queue.abandon(&ClientError::Closed));
        }
        self.memory.close();
        self.wake.notify_one();
        self.settled.notify_waiters();
    }

    /// A request to a broker is done with.
    pub(crate) fn release(&self, state: &mut State, broker: BrokerId) {
        if let Some(pipe) = state.pipes.get_mut(&broker) {
            pipe.outstanding -= 1;
        }
    }
}

/// The scheduler's task: ends when the producer is closed.
pub(crate) async fn run<E: Env>(shared: Arc<Shared<E>>) {
    loop {
        let next = dispatch(&shared);
        let clock = shared.client.env().clock();
        let woken = shared.wake.notified();
        match next {
            Err(ClientError::Closed) => return,
            Ok(Some(at)) => {
                let _ = timeout_at(clock, at, woken).await;
            }
            _ => woken.await,
        }
    }
}

/// Sends what can be sent; returns when to look again, if nothing happens before.
fn dispatch<E: Env>(shared: &Arc<Shared<E>>) -> Result<Option<Instant>, ClientError> {
    let now = shared.client.env().clock().now();
    let metadata = shared.client.metadata();
    let mut state = shared.lock();
    let mut expired = false;
    for entry in &mut state.queues {
        expired |= entry.queue.expire(now, &shared.limits);
    }
    if expired {
        shared.settled.notify_waiters();
    }
    loop {
        if state.closed {
            return Err(ClientError::Closed);
        }
        let round = plan_round(shared, &mut state, &metadata, now);
        if round.needs_identity && !state.acquiring {
            state.acquiring = true;
            let task = acquire_identity(Arc::clone(shared));
            shared.client.env().spawn("producer-identity", task).detach();
        }
        if !round.stale_topics.is_empty() && !state.refreshing {
            state.refreshing = true;
            let task = refresh(Arc::clone(shared), round.stale_topics);
            shared.client.env().spawn("producer-metadata", task).detach();
        }
        if round.plans.is_empty() {
            return Ok(round.next);
        }
        for (broker, plan) in round.plans {
            hand_over(shared, &mut state, broker, plan);
        }
    }
}

/// At most one request per broker, with at most one batch per partition.
fn plan_round<E: Env>(
    shared: &Shared<E>,
    state: &mut State,
    metadata: &ClusterMetadata,
    now: Instant,
) -> Round {
    let mut round = Round::default();
    let count = state.queues.len();
    let first = state.turn;
    for step in 0..count {
        let place = (first + step) % count;
        let entry = &mut state.queues[place];
        if let Some(identity) = state.identity.filter(|identity| entry.queue.can_use(*identity)) {
            entry.queue.identify(identity);
        }
        if let Some(expires) = entry.queue.expires(&shared.limits) {
            round.at(expires);
        }
        match entry.queue.readiness(now, &shared.limits) {
            Err(Wait::Event) => continue,
            Err(Wait::Until(at)) => {
                round.at(at);
                continue;
            }
            Err(Wait::Identity) => {
                round.needs_identity = true;
                continue;
            }
            Ok(()) => {}
        }
        let known = metadata.topics.get(&entry.topic);
        if known.is_none_or(|topic| now.since(topic.learnt) >= shared.client.config().metadata_max_age) {
            round.stale_topics.insert(entry.topic.clone());
        }
        let leader = known.and_then(|topic| {
            let partition = topic.partitions.iter().find(|known| known.index == entry.partition)?;
            Some((partition.leader?, topic.id))
        });
        let Some((broker, topic_id)) = leader else {
            round.stale_topics.insert(entry.topic.clone());
            continue;
        };
        let outstanding = state.pipes.get(&broker).map_or(0, |pipe| pipe.outstanding);
        if outstanding < shared.config.max_in_flight
            && add(&mut round, entry, broker, topic_id, place, shared)
        {
            state.turn = place + 1;
        }
    }
    round
}

/// Adds the next batch of a queue to the plan for a broker, if it has room.
fn add<E: Env>(
    round: &mut Round,
    entry: &mut Entry,
    broker: BrokerId,
    topic_id: TopicId,
    place: usize,
    shared: &Shared<E>,
) -> bool {
    let plan = round.plans.entry(broker).or_default();
    let size = plan.size_bytes.saturating_add(entry.queue.next_size());
    if size > shared.config.max_request_bytes && !plan.batches.is_empty() {
        return false;
    }
    let Some(outgoing) = entry.queue.take(&shared.limits) else { return false };
    plan.size_bytes = size;
    plan.batches.push(Planned {
        place,
        topic: entry.topic.clone(),
        topic_id,
        partition: entry.partition,
        outgoing,
    });
    true
}

fn hand_over<E: Env>(shared: &Arc<Shared<E>>, state: &mut State, broker: BrokerId, plan: Plan) {
    let most = shared.config.max_in_flight;
    let pipe = state.pipes.entry(broker).or_insert_with(|| {
        let (plans, queued) = mpsc::channel(most);
        let task = pipe::run(Arc::clone(shared), broker, queued);
        shared.client.env().spawn("producer-pipe", task).detach();
        Pipe { plans, outstanding: 0 }
    });
    pipe.outstanding += 1;
    // The channel holds as many plans as may be outstanding, and its task lives as long as the pipe.
    pipe.plans.try_send(plan).expect("a pipe has room for every request that may be outstanding");
}

/// Asks for a producer id until there is one or the broker refuses for good.
async fn acquire_identity<E: Env>(shared: Arc<Shared<E>>) {
    let request =
        InitProducerIdRequest { transaction_timeout_ms: i32::MAX, ..InitProducerIdRequest::default() };
    for tries in 0.. {
        let result = shared.client.call_any(&request).await.and_then(|answer| {
            ClientError::check(answer.error_code, None, || "no producer id was given".to_owned())?;
            Ok(Identity { id: answer.producer_id, epoch: answer.producer_epoch })
        });
        match result {
            Ok(identity) => {
                shared.lock().identity = Some(identity);
                break;
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, tries, "asking for a producer id again");
                sleep(shared.client.env().clock(), shared.client.backoff(tries)).await;
                if shared.lock().closed {
                    break;
                }
            }
            Err(error) => {
                let mut state = shared.lock();
                state.queues.iter_mut().for_each(|entry| entry.queue.abandon(&error));
                break;
            }
        }
    }
    shared.lock().acquiring = false;
    shared.settled.notify_waiters();
    shared.wake.notify_one();
}

/// Asks for the metadata of topics, and holds off the next asking for a moment.
async fn refresh<E: Env>(shared: Arc<Shared<E>>, topics: BTreeSet<Str>) {
    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    match shared.client.refresh(&names, false).await {
        Ok(refused) => {
            let mut state = shared.lock();
            for (topic, code) in refused.into_iter().filter(|(_, code)| !code.is_retriable()) {
                let error = ClientError::Refused { what: format!("topic {topic}"), code, message: None };
                let queues = state.queues.iter_mut().filter(|entry| entry.topic == topic);
                queues.for_each(|entry| entry.queue.abandon(&error));
            }
        }
        Err(error) => tracing::debug!(%error, "metadata cannot be had"),
    }
    shared.settled.notify_waiters();
    // What was learnt is used at once.
    shared.wake.notify_one();
    sleep(shared.client.env().clock(), shared.client.backoff(0)).await;
    shared.lock().refreshing = false;
    shared.wake.notify_one();
}
