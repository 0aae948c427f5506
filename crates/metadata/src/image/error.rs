//! What records contradict.

use highwater_types::{BrokerEpoch, BrokerId, ClusterId, LeaderEpoch, LogId, ProducerId, TopicId};

/// A record that contradicts the state it was applied to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The metadata needs a newer program.
    #[error(
        "the cluster's metadata has version {found}, and this program knows versions up to {known}: \
         start a newer version of the program"
    )]
    NewerMetadata {
        /// The version the record sets.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The metadata's version falls.
    #[error("the cluster's metadata version would fall from {from} to {to}")]
    OlderMetadata {
        /// The version in force.
        from: u32,
        /// The version the record sets.
        to: u32,
    },
    /// The cluster's id changes.
    #[error("the metadata belongs to cluster {is}, and a record in it names cluster {named}")]
    OtherCluster {
        /// The id in force.
        is: ClusterId,
        /// The id the record has.
        named: ClusterId,
    },
    /// A topic's id is in use, or reserved.
    #[error("topic {name:?} would get the id {id}, which is taken")]
    TopicIdTaken {
        /// The id.
        id: TopicId,
        /// The new topic's name.
        name: String,
    },
    /// A topic's name is in use.
    #[error("a second topic would be named {0:?}")]
    TopicNameTaken(String),
    /// No topic has this id.
    #[error("a record speaks of topic id {0}, which does not exist")]
    UnknownTopic(TopicId),
    /// No broker has this id.
    #[error("a record speaks of broker {0}, which does not exist")]
    UnknownBroker(BrokerId),
    /// A partition would leave a gap behind it.
    #[error("partition {log} does not follow the {partitions} partitions that its topic has")]
    PartitionGap {
        /// The partition.
        log: LogId,
        /// How many there are.
        partitions: usize,
    },
    /// A partition's epochs do not move forward.
    #[error(
        "partition {log} would go from leader epoch {leader_from} and partition epoch {from} \
         to {leader_to} and {to}"
    )]
    StaleEpoch {
        /// The partition.
        log: LogId,
        /// The leader epoch in force.
        leader_from: LeaderEpoch,
        /// The leader epoch of the record.
        leader_to: LeaderEpoch,
        /// The partition epoch in force.
        from: i32,
        /// The partition epoch of the record.
        to: i32,
    },
    /// A partition's replicas, in-sync replicas and leader do not fit together.
    #[error("partition {log}: {problem}")]
    Replicas {
        /// The partition.
        log: LogId,
        /// What does not fit.
        problem: &'static str,
    },
    /// Producer ids would be given out twice.
    #[error("the next producer id would fall from {from} to {to}")]
    ProducerIdsFall {
        /// The next id in force.
        from: ProducerId,
        /// The next id of the record.
        to: ProducerId,
    },
    /// A record speaks of a registration that is not the broker's.
    #[error("broker {id} is registered with epoch {is}, and a record speaks of epoch {named}")]
    StaleBroker {
        /// The broker.
        id: BrokerId,
        /// The epoch in force.
        is: BrokerEpoch,
        /// The epoch of the record.
        named: BrokerEpoch,
    },
    /// The version of the metadata is set as if it were any feature.
    #[error("a record sets the metadata's version, and not the cluster's record")]
    MetadataFeature,
}
