//! The records that the metadata log is made of. Their bytes are in `frame.rs`; what they do to the state is in
//! `image.rs`.

use highwater_types::{
    BrokerEpoch, BrokerId, ClusterId, DiskId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, Uuid,
};

/// The newest version of the metadata's meaning that this program understands ([`ClusterRecord::metadata_version`]).
pub const METADATA_VERSION: u32 = 1;

/// One change of the cluster's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRecord {
    /// Names the cluster and the version of its metadata. The first record of every log.
    Cluster(ClusterRecord),
    /// A broker registered, or its registration changed.
    Broker(BrokerRecord),
    /// A broker left for good.
    RemoveBroker(RemoveBrokerRecord),
    /// A topic was created; its partitions follow.
    Topic(TopicRecord),
    /// A topic, its partitions and its configurations are gone.
    RemoveTopic(RemoveTopicRecord),
    /// A partition was created or changed. Carries its whole state.
    Partition(PartitionRecord),
    /// A configuration of a topic was set or removed.
    TopicConfig(TopicConfigRecord),
    /// A configuration of a broker, or of all brokers, was set or removed.
    BrokerConfig(BrokerConfigRecord),
    /// A block of producer ids was given out.
    ProducerIds(ProducerIdsRecord),
    /// The level of a feature was set.
    Feature(FeatureRecord),
}

/// Names the cluster and the version of its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRecord {
    /// The cluster. Never changes once set.
    pub cluster_id: ClusterId,
    /// Which version of these records' meaning is in force. Never falls.
    pub metadata_version: u32,
}

/// Where a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, such as `PLAINTEXT`.
    pub listener: String,
    /// The host that clients are told.
    pub host: String,
    /// The port that clients are told.
    pub port: u16,
    /// Kafka's number for the security protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a broker can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// The feature's name, such as `metadata.version`.
    pub name: String,
    /// The lowest level.
    pub min: u16,
    /// The highest level.
    pub max: u16,
}

/// A broker's registration, and what became of it. Carries the whole of it (KIP-631).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRecord {
    /// The broker.
    pub id: BrokerId,
    /// Which registration this is: [`BrokerEpoch::NONE`] makes a new one, whose epoch is the index of this record's
    /// entry; any other epoch says something new about the registration of that epoch.
    pub epoch: BrokerEpoch,
    /// Drawn at each start of the broker, so that a repeated registration is told from a restart.
    pub incarnation: Uuid,
    /// The disk that it keeps its logs on. Another one holds nothing of what the last one held.
    pub disk: DiskId,
    /// Where it is reached, one per listener.
    pub endpoints: Vec<Endpoint>,
    /// The rack it stands in, if known.
    pub rack: Option<String>,
    /// Whether it is fenced: known, but given no partitions and no leadership.
    pub fenced: bool,
    /// Whether it is on its way out, in good order: it is given no partitions and no leadership any more. Stays until
    /// the next registration.
    pub shutting_down: bool,
    /// Whether it may be a voter of the metadata quorum.
    pub is_controller: bool,
    /// The features that it knows.
    pub features: Vec<FeatureRange>,
}

impl Default for BrokerRecord {
    /// A new registration, not fenced, of broker 0.
    fn default() -> Self {
        Self {
            id: BrokerId(0),
            epoch: BrokerEpoch::NONE,
            incarnation: Uuid::ZERO,
            disk: DiskId::default(),
            endpoints: Vec::new(),
            rack: None,
            fenced: false,
            shutting_down: false,
            is_controller: false,
            features: Vec::new(),
        }
    }
}

impl BrokerRecord {
    /// Whether it may be given partitions and leadership, and be in sync (KIP-841).
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.shutting_down
    }
}

/// A broker left for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveBrokerRecord {
    /// The broker.
    pub id: BrokerId,
}

/// A topic was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// The topic's id: new for each life of a name.
    pub id: TopicId,
    /// The topic's name.
    pub name: String,
}

/// A topic is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveTopicRecord {
    /// The topic.
    pub id: TopicId,
}

/// The whole state of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The topic.
    pub topic: TopicId,
    /// The partition within it.
    pub partition: PartitionIndex,
    /// Its replicas in order of preference, those that are being added or removed included.
    pub replicas: Vec<BrokerId>,
    /// The in-sync replicas, a subset of the replicas.
    pub isr: Vec<BrokerId>,
    /// The eligible leader replicas (KIP-966): not in sync, but known to hold every committed record, because nothing
    /// was committed since they left. A subset of the replicas, apart from the in-sync ones.
    pub elr: Vec<BrokerId>,
    /// Who led last, once nobody is in sync or eligible any more.
    pub last_known_elr: Vec<BrokerId>,
    /// The replicas that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// The replicas that a reassignment removes once it is complete.
    pub removing: Vec<BrokerId>,
    /// The leader, if there is one; a member of the in-sync replicas.
    pub leader: Option<BrokerId>,
    /// Counts the leaders. Never falls.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of this partition. Rises with every record after the first.
    pub partition_epoch: i32,
    /// The leader epoch of the last election of a replica that was not known to be complete: committed records may have
    /// been lost then.
    pub unclean_epoch: Option<LeaderEpoch>,
    /// The index of the entry that created the partition; none: that of this record's entry. Not looked at in a change.
    pub created: Option<u64>,
}

/// A configuration of a topic was set or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfigRecord {
    /// The topic.
    pub topic: TopicId,
    /// The configuration's name.
    pub name: String,
    /// Its new value; none removes it.
    pub value: Option<String>,
}

/// A configuration of a broker, or of all brokers, was set or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfigRecord {
    /// The broker; none is the default of all brokers.
    pub broker: Option<BrokerId>,
    /// The configuration's name.
    pub name: String,
    /// Its new value; none removes it.
    pub value: Option<String>,
}

/// A block of producer ids was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerIdsRecord {
    /// The broker that got the block.
    pub broker: BrokerId,
    /// The first id that has not been given out. Never falls.
    pub next: ProducerId,
}

/// The level of a feature was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRecord {
    /// The feature. `metadata.version` is not among them: it stands in the cluster's record.
    pub name: String,
    /// The level in force; 0: none.
    pub level: u16,
}
