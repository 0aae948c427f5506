//! What the controller decided, as the first node that applied each entry told it.
//!
//! An entry changes several things at once, and its node tells them one after another: what must hold of all of them
//! together is asked when something of a later entry is told.

use crate::executor::NodeId;
use highwater_env::Event;
use highwater_types::{BrokerEpoch, BrokerId, LeaderEpoch, LogId};
use std::collections::{BTreeMap, BTreeSet};

/// A partition, as the controller has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// All replicas.
    pub replicas: Vec<BrokerId>,
    /// The in-sync ones.
    pub isr: Vec<BrokerId>,
    /// The eligible leaders beside them.
    pub elr: Vec<BrokerId>,
}

impl PartitionState {
    /// Those who may lead: in-sync replicas and eligible leaders.
    pub fn members(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.isr.iter().chain(&self.elr).copied()
    }
}

/// A broker, as the controller has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its incarnation.
    pub epoch: BrokerEpoch,
    /// Whether it is fenced.
    pub fenced: bool,
    /// Whether it was ever unfenced in this incarnation.
    pub served: bool,
}

/// What the controller decided so far.
#[derive(Clone, Debug, Default)]
pub struct Controlled {
    /// The entry that was told last.
    index: u64,
    /// Who tells of it.
    teller: Option<NodeId>,
    partitions: BTreeMap<LogId, PartitionState>,
    brokers: BTreeMap<BrokerId, Registration>,
    touched: BTreeSet<LogId>,
    /// Brokers that the entry unfenced for the first time in their incarnation.
    arrived: BTreeSet<BrokerId>,
    /// Partitions that the entry gave a leader though nobody was a member.
    resorted: BTreeSet<LogId>,
    /// Those that ever were.
    ever_resorted: BTreeSet<LogId>,
}

impl Controlled {
    /// A partition.
    pub fn partition(&self, log: LogId) -> Option<&PartitionState> {
        self.partitions.get(&log)
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = (LogId, &PartitionState)> {
        self.partitions.iter().map(|(&log, state)| (log, state))
    }

    /// Whether a broker is in sync or eligible in any partition.
    pub fn is_member_anywhere(&self, id: BrokerId) -> bool {
        self.partitions.values().any(|state| state.members().any(|member| member == id))
    }

    /// A broker.
    pub fn broker(&self, id: BrokerId) -> Option<Registration> {
        self.brokers.get(&id).copied()
    }

    /// The partitions that the last entry is about.
    pub fn touched(&self) -> &BTreeSet<LogId> {
        &self.touched
    }

    /// The brokers that the last entry let serve, as a new incarnation.
    pub fn arrived(&self) -> &BTreeSet<BrokerId> {
        &self.arrived
    }

    /// Whether the last entry made somebody lead a partition of which nobody was in sync or eligible.
    pub fn is_last_resort(&self, log: LogId) -> bool {
        self.resorted.contains(&log)
    }

    /// Whether that ever happened to a partition: what was committed in page caches alone may be gone with it.
    pub fn had_last_resort(&self, log: LogId) -> bool {
        self.ever_resorted.contains(&log)
    }

    /// Whether an event belongs to an entry after the last one, so that all of that has been told.
    pub fn is_closed_by(&self, event: &Event) -> bool {
        match event {
            Event::PartitionState { index, .. }
            | Event::BrokerState { index, .. }
            | Event::QuorumApplied { index, .. } => *index > self.index,
            _ => false,
        }
    }

    /// A broker's process ended: what it was when it began to serve is not what it is now.
    pub(super) fn stopped(&mut self, broker: BrokerId) {
        self.arrived.remove(&broker);
    }

    /// Takes an event in; whether it was news.
    pub(super) fn take(&mut self, node: NodeId, event: &Event) -> bool {
        if self.is_closed_by(event) {
            self.touched.clear();
            self.arrived.clear();
            self.resorted.clear();
        }
        let (Event::PartitionState { index, .. } | Event::BrokerState { index, .. }) = *event else {
            return false;
        };
        if index < self.index || (index == self.index && self.teller.is_some_and(|teller| teller != node)) {
            return false;
        }
        (self.index, self.teller) = (index, Some(node));
        match event {
            Event::PartitionState { log, leader, epoch, replicas, isr, elr, .. } => {
                let (replicas, isr, elr) = (replicas.clone(), isr.clone(), elr.clone());
                let state = PartitionState { leader: *leader, epoch: *epoch, replicas, isr, elr };
                let before = self.partitions.insert(*log, state);
                if leader.is_some() && before.is_some_and(|before| before.members().next().is_none()) {
                    self.resorted.insert(*log);
                    self.ever_resorted.insert(*log);
                }
                self.touched.insert(*log);
            }
            Event::BrokerState { broker, epoch, fenced, .. } => {
                let known = self.brokers.get(broker).filter(|known| known.epoch == *epoch);
                let served = known.is_some_and(|known| known.served);
                if !served && !fenced {
                    self.arrived.insert(*broker);
                }
                let registration = Registration { epoch: *epoch, fenced: *fenced, served: served || !fenced };
                self.brokers.insert(*broker, registration);
                let theirs = self.partitions.iter().filter(|(_, state)| state.replicas.contains(broker));
                self.touched.extend(theirs.map(|(&log, _)| log));
            }
            _ => {}
        }
        true
    }
}
