//! The controller, as the model has it: one state, changed by one request after another.

use super::{Message, Model, list};
use highwater_replication::{Assignment, Proposal, ProposalAnswer};
use highwater_types::{BrokerEpoch, BrokerId};
use std::collections::BTreeMap;

/// What the controller committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) partition: Assignment,
    /// The incarnations, and whether they are fenced.
    pub(super) brokers: BTreeMap<BrokerId, (BrokerEpoch, bool)>,
}

impl Model {
    pub(super) fn on_proposal(&mut self, from: BrokerId, broker_epoch: BrokerEpoch, proposal: &Proposal) {
        let state = &self.controller;
        let partition = &state.partition;
        let fits = proposal.isr.iter().all(|(member, epoch)| state.brokers[member] == (*epoch, false));
        let sender = partition.leader == Some(from) && state.brokers[&from] == (broker_epoch, false);
        let answer = if !sender
            || proposal.leader_epoch != partition.leader_epoch
            || proposal.partition_epoch != partition.partition_epoch
        {
            ProposalAnswer::Stale
        } else if !fits {
            ProposalAnswer::Refused
        } else {
            let mut next = self.controller.clone();
            next.partition.isr = proposal.isr.iter().map(|&(member, _)| member).collect();
            // Also if the set stays the same: no other proposal of this state is to take effect.
            next.partition.partition_epoch += 1;
            self.commit(next);
            ProposalAnswer::Accepted(self.controller.partition.clone())
        };
        self.network.push(Message::Decided { to: from, broker_epoch, proposal: proposal.clone(), answer });
    }

    /// The controller commits a state, which all will see in time.
    pub(super) fn commit(&mut self, mut next: Metadata) {
        if next.partition != self.controller.partition {
            next.partition.partition_epoch += 1;
            let Assignment { leader, leader_epoch, isr, .. } = &next.partition;
            let leader = leader.map_or("nobody".to_owned(), |leader| leader.to_string());
            let line = format!("controller: {leader} leads epoch {leader_epoch}, in sync {}", list(isr));
            self.note(format_args!("{line}"));
        }
        self.controller = next.clone();
        for replica in self.replicas.values_mut().filter(|replica| replica.up) {
            replica.coming.push_back(next.clone());
        }
    }

    /// The controller gives a broker up, or takes it back.
    pub fn set_fenced(&mut self, broker: BrokerId, fenced: bool) {
        let mut next = self.controller.clone();
        next.brokers.get_mut(&broker).expect("a broker").1 = fenced;
        if fenced {
            self.leave(&mut next, broker);
        }
        Self::elect(&mut next);
        if next != self.controller {
            self.commit(next);
        }
        self.check();
    }

    pub(super) fn leave(&self, next: &mut Metadata, broker: BrokerId) {
        let partition = &mut next.partition;
        if partition.isr.iter().any(|&member| member != broker) {
            partition.isr.retain(|&member| member != broker);
        }
        if partition.leader == Some(broker) {
            partition.leader = None;
            partition.leader_epoch.0 += 1;
        }
    }

    pub(super) fn elect(next: &mut Metadata) {
        let Metadata { partition, brokers } = next;
        if partition.leader.is_none()
            && let Some(&leader) = partition.isr.iter().find(|member| !brokers[member].1)
        {
            partition.leader = Some(leader);
            partition.leader_epoch.0 += 1;
        }
    }

    /// The leader's place goes to another member of the in-sync set, if it can.
    pub fn move_leader(&mut self, to: BrokerId) {
        let mut next = self.controller.clone();
        let partition = &mut next.partition;
        if partition.isr.contains(&to) && !next.brokers[&to].1 && partition.leader != Some(to) {
            partition.leader = Some(to);
            partition.leader_epoch.0 += 1;
            self.commit(next);
        }
        self.check();
    }

    /// A replica is taken from the partition, with its log, or comes back with none. Who is taken away counts as an end
    /// of the epoch.
    pub fn reassign(&mut self, broker: BrokerId) {
        let mut next = self.controller.clone();
        let partition = &mut next.partition;
        if !partition.replicas.contains(&broker) {
            partition.replicas.push(broker);
        } else if partition.leader.is_some_and(|leader| leader != broker) && partition.replicas.len() > 2 {
            partition.replicas.retain(|&replica| replica != broker);
            partition.isr.retain(|&member| member != broker);
            partition.leader_epoch.0 += 1;
        }
        if next != self.controller {
            self.commit(next);
        }
        self.check();
    }

    /// The leader is elected again, in a new epoch.
    pub fn elect_again(&mut self) {
        let mut next = self.controller.clone();
        if next.partition.leader.is_some() {
            next.partition.leader_epoch.0 += 1;
            self.commit(next);
        }
    }
}
