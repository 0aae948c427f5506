//! The simulator's own all-seeing record of every node's logs. It survives restarts.

use super::durable;
use super::replica::{AppendedBatch, Replica};
use crate::disk::SimDisk;
use crate::executor::NodeId;
use highwater_env::Event;
use highwater_types::{Instant, LogId, TopicId};
use std::collections::BTreeMap;

/// What is known of all nodes, from what they told.
#[derive(Clone, Debug, Default)]
pub struct Ghost {
    replicas: BTreeMap<(NodeId, LogId), Replica>,
    names: BTreeMap<TopicId, String>,
    deleted: BTreeMap<TopicId, Instant>,
    disks: BTreeMap<NodeId, Honesty>,
    wall_ahead_ms: BTreeMap<NodeId, i64>,
}

/// What a disk did that an honest one does not do.
#[derive(Clone, Copy, Debug, Default)]
struct Honesty {
    dishonest: bool,
    misplaced: bool,
}

impl Ghost {
    /// What is known of a node's copy of a log.
    pub fn replica(&self, node: NodeId, log: LogId) -> Option<&Replica> {
        self.replicas.get(&(node, log))
    }

    /// All copies of all logs.
    pub fn replicas(&self) -> impl Iterator<Item = (NodeId, LogId, &Replica)> {
        self.replicas.iter().map(|(&(node, log), replica)| (node, log, replica))
    }

    /// All copies of one log.
    pub fn copies(&self, log: LogId) -> impl Iterator<Item = (NodeId, &Replica)> {
        self.replicas().filter(move |&(_, other, _)| other == log).map(|(node, _, replica)| (node, replica))
    }

    /// What people call a log: topic and partition.
    pub fn name(&self, log: LogId) -> String {
        match self.names.get(&log.topic) {
            Some(topic) => format!("{topic}-{}", log.partition),
            None => format!("log {log}"),
        }
    }

    /// Whether a log belongs to a topic, and not to the brokers themselves.
    pub fn is_topic(&self, log: LogId) -> bool {
        self.names.contains_key(&log.topic)
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<TopicId> {
        self.names.iter().find(|(_, known)| *known == name).map(|(&topic, _)| topic)
    }

    /// When a topic's deletion was carried out.
    pub fn deleted(&self, topic: TopicId) -> Option<Instant> {
        self.deleted.get(&topic).copied()
    }

    /// Whether every disk kept what its syncs covered.
    pub fn is_honest(&self) -> bool {
        self.disks.values().all(|disk| !disk.dishonest)
    }

    /// Whether a node's disk kept what its syncs covered.
    pub fn is_honest_at(&self, node: NodeId) -> bool {
        self.disks.get(&node).is_none_or(|disk| !disk.dishonest)
    }

    /// Whether a disk put intact pages where they do not belong, or kept old ones, which no checksum of theirs tells.
    pub fn has_misplaced(&self) -> bool {
        self.disks.values().any(|disk| disk.misplaced)
    }

    /// How far a node's wall clock was ahead of true time at most when its process started.
    pub fn wall_ahead_ms(&self, node: NodeId) -> i64 {
        self.wall_ahead_ms.get(&node).copied().unwrap_or_default()
    }

    pub(super) fn started(&mut self, node: NodeId, wall_ahead_ms: i64) {
        let known = self.wall_ahead_ms.entry(node).or_default();
        *known = wall_ahead_ms.max(*known);
    }

    /// Asks a disk what it has done.
    pub(super) fn look_at(&mut self, node: NodeId, disk: &SimDisk) {
        let known = self.disks.entry(node).or_default();
        known.dishonest = known.dishonest || disk.was_dishonest();
        known.misplaced = known.misplaced || (known.dishonest && disk.misplaced_writes());
    }

    /// Takes an event in.
    pub(super) fn take(&mut self, node: NodeId, now: Instant, event: &Event) {
        match event {
            Event::TopicCreated { topic, name } => {
                self.names.insert(*topic, name.clone());
            }
            Event::TopicDeleted { topic } => {
                self.deleted.entry(*topic).or_insert(now);
            }
            Event::Appended { log, .. }
            | Event::Synced { log, .. }
            | Event::HighWatermark { log, .. }
            | Event::LogStart { log, .. }
            | Event::Truncated { log, .. }
            | Event::Recovered { log, .. }
            | Event::Damaged { log, .. }
            | Event::Poisoned { log }
            | Event::Acknowledged { log, .. } => {
                let honest = self.is_honest_at(node);
                self.replicas.entry((node, *log)).or_default().take(now, event, honest);
            }
            _ => {}
        }
    }

    /// A log that was opened may hold more at its end than its node ever told: a process can die after a write and
    /// before a word of it. What a recovery found there is known from the disk.
    pub(super) fn learn(&mut self, node: NodeId, now: Instant, log: LogId, disk: &SimDisk) {
        let Some(replica) = self.replicas.get_mut(&(node, log)) else { return };
        let mut told = replica.batches.last_key_value().map_or(replica.start, |(_, batch)| batch.last.next());
        let end = replica.end.unwrap_or_default();
        if told >= end {
            return;
        }
        let Some(dir) = durable::log_dir(disk, log) else { return };
        for segment in durable::segments(disk, &dir) {
            for batch in durable::batches(disk, &dir, segment) {
                let header = batch.header();
                if header.base_offset != told || header.last_offset() >= end {
                    continue;
                }
                told = header.next_offset();
                let producer = header.has_producer().then_some((
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence,
                ));
                let found = AppendedBatch {
                    last: header.last_offset(),
                    epoch: header.leader_epoch,
                    checksum: header.crc,
                    producer,
                    at: now,
                    acknowledged: None,
                };
                replica.batches.insert(header.base_offset, found);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn lie(&mut self, node: NodeId) {
        self.disks.insert(node, Honesty { dishonest: true, misplaced: false });
    }

    #[cfg(test)]
    pub(super) fn forget_names(&mut self) {
        self.names.clear();
    }

    /// A node's process ended, by itself or not.
    pub(super) fn stopped(&mut self, node: NodeId) {
        for (_, replica) in self.replicas.iter_mut().filter(|((at, _), _)| *at == node) {
            replica.close();
        }
    }

    /// A node's disk is replaced by an empty one: nothing is expected of it any more.
    pub(super) fn wiped(&mut self, node: NodeId) {
        self.replicas.retain(|(at, _), _| *at != node);
        self.disks.remove(&node);
    }
}
