//! How a member of a group behaves.

use crate::{ClientError, ConsumerConfig};
use std::time::Duration;

/// How the members of a group come to share its partitions. All of a group speak the same protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The leader among the members shares the partitions out (`group.protocol=classic`).
    Classic {
        /// How it does.
        assignor: ClassicAssignor,
    },
    /// The coordinator shares them out (`group.protocol=consumer`, KIP-848).
    Consumer {
        /// The coordinator's assignor that this member wants: `uniform` or `range` (`group.remote.assignor`); None: the
        /// coordinator chooses.
        assignor: Option<String>,
    },
}

/// How the leader of a group of the classic protocol shares its partitions out (`partition.assignment.strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicAssignor {
    /// `range`: of every topic a run of partitions. In a rebalance every member gives up all that it has.
    Range,
    /// `cooperative-sticky` (KIP-429): as few partitions moved as possible, and only those are given up.
    CooperativeSticky,
}

impl ClassicAssignor {
    /// The name by which members agree on it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }
}

/// How a member of a group behaves. Names and defaults are those of Kafka's consumer.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group.
    pub group: String,
    /// How it shares its partitions out.
    pub protocol: GroupProtocol,
    /// A name that the member keeps over restarts, for a static member.
    pub instance: Option<String>,
    /// Where the member is, for assignors that look at it (`client.rack`).
    pub rack: Option<String>,
    /// Without a heartbeat for how long the member is taken for dead. In the consumer protocol the coordinator says so.
    pub session_timeout: Duration,
    /// How often it sends one. In the consumer protocol the coordinator says so.
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
            protocol: GroupProtocol::Classic { assignor: ClassicAssignor::Range },
            instance: None,
            rack: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            auto_commit: Some(Duration::from_secs(5)),
            from_beginning: false,
            consumer: ConsumerConfig::default(),
        }
    }

    /// Whether members give up all their partitions in a rebalance.
    pub(super) fn is_eager(&self) -> bool {
        self.protocol == GroupProtocol::Classic { assignor: ClassicAssignor::Range }
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        let is_classic = matches!(self.protocol, GroupProtocol::Classic { .. });
        let problem = if self.group.is_empty() {
            "a group needs a name"
        } else if is_classic
            && (self.heartbeat_interval.is_zero() || self.heartbeat_interval >= self.session_timeout)
        {
            "a heartbeat must be sent more than once in a session"
        } else {
            return Ok(());
        };
        Err(ClientError::Invalid(problem.to_owned()))
    }
}
