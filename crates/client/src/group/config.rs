//! How a member of a group behaves.

use crate::{ClientError, ConsumerConfig};
use std::time::Duration;

/// How a member of a group behaves. Names and defaults are those of Kafka's consumer.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group.
    pub group: String,
    /// A name that the member keeps over restarts, for a static member.
    pub instance: Option<String>,
    /// Without a heartbeat for how long the member is taken for dead.
    pub session_timeout: Duration,
    /// How often it sends one.
    pub heartbeat_interval: Duration,
    /// How long may pass from one poll to the next; it is also how long the others wait for it in a rebalance.
    pub max_poll_interval: Duration,
    /// How often what was handed out is committed by itself; None: never.
    pub auto_commit: Option<Duration>,
    /// Where a partition is read from without a committed offset: its first record, else its end.
    pub from_beginning: bool,
    /// How records are read.
    pub consumer: ConsumerConfig,
}

impl GroupConfig {
    /// The defaults for a group.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            instance: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            auto_commit: Some(Duration::from_secs(5)),
            from_beginning: false,
            consumer: ConsumerConfig::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        let problem = if self.group.is_empty() {
            "a group needs a name"
        } else if self.heartbeat_interval.is_zero() || self.heartbeat_interval >= self.session_timeout {
            "a heartbeat must be sent more than once in a session"
        } else {
            return Ok(());
        };
        Err(ClientError::Invalid(problem.to_owned()))
    }
}
