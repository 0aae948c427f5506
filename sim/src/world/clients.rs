//! The machines of clients, and what they write down of all they see.

use crate::executor::SimEnv;
use crate::history::{History, Op, Outcome};
use highwater_client::{Client, ClientConfig, ClientError};
use highwater_env::{Env, Purpose, Rng, sleep};
use highwater_faults::{TopicSpec, WorkloadSpec};
use rand::RngExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an operation may take with all its retries.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client that reaches nobody waits before it tries again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(300);
/// How often one who pauses looks whether the work is over.
const GLANCE: Duration = Duration::from_secs(1);

/// What the clients of a run share: what they are to do, and what they have seen.
pub(crate) struct Shared {
    history: Mutex<History>,
    pub workload: WorkloadSpec,
    pub topics: Vec<TopicSpec>,
    bootstrap: Vec<String>,
    /// Damage may be met: what a client is given then is no violation by itself.
    pub tolerant: bool,
    /// There is one node, so that no answer about metadata is late.
    pub alone: bool,
    over: AtomicBool,
    busy: AtomicUsize,
    operations: AtomicU64,
    next_client: AtomicU32,
}

impl Shared {
    pub(crate) fn new(
        workload: WorkloadSpec,
        topics: Vec<TopicSpec>,
        bootstrap: Vec<String>,
        tolerant: bool,
        alone: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            history: Mutex::default(),
            workload,
            topics,
            bootstrap,
            tolerant,
            alone,
            over: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            operations: AtomicU64::new(0),
            next_client: AtomicU32::new(1),
        })
    }

    /// What clients have seen so far.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no code panics while it holds the history")
    }

    /// Tells everybody to begin nothing more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// How many replicas a topic of a client's own has.
    pub(crate) fn replicas(&self) -> u32 {
        u32::try_from(self.bootstrap.len().min(3)).unwrap_or(1)
    }

    /// Why one of the first topics was not made.
    pub(crate) fn refused_topic(&self) -> Option<String> {
        self.history().entries().iter().find_map(|entry| match &entry.op {
            Op::CreateTopic { topic, answer: Outcome::Failed(why) | Outcome::Unknown(why), .. } => {
                Some(format!("topic {topic} is not made: {why}"))
            }
            Op::CreateTopic { topic, answer: Outcome::Open, .. } => {
                Some(format!("topic {topic} is not made in time"))
            }
            _ => None,
        })
    }

    /// How many tasks of clients have something left to do.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// How many operations clients have begun.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }
}

/// Counts a task as busy while it lives.
pub(crate) struct Busy(Arc<Shared>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's machine.
#[derive(Clone)]
pub(crate) struct Machine {
    pub env: SimEnv,
    pub shared: Arc<Shared>,
}

impl Machine {
    /// Whether the work is over.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }

    /// Waits, but not much longer than the work lasts.
    pub(crate) async fn pause(&self, duration: Duration) {
        let until = self.env.clock().now().after(duration);
        while !self.is_over() {
            let left = until.since(self.env.clock().now());
            if left.is_zero() {
                return;
            }
            sleep(self.env.clock(), left.min(GLANCE)).await;
        }
    }

    /// A generator that no other call gets.
    pub(crate) fn rng(&self) -> Rng {
        self.env.entropy(Purpose::User(0))
    }

    pub(crate) fn busy(&self) -> Busy {
        self.shared.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.shared.clone())
    }

    /// Starts a task of the workload, which counts as busy until it ends.
    pub(crate) fn work(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let busy = self.busy();
        self.env
            .spawn(name, async move {
                task.await;
                drop(busy);
            })
            .detach();
    }

    /// One more client, as checkers tell them apart.
    pub(crate) fn recorder(&self) -> Recorder {
        let client = self.shared.next_client.fetch_add(1, Ordering::Relaxed);
        Recorder { machine: self.clone(), client }
    }

    fn config(&self) -> ClientConfig {
        ClientConfig {
            client_id: "simulated".to_owned(),
            request_timeout: self.shared.workload.request_timeout,
            connect_timeout: CONNECT_TIMEOUT,
            operation_timeout: OPERATION_TIMEOUT,
            metadata_max_age: Duration::from_secs(20),
            retry_backoff: Duration::from_millis(50),
            retry_backoff_max: Duration::from_millis(500),
            ..ClientConfig::new(self.shared.bootstrap.iter().cloned())
        }
    }

    /// Tries once to reach the cluster.
    pub(crate) async fn try_connect(&self) -> Result<Client<SimEnv>, ClientError> {
        Client::connect(self.env.clone(), self.config()).await
    }

    /// Reaches the cluster; None once the work is over.
    pub(crate) async fn connect(&self) -> Option<Client<SimEnv>> {
        while !self.is_over() {
            match self.try_connect().await {
                Ok(client) => return Some(client),
                Err(_) => sleep(self.env.clock(), RECONNECT_PAUSE).await,
            }
        }
        None
    }

    /// Where the cluster is.
    pub(crate) fn bootstrap(&self) -> &[String] {
        &self.shared.bootstrap
    }

    /// An operation that is not written down on its own, such as a poll.
    pub(crate) fn count_operation(&self) {
        self.shared.operations.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes down what one client does and sees, at true time.
#[derive(Clone)]
pub(crate) struct Recorder {
    machine: Machine,
    client: u32,
}

impl Recorder {
    /// The client's number.
    pub(crate) fn client(&self) -> u32 {
        self.client
    }

    /// An operation begins.
    pub(crate) fn begin(&self, op: Op) -> usize {
        self.machine.count_operation();
        let now = self.machine.env.true_now();
        self.machine.shared.history().begin(self.client, now, op)
    }

    /// An operation ends.
    pub(crate) fn end(&self, id: usize, change: impl FnOnce(&mut Op)) {
        let now = self.machine.env.true_now();
        self.machine.shared.history().end(id, now, change);
    }

    /// Something was read.
    pub(crate) fn saw(&self, op: Op) {
        let now = self.machine.env.true_now();
        self.machine.shared.history().at_once(self.client, now, op);
    }
}

/// A time between two things that happen at random, by its mean.
pub(crate) fn drawn_pause(rng: &mut Rng, mean: Duration) -> Duration {
    let uniform: f64 = rng.random_range(1e-6..1.0);
    mean.mul_f64(-uniform.ln())
}
