//! What the clients of a scenario do.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What clients do. Each client is a node of its own; they are called client 1, client 2 and so on: producers first,
/// then consumers, then members of the group, then admins.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadSpec {
    /// How many producers.
    pub producers: u32,
    /// Which part of the producers is idempotent, 0 to 1.
    pub idempotent_share: f64,
    /// How many consumers.
    pub consumers: u32,
    /// How many members the consumer group has, which reads all topics; none: there is no group.
    pub members: u32,
    /// How many admin clients.
    pub admins: u32,
    /// How many operations all clients begin per simulated second.
    pub operations_per_second: u32,
    /// How many keys there are.
    pub keys: u32,
    /// Which part of the records has no key, 0 to 1.
    pub keyless_share: f64,
    /// How large values are.
    pub value_bytes: RangeInclusive<u32>,
    /// What producers ask for; each draws one of these. The same twice is drawn twice as often.
    pub acks: Vec<Acks>,
    /// How long a client waits for one answer.
    pub request_timeout: Duration,
    /// The mean time between bursts; none without.
    pub bursts: Option<Duration>,
    /// How many records a burst has.
    pub burst_records: u32,
    /// The mean time between seeks of one consumer; none without.
    pub seeks: Option<Duration>,
    /// What admins do.
    pub churn: Churn,
}

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acks {
    /// All in-sync replicas.
    All,
    /// The leader alone.
    Leader,
    /// Nobody.
    None,
}

impl Acks {
    /// The number on the wire.
    pub fn wire(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
            Self::None => 0,
        }
    }
}

/// What admins do, each with the mean time between two such operations of all admins together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Churn {
    /// A topic is made, and after a while deleted.
    pub topics: Option<Duration>,
    /// A topic's configuration is changed, to one of `alter`.
    pub configs: Option<Duration>,
    /// Records are deleted from the start of a partition.
    pub delete_records: Option<Duration>,
    /// An offset is asked for: the first, the last, or that of a point in time.
    pub list_offsets: Option<Duration>,
    /// It is asked what topics and configurations there are.
    pub describes: Option<Duration>,
    /// A partition is given other replicas.
    pub reassignments: Option<Duration>,
    /// The preferred replicas are made leaders.
    pub elections: Option<Duration>,
    /// A voter is taken out of the quorum, and added again after a while.
    pub voters: Option<Duration>,
    /// Configurations that are changed, each with the values it may get.
    pub alter: BTreeMap<String, Vec<String>>,
}

impl WorkloadSpec {
    /// How many clients there are.
    pub fn clients(&self) -> u32 {
        self.producers + self.consumers + self.members + self.admins
    }
}

impl Default for WorkloadSpec {
    fn default() -> Self {
        Self {
            producers: 3,
            idempotent_share: 0.5,
            consumers: 2,
            members: 0,
            admins: 1,
            operations_per_second: 120,
            keys: 20,
            keyless_share: 0.3,
            value_bytes: 16..=200,
            acks: vec![Acks::All],
            request_timeout: Duration::from_secs(4),
            bursts: None,
            burst_records: 50,
            seeks: None,
            churn: Churn::default(),
        }
    }
}
