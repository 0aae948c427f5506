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
    /// No such topic or partition.
    UnknownTopicOrPartition = 3 "UNKNOWN_TOPIC_OR_PARTITION",
    /// A topic name that is not allowed.
    InvalidTopic = 17 "INVALID_TOPIC_EXCEPTION",
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
    /// A request that contradicts itself.
    InvalidRequest = 42 "INVALID_REQUEST",
    /// More than is allowed in one request.
    PolicyViolation = 44 "POLICY_VIOLATION",
    /// Topics cannot be deleted here.
    TopicDeletionDisabled = 73 "TOPIC_DELETION_DISABLED",
    /// No topic has this id.
    UnknownTopicId = 100 "UNKNOWN_TOPIC_ID",
    /// No broker has this id.
    BrokerIdNotRegistered = 102 "BROKER_ID_NOT_REGISTERED",
    /// The broker ran out of something; nothing the client did.
    Unknown = -1 "UNKNOWN_SERVER_ERROR",
}
