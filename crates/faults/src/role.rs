//! Whom a fault hits: a role, so that a scenario outlives changes to the code.

use crate::PartitionName;
use std::fmt;

/// Whom a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The leader of a partition at that moment.
    Leader(PartitionName),
    /// One of the other replicas of a partition, drawn at that moment.
    Follower(PartitionName),
    /// The active controller at that moment.
    ActiveController,
    /// A broker by its number, from 1.
    Broker(u32),
    /// All brokers at one instant.
    EveryBroker,
    /// All nodes at one instant: brokers and controllers.
    EveryNode,
    /// These nodes at one instant: bit `n` says whether node `n` is meant, from 0, brokers first.
    Nodes(u64),
    /// A node that is no broker, by its number, from 1.
    Controller(u32),
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
    /// A node that is no broker, from 1.
    Controller(u32),
    /// A client, from 1.
    Client(u32),
}

impl Machine {
    /// Reads "broker 1", "controller 1" or "client 2".
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.trim().split_once(' ')?;
        let number = number.trim().parse().ok()?;
        match kind {
            "broker" => Some(Self::Broker(number)),
            "controller" => Some(Self::Controller(number)),
            "client" => Some(Self::Client(number)),
            _ => None,
        }
    }
}

impl Role {
    /// Reads a role as [`Role`]'s `Display` writes it, perhaps with an article.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = ["the ", "a "].iter().find_map(|article| text.strip_prefix(article)).unwrap_or(text);
        match text {
            "every broker" => return Some(Self::EveryBroker),
            "every node" | "all" => return Some(Self::EveryNode),
            "any broker" => return Some(Self::AnyBroker),
            "controller" => return Some(Self::ActiveController),
            _ => {}
        }
        if let Some(partition) = text.strip_prefix("leader of ") {
            return PartitionName::parse(partition.trim()).map(Self::Leader);
        }
        if let Some(partition) = text.strip_prefix("follower of ") {
            return PartitionName::parse(partition.trim()).map(Self::Follower);
        }
        if let Some(nodes) = text.strip_prefix("nodes ") {
            return nodes.split_whitespace().try_fold(0, bit).map(Self::Nodes);
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
            Self::Controller(number) => vec![Machine::Controller(number)],
            Self::Client(number) => vec![Machine::Client(number)],
            Self::Link(one, other) => vec![one, other],
            Self::Leader(_)
            | Self::Follower(_)
            | Self::ActiveController
            | Self::EveryBroker
            | Self::EveryNode
            | Self::Nodes(_)
            | Self::AnyBroker => Vec::new(),
        }
    }
}

/// Adds a node by its number, from 1, to a set of bits.
fn bit(set: u64, number: &str) -> Option<u64> {
    let place = number.parse::<u32>().ok()?.checked_sub(1)?;
    Some(set | 1u64.checked_shl(place)?)
}

impl From<Machine> for Role {
    fn from(machine: Machine) -> Self {
        match machine {
            Machine::Broker(number) => Self::Broker(number),
            Machine::Controller(number) => Self::Controller(number),
            Machine::Client(number) => Self::Client(number),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(number) => write!(f, "broker {number}"),
            Self::Controller(number) => write!(f, "controller {number}"),
            Self::Client(number) => write!(f, "client {number}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader(partition) => write!(f, "leader of {partition}"),
            Self::Follower(partition) => write!(f, "follower of {partition}"),
            Self::ActiveController => f.write_str("controller"),
            Self::EveryNode => f.write_str("every node"),
            Self::Nodes(set) => {
                f.write_str("nodes")?;
                let numbers = (0..u64::BITS).filter(|place| set >> place & 1 == 1);
                numbers.map(|place| place + 1).try_for_each(|number| write!(f, " {number}"))
            }
            Self::Controller(number) => write!(f, "controller {number}"),
            Self::Broker(number) => write!(f, "broker {number}"),
            Self::EveryBroker => f.write_str("every broker"),
            Self::Client(number) => write!(f, "client {number}"),
            Self::AnyBroker => f.write_str("any broker"),
            Self::Link(one, other) => write!(f, "{one} and {other}"),
        }
    }
}
