//! What can go wrong for a client.

use highwater_types::BrokerId;
use highwater_wire::{ApiKey, ErrorCode};

/// What went wrong. Cheap enough to be given to every record of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No broker could be reached.
    #[error("no broker can be reached at {addresses}: {cause}")]
    Unreachable {
        /// Where it was tried.
        addresses: String,
        /// The last failure.
        cause: String,
    },
    /// The connection ended before the answer came.
    #[error("the connection to {peer} ended: {cause}")]
    Disconnected {
        /// The other end.
        peer: String,
        /// Why.
        cause: String,
    },
    /// Something took longer than it may.
    #[error("{what} took longer than {limit_ms} ms")]
    TimedOut {
        /// What.
        what: String,
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// The broker sent something that is not Kafka's protocol.
    #[error("{peer} answered with something that is not Kafka's protocol: {cause}")]
    Protocol {
        /// The other end.
        peer: String,
        /// What is wrong.
        cause: String,
    },
    /// The broker does not serve the call in a version that this client knows.
    #[error("{peer} does not serve {api} in a version that this client knows")]
    Unsupported {
        /// The other end.
        peer: String,
        /// The call.
        api: ApiKey,
    },
    /// The last attempt was refused for good, and one before it was not: what was asked for may have been done.
    #[error("{refusal}; an attempt before it may have been carried out")]
    Unsure {
        /// Why the last attempt was refused.
        refusal: Box<ClientError>,
    },
    /// The broker refused.
    #[error("{what}: {code}{}", .message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// What was refused.
        what: String,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words, if it sent any.
        message: Option<String>,
    },
    /// The cluster has no broker of that number.
    #[error("the cluster has no broker {0}")]
    UnknownBroker(BrokerId),
    /// The partition has no leader now.
    #[error("{topic}-{partition} has no leader")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The record batch does not check out.
    #[error("{topic}-{partition}, offset {offset}: {cause}")]
    Corrupt {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where reading stood.
        offset: i64,
        /// What is wrong.
        cause: String,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// Whether the same call may succeed later, or at another broker.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::UnknownBroker(_) | Self::NoLeader { .. } => true,
            Self::Protocol { .. } | Self::Unsupported { .. } | Self::Invalid(_) => false,
            Self::Corrupt { .. } | Self::Closed | Self::Unsure { .. } => false,
        }
    }

    /// Kafka's code, where a broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Unsure { refusal } => refusal.code(),
            _ => None,
        }
    }

    /// An error for a code; nothing if the code says that all went well.
    pub(crate) fn check(
        code: ErrorCode,
        message: Option<&str>,
        what: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        if code.is_ok() {
            return Ok(());
        }
        Err(Self::Refused { what: what(), code, message: message.map(str::to_owned) })
    }
}
