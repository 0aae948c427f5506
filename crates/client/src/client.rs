//! The way to a cluster: connections, metadata and retries, shared by producers, consumers and administration.

use crate::connection::{Answer, Connection};
use crate::metadata::{ClusterMetadata, PartitionMetadata, TopicMetadata};
use crate::{ClientConfig, ClientError};
use highwater_env::{Env, Network, Purpose, sleep};
use highwater_types::{BrokerId, Instant, PartitionIndex, TopicId};
use highwater_wire::messages::{MetadataRequest, MetadataRequestTopic};
use highwater_wire::{ErrorCode, Request, Str};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// For how many of the longest waits before a retry others are asked first.
const SUSPECT_FOR_BACKOFFS: u32 = 5;

/// The way to a cluster. A cheap handle; connections are opened at need and shared.
#[derive(Clone)]
pub struct Client<E: Env>(Arc<Inner<E>>);

struct Inner<E: Env> {
    env: E,
    config: Arc<ClientConfig>,
    metadata: Mutex<Arc<ClusterMetadata>>,
    /// One slot per broker; None is for a bootstrap broker whose number is not known yet. A slot's lock is held while
    /// its connection is being opened, so that one is opened at a time.
    slots: Mutex<BTreeMap<Option<BrokerId>, Slot<E>>>,
    /// Brokers that could not be reached, or did not answer, and until when others are asked first.
    suspects: Mutex<BTreeMap<BrokerId, Instant>>,
    /// Whose turn it is to be asked what any broker can answer.
    turn: AtomicUsize,
    jitter: Mutex<highwater_env::Rng>,
}

type Slot<E> = Arc<tokio::sync::Mutex<Option<Arc<Connection<E>>>>>;

/// Where a partition's requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The broker.
    pub broker: BrokerId,
    /// The topic's id; zero if the broker is too old to have ids.
    pub topic_id: TopicId,
    /// What is known of the partition.
    pub partition: PartitionMetadata,
}

/// An answer that is to come from a broker.
pub(crate) struct Pending<E: Env, R: Request> {
    connection: Arc<Connection<E>>,
    answer: Answer<R>,
}

/// What came of one attempt to have something carried out.
enum Attempt {
    /// It may have been, or may still be.
    Open(ClientError),
    /// It was refused.
    Refused(ClientError),
}

impl<E: Env, R: Request> Pending<E, R> {
    /// Waits for it.
    pub(crate) async fn finish(self) -> Result<R::Response, ClientError> {
        self.connection.finish(self.answer).await
    }
}

impl<E: Env> Client<E> {
    /// Reaches a cluster: connects to the first bootstrap broker that answers, and learns the others from it.
    ///
    /// # Errors
    ///
    /// When none answers within the configured time.
    pub async fn connect(env: E, config: ClientConfig) -> Result<Self, ClientError> {
        if config.bootstrap.is_empty() {
            return Err(ClientError::Invalid("no broker to connect to was given".to_owned()));
        }
        let jitter = Mutex::new(env.entropy(Purpose::Jitter));
        let client = Self(Arc::new(Inner {
            env,
            config: Arc::new(config),
            metadata: Mutex::default(),
            slots: Mutex::default(),
            suspects: Mutex::default(),
            turn: AtomicUsize::new(0),
            jitter,
        }));
        client.refresh(&[], false).await?;
        Ok(client)
    }

    /// A client of the same cluster with connections of its own: for requests whose answers take long, so that others
    /// do not wait behind them.
    pub(crate) fn apart(&self, config: ClientConfig) -> Self {
        let env = self.0.env.clone();
        Self(Arc::new(Inner {
            config: Arc::new(config),
            metadata: Mutex::new(self.metadata()),
            slots: Mutex::default(),
            suspects: Mutex::default(),
            turn: AtomicUsize::new(0),
            jitter: Mutex::new(env.entropy(Purpose::Jitter)),
            env,
        }))
    }

    /// The environment that the client runs in.
    pub fn env(&self) -> &E {
        &self.0.env
    }

    /// How the client reaches its cluster.
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// What is known now.
    pub fn metadata(&self) -> Arc<ClusterMetadata> {
        Arc::clone(&self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One topic's metadata: what is known and not too old, else asked for. `create`: the broker may make the topic if
    /// its configuration allows that.
    pub async fn topic(&self, name: &str, create: bool) -> Result<TopicMetadata, ClientError> {
        let now = self.0.env.clock().now();
        if let Some(known) = self.metadata().topics.get(name)
            && now.since(known.learnt) < self.0.config.metadata_max_age
        {
            return Ok(known.clone());
        }
        self.retry(&format!("the metadata of {name}"), || self.fetch_topic(name, create)).await
    }

    /// Who leads a partition.
    pub async fn leader(&self, topic: &str, partition: PartitionIndex) -> Result<Leader, ClientError> {
        self.retry(&format!("the leader of {topic}-{partition}"), || async move {
            let metadata = self.topic(topic, false).await?;
            let found = metadata.partitions.iter().find(|known| known.index == partition);
            let leader = found.and_then(|found| Some((found.leader?, found)));
            match (leader, found) {
                (Some((broker, partition)), _) => {
                    Ok(Leader { broker, topic_id: metadata.id, partition: partition.clone() })
                }
                (None, Some(_)) => {
                    self.forget(topic);
                    Err(ClientError::NoLeader { topic: topic.to_owned(), partition: partition.0 })
                }
                (None, None) => {
                    let last = metadata.partitions.len();
                    Err(ClientError::Invalid(format!(
                        "{topic} has {last} partitions, and no partition {partition}"
                    )))
                }
            }
        })
        .await
    }

    /// Forgets a topic, so that it is asked for before it is next used. Call it when a broker says that it does not
    /// lead a partition or does not know the topic's id.
    pub fn forget(&self, topic: &str) {
        let mut metadata = self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        if metadata.topics.contains_key(topic) {
            Arc::make_mut(&mut metadata).topics.remove(topic);
        }
    }

    /// Asks for the metadata of topics; of none for an empty slice. Returns the refusals.
    pub async fn refresh(
        &self,
        topics: &[&str],
        create: bool,
    ) -> Result<BTreeMap<Str, ErrorCode>, ClientError> {
        let topics = topics
            .iter()
            .map(|&name| MetadataRequestTopic { topic_id: TopicId::default(), name: Some(Str::from(name)) })
            .collect();
        self.ask_metadata(Some(topics), create).await
    }

    /// Asks for the metadata of every topic.
    pub async fn refresh_all(&self) -> Result<Arc<ClusterMetadata>, ClientError> {
        self.ask_metadata(None, false).await?;
        Ok(self.metadata())
    }

    /// Sends a request to one broker and waits for the answer; `limit` bounds the version.
    pub async fn call<R: Request>(
        &self,
        broker: BrokerId,
        request: &R,
        limit: i16,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection(broker).await?;
        let version = connection.version_of::<R>(limit)?;
        connection.call(request, version).await
    }

    /// Sends a request to whichever broker can be reached, known ones first and in turn: one that is cut off from its
    /// cluster may be reached, and know nothing of what has changed since.
    pub async fn call_any<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        let (broker, connection) = self.any_connection().await?;
        let version = connection.version_of::<R>(i16::MAX)?;
        let result = connection.call(request, version).await;
        if let (Err(error), Some(broker)) = (&result, broker)
            && error.is_retriable()
        {
            self.suspect(broker);
        }
        result
    }

    /// Sends a request that the active controller carries out. A broker that refuses because it is not the
    /// controller has done nothing, so that the request goes to the one that the cluster names; otherwise it is
    /// sent once.
    pub async fn call_controller<R: Request, T>(
        &self,
        request: &R,
        outcome: impl Fn(R::Response) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let named = AtomicBool::new(false);
        let attempt = || async {
            let controller = if named.load(Ordering::Relaxed) { self.controller().await? } else { None };
            let answer = match controller {
                Some(broker) => self.call(broker, request, i16::MAX).await,
                None => self.call_any(request).await,
            };
            outcome(answer.map_err(Attempt::Open)?).map_err(|error| {
                named.store(true, Ordering::Relaxed);
                Attempt::Refused(error)
            })
        };
        let clock = self.0.env.clock();
        let deadline = clock.now().after(self.0.config.operation_timeout);
        for tries in 0u32.. {
            match attempt().await {
                Err(Attempt::Refused(error)) if error.code() == Some(ErrorCode::NOT_CONTROLLER) => {
                    let wait = self.backoff(tries);
                    if clock.now().after(wait) >= deadline {
                        return Err(error);
                    }
                    tracing::debug!(%error, tries, "looking for the controller");
                    sleep(clock, wait).await;
                }
                Err(Attempt::Open(error) | Attempt::Refused(error)) => return Err(error),
                Ok(done) => return Ok(done),
            }
        }
        Err(ClientError::Closed)
    }

    /// The broker that the cluster names as its controller now.
    async fn controller(&self) -> Result<Option<BrokerId>, Attempt> {
        self.refresh(&[], false).await.map_err(Attempt::Open)?;
        Ok(self.metadata().controller)
    }

    /// Others are asked before this one for a while.
    fn suspect(&self, broker: BrokerId) {
        let until = self.0.env.clock().now().after(self.0.config.retry_backoff_max * SUSPECT_FOR_BACKOFFS);
        self.0.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(broker, until);
    }

    /// The known brokers in the order in which they are asked: from another one each time, and last those that failed
    /// lately.
    fn in_turn(&self) -> Vec<BrokerId> {
        let now = self.0.env.clock().now();
        let mut known: Vec<BrokerId> = self.metadata().brokers.keys().copied().collect();
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        if !known.is_empty() {
            let first = turn % known.len();
            known.rotate_left(first);
        }
        let mut suspects = self.0.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.retain(|_, until| *until > now);
        known.sort_by_key(|broker| suspects.contains_key(broker));
        known
    }

    /// The highest version of a call, up to `limit`, that this broker and the client know.
    pub(crate) async fn version_at<R: Request>(
        &self,
        broker: BrokerId,
        limit: i16,
    ) -> Result<i16, ClientError> {
        self.connection(broker).await?.version_of::<R>(limit)
    }

    /// Queues a request for one broker. Requests for one broker leave in the order in which this returns, as long as
    /// the connection lasts.
    pub(crate) async fn start<R: Request>(
        &self,
        broker: BrokerId,
        request: &R,
        version: i16,
    ) -> Result<Pending<E, R>, ClientError> {
        let connection = self.connection(broker).await?;
        let answer = connection.start(request, version).await?;
        Ok(Pending { connection, answer })
    }

    /// Queues a request that is not answered.
    pub(crate) async fn send_unanswered<R: Request>(
        &self,
        broker: BrokerId,
        request: &R,
        version: i16,
    ) -> Result<(), ClientError> {
        self.connection(broker).await?.send_unanswered(request, version).await
    }

    /// Repeats `attempt` while it fails with something that may pass, for as long as an operation may take.
    pub async fn retry<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ClientError> {
        let clock = self.0.env.clock();
        let deadline = clock.now().after(self.0.config.operation_timeout);
        for tries in 0u32.. {
            match attempt().await {
                Err(error) if error.is_retriable() => {
                    let wait = self.backoff(tries);
                    if clock.now().after(wait) >= deadline {
                        return Err(error);
                    }
                    tracing::debug!(%error, what, tries, "trying again");
                    sleep(clock, wait).await;
                }
                done => return done,
            }
        }
        Err(ClientError::Closed)
    }

    /// How long to wait before retry number `tries`: exponential, with a fifth of jitter either way.
    pub(crate) fn backoff(&self, tries: u32) -> Duration {
        let config = &self.0.config;
        let whole = config.retry_backoff.saturating_mul(1 << tries.min(16)).min(config.retry_backoff_max);
        let mut jitter = self.0.jitter.lock().unwrap_or_else(PoisonError::into_inner);
        whole.mul_f64(jitter.random_range(0.8..1.2))
    }

    async fn fetch_topic(&self, name: &str, create: bool) -> Result<TopicMetadata, ClientError> {
        let refused = self.refresh(&[name], create).await?;
        if let Some(&code) = refused.get(name) {
            return Err(ClientError::Refused { what: format!("topic {name}"), code, message: None });
        }
        let metadata = self.metadata();
        let known = metadata.topics.get(name).cloned();
        known.ok_or_else(|| ClientError::Protocol {
            peer: "the broker".to_owned(),
            cause: format!("the metadata of {name} was asked for and is missing"),
        })
    }

    async fn ask_metadata(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
        create: bool,
    ) -> Result<BTreeMap<Str, ErrorCode>, ClientError> {
        let all = topics.is_none();
        let request =
            MetadataRequest { topics, allow_auto_topic_creation: create, ..MetadataRequest::default() };
        let answer = self.call_any(&request).await?;
        ClientError::check(answer.error_code, None, || "the cluster's metadata".to_owned())?;
        let now = self.0.env.clock().now();
        let mut metadata = self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = Arc::make_mut(&mut metadata);
        if all {
            metadata.keep_only(&answer);
        }
        Ok(metadata.update(&answer, now))
    }

    async fn connection(&self, broker: BrokerId) -> Result<Arc<Connection<E>>, ClientError> {
        let slot = self.slot(Some(broker));
        let mut held = slot.lock().await;
        if let Some(open) = held.as_ref().filter(|connection| connection.is_open()) {
            return Ok(Arc::clone(open));
        }
        let (host, port) =
            self.metadata().brokers.get(&broker).cloned().ok_or(ClientError::UnknownBroker(broker))?;
        let opened = self.open(&host, port).await?;
        *held = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// An open connection to any known broker, or a new one to those or the bootstrap brokers.
    async fn any_connection(&self) -> Result<(Option<BrokerId>, Arc<Connection<E>>), ClientError> {
        let mut last = None;
        for broker in self.in_turn() {
            match self.connection(broker).await {
                Ok(connection) => return Ok((Some(broker), connection)),
                Err(error) => {
                    self.suspect(broker);
                    last = Some(error);
                }
            }
        }
        let slot = self.slot(None);
        let mut held = slot.lock().await;
        if let Some(open) = held.as_ref().filter(|connection| connection.is_open()) {
            return Ok((None, Arc::clone(open)));
        }
        for address in &self.0.config.bootstrap {
            let (host, port) = host_and_port(address)?;
            match self.open(host, port).await {
                Ok(opened) => {
                    *held = Some(Arc::clone(&opened));
                    return Ok((None, opened));
                }
                Err(error) => last = Some(error),
            }
        }
        let cause = match last {
            // Or the address would be said twice.
            Some(ClientError::Unreachable { cause, .. }) => cause,
            Some(error) => error.to_string(),
            None => String::new(),
        };
        Err(ClientError::Unreachable { addresses: self.0.config.bootstrap.join(", "), cause })
    }

    async fn open(&self, host: &str, port: u16) -> Result<Arc<Connection<E>>, ClientError> {
        let unreachable =
            |cause: String| ClientError::Unreachable { addresses: format!("{host}:{port}"), cause };
        let resolved = self.0.env.network().resolve(host, port).await;
        let addresses = resolved.map_err(|error| unreachable(error.to_string()))?;
        let mut last = unreachable("the name has no address".to_owned());
        for address in addresses {
            match Connection::open(&self.0.env, address, &self.0.config).await {
                Ok(connection) => return Ok(Arc::new(connection)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn slot(&self, broker: Option<BrokerId>) -> Slot<E> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(broker).or_default())
    }
}

fn host_and_port(address: &str) -> Result<(&str, u16), ClientError> {
    let malformed =
        || ClientError::Invalid(format!("{address:?}: expected host:port, such as 127.0.0.1:9092"));
    let (host, port) = address.trim().rsplit_once(':').ok_or_else(malformed)?;
    let port = port.parse().map_err(|_| malformed())?;
    Ok((host.trim_matches(['[', ']']), port))
}

#[cfg(test)]
mod tests;
