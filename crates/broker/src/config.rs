//! What a node is started with.

use highwater_log::Durability;
use highwater_metadata::configs::StaticConfig;
use highwater_types::{BrokerId, ClusterId};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a node is started with. Kafka's own broker configurations are in [`BrokerConfig::settings`]; the fields here
/// are what Kafka has no name for, or what must be known before anything is read from disk.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// The node's number within its cluster.
    pub node_id: BrokerId,
    /// The cluster that the node belongs to. None: the data directory's own, or a new one if the directory is empty.
    pub cluster_id: Option<ClusterId>,
    /// Where the data lies.
    pub data_dir: PathBuf,
    /// Where clients connect. At least one, unless the node is a controller alone.
    pub listeners: Vec<ListenerConfig>,
    /// The voters of the metadata quorum, this node among them if it is a controller. Empty: the node is alone.
    pub voters: Vec<VoterConfig>,
    /// Where the other nodes of the cluster connect. Needed unless the node is alone.
    pub internal: Option<ListenerConfig>,
    /// Whether the node keeps partitions and serves clients, or is a controller alone.
    pub is_broker: bool,
    /// The rack that the node stands in: replicas are spread over racks, and consumers read from their own.
    pub rack: Option<String>,
    /// What an acknowledgement of acks=all stands for.
    pub durability: Durability,
    /// Kafka's broker configurations that the node's own configuration sets.
    pub settings: StaticConfig,
    /// Bounds on what connections may take.
    pub limits: Limits,
}

/// A voter of the metadata quorum, and where its internal port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterConfig {
    /// The node.
    pub id: BrokerId,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One address that is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The listener's name, such as `PLAINTEXT`.
    pub name: String,
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The host that clients are told to connect to. None: the address that is listened on, which must be a real one
    /// then.
    pub advertised_host: Option<String>,
    /// The port that clients are told to connect to. None: the one that is listened on.
    pub advertised_port: Option<u16>,
}

impl ListenerConfig {
    /// A listener without encryption or authentication that advertises the address it listens on.
    pub fn plaintext(listen: SocketAddr) -> Self {
        Self { name: "PLAINTEXT".to_owned(), listen, advertised_host: None, advertised_port: None }
    }
}

/// Bounds on what connections may take of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The memory of all requests that are being received or worked on, and of all large answers that wait to be
    /// taken. Connections are not read from while it is used up. At least one request always fits.
    pub memory_bytes: usize,
    /// How many requests of one connection may be in work.
    pub in_flight_requests: usize,
    /// How many bytes of answers of one connection may wait to be taken before no more of its requests are begun.
    pub unsent_bytes: usize,
    /// After how long without progress a connection is closed whose peer does not take its answers, or does not send
    /// the rest of a large request.
    pub stall: Duration,
    /// For how long a shutdown waits for requests in work.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            in_flight_requests: 512,
            unsent_bytes: 1 << 20,
            stall: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

impl BrokerConfig {
    /// A node that listens on one address, with every other setting at its default.
    pub fn new(node_id: BrokerId, data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            node_id,
            cluster_id: None,
            data_dir: data_dir.into(),
            listeners: vec![ListenerConfig::plaintext(listen)],
            voters: Vec::new(),
            internal: None,
            is_broker: true,
            rack: None,
            durability: Durability::Sync,
            settings: StaticConfig::default(),
            limits: Limits::default(),
        }
    }

    /// Whether the node is a voter of the quorum.
    pub fn is_voter(&self) -> bool {
        self.voters.is_empty() || self.voters.iter().any(|voter| voter.id == self.node_id)
    }

    /// Whether what is said of the cluster fits together; if not, what does not.
    pub fn check_cluster(&self) -> Result<(), String> {
        for (at, voter) in self.voters.iter().enumerate() {
            if voter.id.0 < 0 || voter.host.is_empty() || voter.port == 0 {
                return Err(format!("voter {}: a number, a host and a port are needed", voter.id));
            }
            if self.voters[..at].iter().any(|other| other.id == voter.id) {
                return Err(format!("voter {} is named twice", voter.id));
            }
        }
        if self.voters.is_empty() {
            return if self.is_broker { Ok(()) } else { Err("a controller alone needs voters".to_owned()) };
        }
        if self.internal.is_none() {
            return Err("a node of a cluster needs an internal port (internal)".to_owned());
        }
        if self.voters.len() > 1 && self.cluster_id.is_none() {
            return Err(
                "a node of a cluster needs its cluster_id; draw one for all nodes with: highwater cluster new-id"
                    .to_owned(),
            );
        }
        if !self.is_broker && !self.is_voter() {
            return Err(format!("node {} is neither a broker nor one of the voters", self.node_id));
        }
        Ok(())
    }
}
