//! Who leads what, as nodes tell it.

use crate::executor::NodeId;
use highwater_env::Event;
use highwater_types::{BrokerId, LogId, PartitionIndex, TopicId};
use std::collections::BTreeMap;

/// What nodes told of topics, partitions and the quorum.
#[derive(Debug, Default)]
pub(super) struct Told {
    topics: BTreeMap<String, TopicId>,
    partitions: BTreeMap<LogId, Partition>,
    /// The largest term that had a leader, and that leader.
    controller: Option<(u64, NodeId)>,
}

/// A partition, as the controller has it.
#[derive(Debug)]
pub(super) struct Partition {
    index: u64,
    pub leader: Option<BrokerId>,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
}

impl Told {
    pub(super) fn hear(&mut self, node: NodeId, event: &Event) {
        match event {
            Event::TopicCreated { topic, name } => {
                self.topics.insert(name.clone(), *topic);
            }
            Event::TopicDeleted { topic } => {
                self.topics.retain(|_, id| id != topic);
                self.partitions.retain(|log, _| log.topic != *topic);
            }
            Event::PartitionState { index, log, leader, replicas, isr, .. }
                if self.partitions.get(log).is_none_or(|known| known.index <= *index) =>
            {
                let (replicas, isr) = (replicas.clone(), isr.clone());
                self.partitions.insert(*log, Partition { index: *index, leader: *leader, replicas, isr });
            }
            Event::QuorumLeader { term } if self.controller.is_none_or(|(known, _)| known <= *term) => {
                self.controller = Some((*term, node));
            }
            _ => {}
        }
    }

    pub(super) fn topic(&self, name: &str) -> Option<TopicId> {
        self.topics.get(name).copied()
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        let log = LogId { topic: self.topic(topic)?, partition: PartitionIndex(partition) };
        self.partitions.get(&log)
    }

    pub(super) fn controller(&self) -> Option<NodeId> {
        self.controller.map(|(_, node)| node)
    }

    /// Whether every replica is in sync.
    pub(super) fn is_whole(&self) -> bool {
        self.partitions.values().all(|known| {
            known.leader.is_some() && known.replicas.iter().all(|replica| known.isr.contains(replica))
        })
    }
}
