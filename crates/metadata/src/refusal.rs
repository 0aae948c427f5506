//! Why a request was not carried out, with Kafka's number for it.

use std::fmt;

/// A request that was not carried out: Kafka's code, and words for the human at the other end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which of Kafka's errors.
    pub code: RefusalCode,
    /// What is wrong and, where that is known, what to do about it.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// The errors of Kafka's protocol that decisions about metadata end in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RefusalCode {
            $($(#[$doc])* $name,)*
        }

        impl RefusalCode {
            /// The number on the wire.
            pub const fn number(self) -> i16 {
                match self {
                    $(Self::$name => $number,)*
                }
            }
        }

        impl RefusalCode {
            /// The code that has a number on the wire.
            pub const fn of_number(number: i16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for RefusalCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $text,)*
                })
            }
        }
    };
}

codes! {
    /// It is not done yet; the same request again will get there.
    RequestTimedOut = 7 "REQUEST_TIMED_OUT",
    /// No such topic or partition.
    UnknownTopicOrPartition = 3 "UNKNOWN_TOPIC_OR_PARTITION",
    /// A topic name that is not allowed.
    InvalidTopic = 17 "INVALID_TOPIC_EXCEPTION",
    /// A feature that is in force here and that the other end does not know.
    UnsupportedVersion = 35 "UNSUPPORTED_VERSION",
    /// The topic exists.
    TopicAlreadyExists = 36 "TOPIC_ALREADY_EXISTS",
    /// A number of partitions that is not allowed.
    InvalidPartitions = 37 "INVALID_PARTITIONS",
    /// A replication factor that is not allowed, or more than there are live brokers.
    InvalidReplicationFactor = 38 "INVALID_REPLICATION_FACTOR",
    /// A manual assignment that does not hold together.
    InvalidReplicaAssignment = 39 "INVALID_REPLICA_ASSIGNMENT",
    /// An unknown configuration, or a value that it does not take.
    InvalidConfig = 40 "INVALID_CONFIG",
    /// The other end knows more than this controller.
    NotController = 41 "NOT_CONTROLLER",
    /// A request that contradicts itself.
    InvalidRequest = 42 "INVALID_REQUEST",
    /// More than is allowed in one request.
    PolicyViolation = 44 "POLICY_VIOLATION",
    /// Topics cannot be deleted here.
    TopicDeletionDisabled = 73 "TOPIC_DELETION_DISABLED",
    /// Another leader was elected since.
    FencedLeaderEpoch = 74 "FENCED_LEADER_EPOCH",
    /// The broker has registered anew since.
    StaleBrokerEpoch = 77 "STALE_BROKER_EPOCH",
    /// The preferred leader is not in sync, or not live.
    PreferredLeaderNotAvailable = 80 "PREFERRED_LEADER_NOT_AVAILABLE",
    /// No replica can lead.
    EligibleLeadersNotAvailable = 83 "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    /// The partition has the leader that was asked for.
    ElectionNotNeeded = 84 "ELECTION_NOT_NEEDED",
    /// The partition's replicas are not being changed.
    NoReassignmentInProgress = 85 "NO_REASSIGNMENT_IN_PROGRESS",
    /// The partition has changed since.
    InvalidUpdateVersion = 95 "INVALID_UPDATE_VERSION",
    /// A feature cannot be set so.
    FeatureUpdateFailed = 96 "FEATURE_UPDATE_FAILED",
    /// No topic has this id.
    UnknownTopicId = 100 "UNKNOWN_TOPIC_ID",
    /// A live broker has this id.
    DuplicateBrokerRegistration = 101 "DUPLICATE_BROKER_REGISTRATION",
    /// No broker has this id.
    BrokerIdNotRegistered = 102 "BROKER_ID_NOT_REGISTERED",
    /// The broker belongs to another cluster.
    InconsistentClusterId = 104 "INCONSISTENT_CLUSTER_ID",
    /// A replica that may not be in sync: fenced, on its way out, or registered anew since.
    IneligibleReplica = 107 "INELIGIBLE_REPLICA",
    /// The change led to another leader.
    NewLeaderElected = 108 "NEW_LEADER_ELECTED",
    /// A registration that does not hold together, or does not fit the cluster.
    InvalidRegistration = 119 "INVALID_REGISTRATION",
    /// The broker ran out of something; nothing the client did.
    Unknown = -1 "UNKNOWN_SERVER_ERROR",
}
