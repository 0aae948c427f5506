//! A node: opened, listening, stopped.

use crate::budget::Budget;
use crate::cluster::{Addresses, Cluster, ClusterError, Readiness, opened_after_a_crash, start_lifecycle};
use crate::config::{BrokerConfig, ListenerConfig};
use crate::connections::Connections;
use crate::directory::Directory;
use crate::groups::Groups;
use crate::handlers::fetch::Sessions;
use crate::internal;
use crate::latch::Latch;
use crate::listener;
use crate::maintenance;
use crate::metrics::{Metrics, render_number};
use crate::producer_ids::ProducerIds;
use crate::scrub;
use crate::state::Shared;
use crate::warnings::Warnings;
use highwater_env::{Env, Listener, Network, Purpose, Task, timeout};
use highwater_log::{Identity, RecoveryReport, Store, StoreError, StoreOptions};
use highwater_metadata::Endpoint;
use highwater_metadata::configs::{BrokerSettings, ConfigView};
use highwater_quorum::BoxFuture;
use highwater_types::ClusterId;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The number of Kafka's security protocol without encryption or authentication.
const PLAINTEXT: i16 = 0;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The metadata could not be read or written.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Clients could not be told where to connect.
    #[error(
        "listener {name} listens on every address ({address}), which clients cannot connect to: say what they shall be \
         told instead (advertised)"
    )]
    Advertised {
        /// The listener.
        name: String,
        /// The address.
        address: SocketAddr,
    },
    /// There is no listener, or two have one name.
    #[error("at least one listener is needed, and each must have a name of its own")]
    Listeners,
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
}

/// A running node. Call [`Node::shutdown`] before dropping it: a node that is merely dropped goes on in its tasks.
pub struct Node<E: Env> {
    shared: Arc<Shared<E>>,
    addresses: Vec<SocketAddr>,
    internal: Option<(SocketAddr, Task)>,
    /// The listeners for clients, which are started when the node is ready.
    listeners: Arc<Mutex<Vec<Task>>>,
    life: Vec<Task>,
    background: Vec<Task>,
    readiness: Arc<Readiness>,
    recovery: Vec<RecoveryReport>,
}

/// What a node is made of once its store is open.
struct Parts<E: Env> {
    env: E,
    config: BrokerConfig,
    settings: BrokerSettings,
    store: Store<E>,
    metrics: Arc<Metrics>,
    recovery: Vec<RecoveryReport>,
}

type ListenerOf<E> = <<E as Env>::Network as Network>::Listener;

impl<E: Env> Node<E> {
    /// Starts a node and waits until it serves requests: it is registered with its cluster, and has carried out the
    /// metadata. In a cluster that takes as long as a majority of the voters is missing.
    pub async fn start(env: E, config: BrokerConfig) -> Result<Self, StartError> {
        let node = Self::launch(env, config).await?;
        if let Err(error) = node.ready().await {
            if let Err(error) = node.shutdown().await {
                tracing::warn!(%error, "the data directory was not closed cleanly");
            }
            return Err(error);
        }
        Ok(node)
    }

    /// Opens the data directory and takes part in the cluster's quorum. Clients are served later, when
    /// [`Node::ready`] returns.
    pub async fn launch(env: E, config: BrokerConfig) -> Result<Self, StartError> {
        config.check_cluster().map_err(StartError::Config)?;
        check_listeners(&config)?;
        let metrics = Arc::new(Metrics::default());
        let mut config = config;
        if config.durability == highwater_log::Durability::Replicated
            && config.settings.get("durability").is_none()
        {
            config.settings.set("durability", "replicated".to_owned()).expect("the table has this value");
        }
        let empty = highwater_metadata::Image::new();
        let settings =
            ConfigView { image: &empty, statics: &config.settings, broker: config.node_id }.broker();
        let (store, recovery) = Store::open(env.clone(), store_options(&config, &settings)).await?;
        if !store.was_clean() {
            // Fails with the store as it is: closed in good order, it would count as complete.
            opened_after_a_crash(env.clone(), &config.data_dir).await?;
        }
        for report in recovery.iter().filter(|report| report.is_alarming()) {
            tracing::error!(log = %report.log, ?report, "recovery found damage");
        }
        let parts = Parts { env, config, settings, store: store.clone(), metrics, recovery };
        let started = Self::start_on_store(parts).await;
        if started.is_err() {
            // Frees the directory: a store that is merely dropped holds its lock a little longer.
            if let Err(error) = store.close().await {
                tracing::warn!(%error, "the data directory was not closed cleanly");
            }
        }
        started
    }

    async fn start_on_store(parts: Parts<E>) -> Result<Self, StartError> {
        let Parts { env, config, settings, store, metrics, recovery } = parts;
        // The addresses must be known before the node registers itself; nobody is served before all is ready.
        let mut listeners = Vec::new();
        let mut endpoints = Vec::new();
        let mut addresses = Vec::new();
        for listener in &config.listeners {
            let (bound, address) = listen(&env, listener).await?;
            endpoints.push(endpoint(listener, address)?);
            listeners.push(bound);
            addresses.push(address);
        }
        let directory = Arc::new(Directory::new(
            env.clone(),
            config.node_id,
            config.settings.clone(),
            Arc::clone(&metrics),
        ));
        let internal = match &config.internal {
            Some(listener) => {
                let (bound, address) = listen(&env, listener).await?;
                let endpoint = endpoint(listener, address)?;
                Some((bound, address, (endpoint.host, endpoint.port)))
            }
            None => None,
        };
        let stop = Arc::new(Latch::default());
        // Boxed: the compiler cannot follow so deep a future to see that it may go to another thread.
        let opening: BoxFuture<'_, _> = Box::pin(Cluster::open(
            env.clone(),
            store.clone(),
            Arc::clone(&directory),
            config.clone(),
            settings.clone(),
            &recovery,
            Arc::clone(&stop),
        ));
        let cluster = opening.await?;
        let now = env.clock().now();
        let shared = Arc::new(Shared {
            budget: Budget::new(config.limits.memory_bytes),
            groups: Groups::new(&env, &settings),
            settings,
            config,
            store,
            cluster,
            directory,
            sessions: Sessions::new(env.entropy(Purpose::Ids)),
            producer_ids: ProducerIds::default(),
            metrics,
            connections: Connections::default(),
            warnings: Warnings::new(now),
            stop: Arc::clone(&stop),
            env: env.clone(),
        });
        let mut reached_at = (String::new(), 0);
        let internal = internal.map(|(bound, address, advertised)| {
            reached_at = advertised;
            let served = Arc::clone(&shared);
            (address, internal::start(&env, bound, served, stop))
        });
        let background =
            vec![maintenance::start(&shared), maintenance::start_cleaner(&shared), scrub::start(&shared)];
        let replication = shared.directory.replication();
        replication.proposals().set_controller(Arc::new(shared.cluster.in_sync_controller()));
        replication.start(&shared);
        shared.groups.start(&shared);
        let (readiness, tasks) = (Arc::new(Readiness::default()), Arc::new(Mutex::new(Vec::new())));
        let serve = {
            let (shared, tasks) = (Arc::clone(&shared), Arc::clone(&tasks));
            move || {
                let started = listeners
                    .into_iter()
                    .enumerate()
                    .map(|(index, bound)| listener::start(&shared, index, bound));
                tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(started);
            }
        };
        let at = Addresses { endpoints, internal: reached_at };
        let life = start_lifecycle(&shared.cluster, at, &readiness, serve);
        Ok(Self { shared, addresses, internal, listeners: tasks, life, background, readiness, recovery })
    }

    /// Waits until clients are served.
    pub async fn ready(&self) -> Result<(), StartError> {
        Ok(self.readiness.wait().await?)
    }

    /// Waits until the node takes no part in its cluster any more, though nobody stopped it, and returns why: its part
    /// of the metadata quorum failed, say. It should be stopped then, and started anew.
    pub async fn failed(&self) -> String {
        self.readiness.ended().await
    }

    /// The address of the internal port, if the node has one.
    pub fn internal_addr(&self) -> Option<SocketAddr> {
        self.internal.as_ref().map(|(address, _)| *address)
    }

    /// What all parts of the node share.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared<E>> {
        &self.shared
    }

    /// The addresses that are listened on, in the order of the configured listeners.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The cluster that the node belongs to.
    pub fn cluster_id(&self) -> ClusterId {
        self.shared.store.cluster_id()
    }

    /// What the node counts of itself.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// All that Prometheus is told, as text.
    pub fn render_metrics(&self) -> String {
        let mut out = self.shared.metrics.render();
        let routing = self.shared.directory.load();
        let partitions = || routing.topics().flat_map(|topic| &topic.partitions);
        let here = || partitions().flatten();
        let mut add = |kind, name, help, value: u64| render_number(&mut out, kind, name, help, value);
        add("gauge", "highwater_topics", "Topics.", routing.image.topic_count() as u64);
        add("gauge", "highwater_partitions", "Partitions of this node.", partitions().count() as u64);
        let offline = partitions().count()
            - here().filter(|partition| partition.progress().stopped().is_none()).count();
        add("gauge", "highwater_partitions_offline", "Partitions whose log failed.", offline as u64);
        let damaged = here().map(|partition| partition.log().damaged().len()).sum::<usize>();
        add("gauge", "highwater_damaged_ranges", "Ranges of offsets that are damaged here.", damaged as u64);
        let bytes = here().map(|partition| partition.log().size_bytes()).sum();
        add("gauge", "highwater_log_bytes", "Bytes of all logs of topics.", bytes);
        let budget = &self.shared.budget;
        add(
            "gauge",
            "highwater_request_memory_bytes",
            "Memory of requests in work and answers.",
            budget.used() as u64,
        );
        add(
            "counter",
            "highwater_memory_waits_total",
            "Times that a connection was not read from because that memory was used up.",
            budget.waits(),
        );
        self.shared.groups.render(&routing, &mut out);
        out
    }

    /// What opening the logs found.
    pub fn recovery(&self) -> &[RecoveryReport] {
        &self.recovery
    }

    /// Stops the node: its leaderships move to others, no more requests are taken, those in work are finished and
    /// answered, and the store is closed so that the next start need not recover anything.
    pub async fn shutdown(self) -> Result<(), StoreError> {
        let shared = self.shared;
        shared.cluster.take_leave().await;
        shared.stop.raise();
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        for listener in listeners.into_iter().chain(self.internal.map(|(_, task)| task)) {
            listener.abort();
            listener.await;
        }
        shared.connections.close();
        // Requests in work give up by themselves before twice the grace; whatever is left then is stuck.
        let grace: Duration = shared.config.limits.shutdown_grace;
        if timeout(shared.env.clock(), grace * 2, shared.connections.all_closed()).await.is_err() {
            tracing::warn!("connections did not close in time");
        }
        for task in self.life.into_iter().chain(self.background) {
            task.await;
        }
        shared.directory.replication().stopped().await;
        shared.groups.stopped().await;
        shared.cluster.close().await;
        shared.directory.close();
        shared.store.close().await
    }
}

fn check_listeners(config: &BrokerConfig) -> Result<(), StartError> {
    let listeners = &config.listeners;
    let repeated = listeners
        .iter()
        .enumerate()
        .any(|(at, listener)| listeners[..at].iter().any(|other| other.name == listener.name));
    if listeners.is_empty() == config.is_broker || repeated { Err(StartError::Listeners) } else { Ok(()) }
}

fn store_options(config: &BrokerConfig, settings: &BrokerSettings) -> StoreOptions {
    StoreOptions {
        identity: Identity { cluster: config.cluster_id, node: config.node_id },
        durability: config.durability,
        producer_expiration: Duration::from_millis(
            u64::try_from(settings.producer_id_expiration_ms).unwrap_or(0),
        ),
        ..StoreOptions::new(&config.data_dir, config.node_id)
    }
}

async fn listen<E: Env>(
    env: &E,
    listener: &ListenerConfig,
) -> Result<(ListenerOf<E>, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address: listener.listen, source };
    let bound = env.network().listen(listener.listen).await.map_err(failed)?;
    let address = bound.local_addr().map_err(failed)?;
    Ok((bound, address))
}

fn endpoint(listener: &ListenerConfig, address: SocketAddr) -> Result<Endpoint, StartError> {
    let host = match &listener.advertised_host {
        Some(host) => host.clone(),
        None if address.ip().is_unspecified() => {
            return Err(StartError::Advertised { name: listener.name.clone(), address });
        }
        None => address.ip().to_string(),
    };
    Ok(Endpoint {
        listener: listener.name.clone(),
        host,
        port: listener.advertised_port.unwrap_or(address.port()),
        security_protocol: PLAINTEXT,
    })
}
