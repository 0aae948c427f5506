//! What all nodes of a simulation share: virtual time, tasks, the running hash, the first failure.

use super::clock::ClockState;
use super::engine::EngineKind;
use super::failure::{Failure, Violation};
use super::pipes::NetState;
use super::task::{Handle, ReadyQueue, TaskId, TaskShared, TaskWaker};
use super::trace::{Recent, feed};
use super::{NodeId, Observer};
use crate::disk::{Op, SimDisk};
use crate::hash::EventHash;
use highwater_env::{Event, Purpose, Rng, Task, TaskEnd};
use highwater_types::{Instant, TopicId};
use rand::RngExt;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How many of the newest events a failure shows.
const RECENT_EVENTS: usize = 60;
/// How many notes are kept for a failure. They tell of faults, and are few.
const RECENT_NOTES: usize = 1_000;
/// More polls than any sensible run takes: a livelock.
const MAX_POLLS: u64 = 200_000_000;

pub(super) type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct TaskEntry {
    pub(super) node: NodeId,
    life: u64,
    pub(super) name: &'static str,
    /// None while the task is being polled.
    pub(super) future: Option<BoxFuture>,
    pub(super) shared: Arc<TaskShared>,
}

pub(super) struct NodeState {
    pub(super) name: String,
    /// Counts the incarnations.
    pub(super) life: u64,
    pub(super) disk: SimDisk,
    pub(super) clock: ClockState,
    streams: BTreeMap<Purpose, u64>,
    /// The node's tasks that wait for their turn.
    pub(super) queue: Arc<ReadyQueue>,
    /// Its machine has lost power and does nothing on the network until something runs on it again.
    pub(super) dark: bool,
}

/// Stops a node's disk after so many operations.
pub(super) struct FuseState {
    left: u64,
    /// Burnt by changes of directories alone.
    directories: bool,
    blown: bool,
    watcher: Option<Waker>,
}

impl FuseState {
    pub(super) fn new(operations: u64) -> Self {
        Self { left: operations, directories: false, blown: false, watcher: None }
    }

    pub(super) fn of_directories(operations: u64) -> Self {
        Self { directories: true, ..Self::new(operations) }
    }
}

/// How long disk operations take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskPace {
    /// Of so many operations, one at random lets other tasks run.
    pub yield_one_in: u32,
    /// Of so many operations, one at random takes time; 0 for none.
    pub delay_one_in: u32,
    /// The longest such time.
    pub delay_max: Duration,
}

impl Default for DiskPace {
    fn default() -> Self {
        Self { yield_one_in: 2, delay_one_in: 0, delay_max: Duration::from_millis(5) }
    }
}

/// How often work that is given away takes time, as where other work has the processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComputePace {
    /// Of so many pieces of work, one at random takes time; 0 for none.
    pub delay_one_in: u32,
    /// Of so many of those, one takes up to a second, and the others up to 20 ms.
    pub long_one_in: u32,
}

impl Default for ComputePace {
    fn default() -> Self {
        Self { delay_one_in: 10, long_one_in: 10 }
    }
}

pub(super) struct Inner {
    pub(super) now_ns: u64,
    timers: BTreeMap<(u64, u64), Waker>,
    /// Of whoever moves time, to be told of an earlier timer.
    pub(super) timekeeper: Option<Waker>,
    next_timer: u64,
    pub(super) tasks: BTreeMap<TaskId, TaskEntry>,
    next_task: u64,
    pub(super) nodes: Vec<NodeState>,
    /// Nodes that were dark until something ran on them again.
    pub(super) lit: Vec<NodeId>,
    /// Chooses among ready tasks.
    pub(super) schedule: Rng,
    /// Draws the pauses of disks.
    pub(super) pauses: Rng,
    pub(super) pace: DiskPace,
    pub(super) compute_pace: ComputePace,
    pub(super) fuses: BTreeMap<NodeId, FuseState>,
    pub(super) hash: EventHash,
    pub(super) failure: Option<Failure>,
    pub(super) disk_operations: u64,
    /// How many polls of tasks there were.
    pub(super) polls: u64,
    /// How many there may be.
    pub(super) max_polls: u64,
    recent: VecDeque<Recent>,
    notes: VecDeque<String>,
    /// The names of all topics that there were.
    topics: BTreeMap<TopicId, String>,
    /// How many events are kept for a failure.
    pub(super) recent_limit: usize,
    /// Disk operations count as events.
    pub(super) traces_disks: bool,
    pub(super) reached: BTreeMap<&'static str, u64>,
}

pub(super) struct Machine {
    pub(super) seed: u64,
    pub(super) kind: EngineKind,
    pub(super) queue: Arc<ReadyQueue>,
    inner: Mutex<Inner>,
    pub(super) observers: Mutex<Vec<Observer>>,
    pub(super) net: Mutex<NetState>,
}

impl Machine {
    pub(super) fn new(seed: u64, kind: EngineKind) -> Arc<Self> {
        let inner = Inner {
            now_ns: 0,
            timers: BTreeMap::new(),
            timekeeper: None,
            next_timer: 0,
            tasks: BTreeMap::new(),
            next_task: 1,
            nodes: Vec::new(),
            lit: Vec::new(),
            schedule: Rng::from_stream(seed, 0x5c4e),
            pauses: Rng::from_stream(seed, 0x9a5e),
            pace: DiskPace::default(),
            compute_pace: ComputePace::default(),
            fuses: BTreeMap::new(),
            hash: EventHash::default(),
            failure: None,
            disk_operations: 0,
            polls: 0,
            max_polls: MAX_POLLS,
            recent: VecDeque::new(),
            notes: VecDeque::new(),
            topics: BTreeMap::new(),
            recent_limit: RECENT_EVENTS,
            traces_disks: false,
            reached: BTreeMap::new(),
        };
        Arc::new(Self {
            seed,
            kind,
            queue: Arc::default(),
            inner: Mutex::new(inner),
            observers: Mutex::default(),
            net: Mutex::new(NetState::new(seed)),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while it holds the machine")
    }

    pub(super) fn add_node(&self, name: &str, disk: SimDisk) -> NodeId {
        let mut inner = self.lock();
        // On the executor of its own all tasks stand in one queue, so that the next one is any of any node.
        let queue = match self.kind {
            EngineKind::Executor => self.queue.clone(),
            _ => Arc::default(),
        };
        inner.nodes.push(NodeState {
            name: name.to_owned(),
            life: 0,
            disk,
            clock: ClockState::default(),
            streams: BTreeMap::new(),
            queue,
            dark: false,
        });
        NodeId(inner.nodes.len() - 1)
    }

    /// A generator that no other call gets.
    pub(super) fn entropy(&self, node: NodeId, purpose: Purpose) -> Rng {
        let mut inner = self.lock();
        let count = inner.nodes[node.0].streams.entry(purpose).or_default();
        *count += 1;
        let mut stream = EventHash::default();
        for word in [node.0 as u64, purpose.stream(), *count] {
            stream.word(word);
        }
        Rng::from_stream(self.seed, stream.value())
    }

    pub(super) fn spawn(&self, node: NodeId, life: u64, name: &'static str, future: BoxFuture) -> Task {
        let mut inner = self.lock();
        let id = TaskId(inner.next_task);
        inner.next_task += 1;
        let shared = TaskShared::new(TaskWaker::new(&inner.nodes[node.0].queue, id));
        if inner.nodes[node.0].life != life {
            // The node is gone and its code does not know yet. The future is dropped without the lock.
            drop(inner);
            drop(future);
            shared.finish(TaskEnd::Aborted);
            return Task::new(Handle(shared));
        }
        inner.tasks.insert(id, TaskEntry { node, life, name, future: Some(future), shared: shared.clone() });
        if std::mem::take(&mut inner.nodes[node.0].dark) {
            inner.lit.push(node);
        }
        drop(inner);
        Waker::from(shared.waker().clone()).wake();
        Task::new(Handle(shared))
    }

    /// Ends all tasks of the incarnations of a node that are over.
    pub(super) fn stop_tasks(&self, node: NodeId) {
        let stopped: Vec<TaskEntry> = {
            let mut inner = self.lock();
            let life = inner.nodes[node.0].life;
            let over = |task: &TaskEntry| task.node == node && task.life < life;
            let ids: Vec<TaskId> =
                inner.tasks.iter().filter(|(_, task)| over(task)).map(|(&id, _)| id).collect();
            ids.iter().filter_map(|id| inner.tasks.remove(id)).collect()
        };
        for task in stopped {
            drop(task.future);
            task.shared.finish(TaskEnd::Aborted);
        }
    }

    /// Takes a random one of the ready tasks of this executor's own queue.
    pub(super) fn next_task(&self) -> Option<TaskId> {
        let mut inner = self.lock();
        self.queue.take(|count| inner.schedule.random_range(0..count))
    }

    /// The main future is about to be polled.
    pub(super) fn begin_main(&self) {
        let mut inner = self.lock();
        inner.polls += 1;
        inner.hash.word(0);
    }

    /// Polls one task once.
    pub(super) fn run_task(&self, id: TaskId) {
        let (mut future, shared, node, name) = {
            let mut inner = self.lock();
            inner.polls += 1;
            inner.hash.word(id.0);
            let Some(task) = inner.tasks.get_mut(&id) else { return };
            let Some(future) = task.future.take() else { return };
            (future, task.shared.clone(), task.node, task.name)
        };
        let mut end = None;
        if shared.aborted.load(Ordering::Acquire) {
            end = Some(TaskEnd::Aborted);
        } else {
            shared.waker().begin();
            let waker = Waker::from(shared.waker().clone());
            let mut context = Context::from_waker(&waker);
            let polled =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
            match polled {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => end = Some(TaskEnd::Done),
                Err(panic) => {
                    let node = self.lock().nodes[node.0].name.clone();
                    self.fail(Failure::panic(node, name, panic.as_ref()));
                    end = Some(TaskEnd::Panicked);
                }
            }
        }
        let Some(end) = end else {
            let mut inner = self.lock();
            if let Some(task) = inner.tasks.get_mut(&id) {
                task.future = Some(future);
                return;
            }
            // Its node crashed during the poll.
            drop(inner);
            drop(future);
            return;
        };
        self.lock().tasks.remove(&id);
        drop(future);
        shared.finish(end);
    }

    /// Moves time to the next timer and wakes what waits for it; false if there is none.
    pub(super) fn advance(&self) -> bool {
        let Some(at) = self.next_timer() else { return false };
        self.advance_to(at);
        true
    }

    /// When the next timer goes off.
    pub(super) fn next_timer(&self) -> Option<u64> {
        self.lock().timers.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Moves time to a point, and wakes what waits for it or for earlier ones.
    pub(super) fn advance_to(&self, now_ns: u64) {
        let wakers: Vec<Waker> = {
            let mut inner = self.lock();
            inner.now_ns = inner.now_ns.max(now_ns);
            let now = inner.now_ns;
            if inner.timers.first_key_value().is_none_or(|(&(at, _), _)| at > now) {
                return;
            }
            let later = inner.timers.split_off(&(now + 1, 0));
            std::mem::replace(&mut inner.timers, later).into_values().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Moves time to what an engine's clock says that moves by itself.
    pub(super) fn follow_engine(&self) {
        #[cfg(madsim)]
        if self.kind == EngineKind::Madsim {
            self.advance_to(super::engine::madsim::now_ns());
        }
    }

    /// Whether the run has failed, be it by taking more polls than it may.
    pub(super) fn has_failed(&self) -> bool {
        let mut inner = self.lock();
        if inner.polls > inner.max_polls {
            let steps = inner.polls;
            inner.failure.get_or_insert(Failure::TooLong { steps });
        }
        inner.failure.is_some()
    }

    pub(super) fn sleep(self: &Arc<Self>, until_ns: u64) -> Timer {
        Timer { machine: self.clone(), until_ns, key: None }
    }

    /// Counts one disk operation of a node that is about to happen, or only asks; false if the node's fuse has
    /// blown, and nothing may happen any more.
    pub(super) fn burn(&self, node: NodeId, op: Op, counts: bool) -> bool {
        let watcher = {
            let mut inner = self.lock();
            inner.disk_operations += u64::from(counts);
            let Some(fuse) = inner.fuses.get_mut(&node) else { return true };
            let burns = counts && (!fuse.directories || op.changes_directory());
            if !fuse.blown && !burns {
                return true;
            }
            if fuse.left > 0 {
                fuse.left -= 1;
                return true;
            }
            fuse.blown = true;
            fuse.watcher.take()
        };
        if let Some(watcher) = watcher {
            watcher.wake();
        }
        false
    }

    pub(super) fn fail(&self, failure: Failure) {
        self.lock().failure.get_or_insert(failure);
    }

    pub(super) fn observe(&self, node: NodeId, life: u64, event: &Event) {
        let now = {
            let mut inner = self.lock();
            if inner.nodes[node.0].life != life {
                return;
            }
            let now = inner.now_ns;
            inner.hash.word(now);
            inner.hash.word(node.0 as u64);
            feed(&mut inner.hash, event);
            inner.remember(Recent::Event(now, node, event.clone()));
            match event {
                Event::Reached(mark) => *inner.reached.entry(mark).or_default() += 1,
                Event::TopicCreated { topic, name } => {
                    inner.topics.insert(*topic, name.clone());
                }
                _ => {}
            }
            Instant(now)
        };
        let mut observers = self.observers.lock().expect("no observer panics");
        for observer in observers.iter_mut() {
            if let Err(violation) = observer(node, now, event) {
                self.violate(violation);
            }
        }
    }

    pub(super) fn violate(&self, violation: Violation) {
        self.fail(Failure::Violation(violation));
    }

    /// Puts a line among the recent events, and into the hash.
    pub(super) fn note(&self, text: &str) {
        let mut inner = self.lock();
        let _ = inner.hash.write_str(text);
        let noted = Recent::Note(inner.now_ns, text.to_owned());
        if inner.notes.len() >= RECENT_NOTES {
            inner.notes.pop_front();
        }
        let line = noted.line(|_| String::new(), &BTreeMap::new());
        inner.notes.push_back(line);
        inner.remember(noted);
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.lock().notes.iter().cloned().collect()
    }

    pub(super) fn recent(&self) -> Vec<String> {
        let inner = self.lock();
        let name = |node: NodeId| inner.nodes[node.0].name.clone();
        inner.recent.iter().map(|recent| recent.line(name, &inner.topics)).collect()
    }
}

impl Inner {
    fn remember(&mut self, recent: Recent) {
        if self.recent.len() >= self.recent_limit {
            self.recent.pop_front();
        }
        self.recent.push_back(recent);
    }

    /// Notes a disk operation, if those are traced. It is not part of the hash, which has it already.
    pub(super) fn trace_disk(&mut self, op: Op, path: &Path) {
        if self.traces_disks {
            self.remember(Recent::Disk(self.now_ns, op, path.to_owned()));
        }
    }

    /// When work that was given away is done, if that takes any time.
    pub(super) fn computed_at(&mut self) -> Option<u64> {
        let pace = self.compute_pace;
        if !self.chance_one_in(pace.delay_one_in) {
            return None;
        }
        let most_ms = if self.chance_one_in(pace.long_one_in) { 1_000 } else { 20 };
        Some(self.now_ns + self.pauses.random_range(0..most_ms * 1_000_000))
    }

    pub(super) fn chance_one_in(&mut self, count: u32) -> bool {
        count > 0 && self.pauses.random_range(0..count) == 0
    }

    /// What the tasks are that wait for something that never comes.
    pub(super) fn parked(&self) -> Vec<String> {
        self.tasks.values().map(|task| format!("{} of {}", task.name, self.nodes[task.node.0].name)).collect()
    }
}

/// Ends at a point of virtual time.
pub(super) struct Timer {
    machine: Arc<Machine>,
    until_ns: u64,
    key: Option<(u64, u64)>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let machine = self.machine.clone();
        let mut inner = machine.lock();
        if inner.now_ns >= self.until_ns {
            if let Some(key) = self.key.take() {
                inner.timers.remove(&key);
            }
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            inner.next_timer += 1;
            (self.until_ns, inner.next_timer)
        });
        let is_first = inner.timers.first_key_value().is_none_or(|(&first, _)| key < first);
        inner.timers.insert(key, cx.waker().clone());
        self.key = Some(key);
        let timekeeper = if is_first { inner.timekeeper.take() } else { None };
        drop(inner);
        if let Some(timekeeper) = timekeeper {
            timekeeper.wake();
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.machine.lock().timers.remove(&key);
        }
    }
}

/// Ends when a node's fuse has blown: see [`super::Simulation::fuse`].
pub(super) struct Blown {
    pub(super) machine: Arc<Machine>,
    pub(super) node: NodeId,
}

impl Future for Blown {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.machine.lock().fuses.get_mut(&self.node) {
            Some(fuse) if fuse.blown => return Poll::Ready(()),
            Some(fuse) => fuse.watcher = Some(cx.waker().clone()),
            None => {}
        }
        Poll::Pending
    }
}
