//! Whom a fault hits: a role, so that a scenario outlives changes to the code.

use crate::PartitionName;
use std::fmt;

/// Whom a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The leader of a partition at that moment.
    Leader(PartitionName),
    /// A broker by its number, from 1.
    Broker(u32),
    /// All brokers at one instant.
    EveryBroker,
    /// A client by its number, from 1.
    Client(u32),
    /// The broker that the trigger's event happens at; without one, a broker that is drawn then.
    AnyBroker,
    /// The link between two machines; for faults of links alone.
    Link(Machine, Machine),
}

/// A machine by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// A broker, from 1.
    Broker(u32),
    /// A client, from 1.
    Client(u32),
}

impl Machine {
    /// Reads "broker 1" or "client 2".
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.trim().split_once(' ')?;
        let number = number.trim().parse().ok()?;
        match kind {
            "broker" => Some(Self::Broker(number)),
            "client" => Some(Self::Client(number)),
            _ => None,
        }
    }
}

impl Role {
    /// Reads a role as [`Role`]'s `Display` writes it.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "every broker" => return Some(Self::EveryBroker),
            "any broker" => return Some(Self::AnyBroker),
            _ => {}
        }
        if let Some(partition) = text.trim().strip_prefix("leader of ") {
            return PartitionName::parse(partition.trim()).map(Self::Leader);
        }
        if let Some((one, other)) = text.split_once(" and ") {
            return Some(Self::Link(Machine::parse(one)?, Machine::parse(other)?));
        }
        Some(Machine::parse(text)?.into())
    }

    /// Whether this is no broker at all.
    pub fn is_client(&self) -> bool {
        matches!(self, Self::Client(_))
    }

    /// The machines that are named by number.
    pub fn machines(&self) -> Vec<Machine> {
        match *self {
            Self::Broker(number) => vec![Machine::Broker(number)],
            Self::Client(number) => vec![Machine::Client(number)],
            Self::Link(one, other) => vec![one, other],
            Self::Leader(_) | Self::EveryBroker | Self::AnyBroker => Vec::new(),
        }
    }
}

impl From<Machine> for Role {
    fn from(machine: Machine) -> Self {
        match machine {
            Machine::Broker(number) => Self::Broker(number),
            Machine::Client(number) => Self::Client(number),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(number) => write!(f, "broker {number}"),
            Self::Client(number) => write!(f, "client {number}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader(partition) => write!(f, "leader of {partition}"),
            Self::Broker(number) => write!(f, "broker {number}"),
            Self::EveryBroker => f.write_str("every broker"),
            Self::Client(number) => write!(f, "client {number}"),
            Self::AnyBroker => f.write_str("any broker"),
            Self::Link(one, other) => write!(f, "{one} and {other}"),
        }
    }
}
