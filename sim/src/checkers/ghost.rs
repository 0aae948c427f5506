//! The simulator's own all-seeing record of every node's logs. It survives restarts.

use super::committed::Committed;
use super::controlled::Controlled;
use super::durable;
use super::machine::{Machine, Stop};
use super::quorum::Quorum;
use super::replica::{AppendedBatch, Facts, Replica};
use super::terms::Terms;
use crate::disk::SimDisk;
use crate::executor::NodeId;
use highwater_env::Event;
use highwater_types::{BrokerEpoch, BrokerId, Instant, LogId, Offset, TopicId};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// What is known of all nodes, from what they told.
#[derive(Clone, Debug, Default)]
pub struct Ghost {
    replicas: BTreeMap<(NodeId, LogId), Replica>,
    names: BTreeMap<TopicId, String>,
    deleted: BTreeMap<TopicId, Instant>,
    disks: BTreeMap<NodeId, Honesty>,
    wall_ahead_ms: BTreeMap<NodeId, i64>,
    machines: BTreeMap<NodeId, Machine>,
    committed: BTreeMap<LogId, Committed>,
    /// Below this, some copy of a log may have been compacted.
    compacted: BTreeMap<LogId, Offset>,
    controlled: Controlled,
    quorum: Quorum,
    terms: Terms,
    /// What disks held that were replaced.
    wiped: BTreeMap<LogId, Vec<Range<Offset>>>,
    power_losses: u64,
}

/// What a disk did that an honest one does not do.
#[derive(Clone, Copy, Debug, Default)]
struct Honesty {
    dishonest: bool,
    misplaced: bool,
}

impl Ghost {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, ..Self::default() }
    }

    /// What brokers promise.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What the controller decided.
    pub fn controlled(&self) -> &Controlled {
        &self.controlled
    }

    /// What the members of the quorum told.
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// A broker's machine.
    pub fn machine(&self, node: NodeId) -> Option<&Machine> {
        self.machines.get(&node)
    }

    /// All brokers' machines.
    pub fn machines(&self) -> impl Iterator<Item = (NodeId, &Machine)> {
        self.machines.iter().map(|(&node, machine)| (node, machine))
    }

    /// Where a broker is.
    pub fn node_of(&self, broker: BrokerId) -> Option<NodeId> {
        self.machines.iter().find(|(_, machine)| machine.broker == broker).map(|(&node, _)| node)
    }

    /// Which broker is on a machine.
    pub fn broker_at(&self, node: NodeId) -> Option<BrokerId> {
        self.machines.get(&node).map(|machine| machine.broker)
    }

    /// Whether a broker's process runs, and is registered and not fenced as the incarnation that it is.
    pub fn serves(&self, broker: BrokerId) -> bool {
        let machine = self.node_of(broker).and_then(|node| self.machine(node));
        let known = self.controlled.broker(broker).filter(|known| !known.fenced);
        machine.zip(known).is_some_and(|(machine, known)| machine.running && known.epoch > machine.registered)
    }

    /// What is committed of a log.
    pub fn committed(&self, log: LogId) -> Option<&Committed> {
        self.committed.get(&log)
    }

    /// Below this, any copy of a log may have been compacted, by its node or by whom it was fetched from.
    pub fn compacted(&self, log: LogId) -> Offset {
        self.compacted.get(&log).copied().unwrap_or_default()
    }

    /// How many in-sync replicas a success takes for a log.
    pub fn min_insync(&self, log: LogId) -> usize {
        let replicas = self.controlled.partition(log).map_or(1, |state| state.replicas.len());
        self.terms.min_insync_of(self.names.get(&log.topic).map(String::as_str), replicas)
    }

    /// Whether several nodes have copies of a log.
    pub fn is_replicated(&self, log: LogId) -> bool {
        self.controlled.partition(log).is_some_and(|state| state.replicas.len() > 1)
    }

    /// Whether the disk that held an offset was replaced.
    pub fn was_wiped(&self, log: LogId, offset: Offset) -> bool {
        self.wiped.get(&log).into_iter().flatten().any(|range| range.contains(&offset))
    }

    /// Whether what was acknowledged may be lost by what happened to machines, their disks being honest: a disk was
    /// replaced, or page caches were lost that the promise relies on.
    pub fn is_beyond_promise(&self) -> bool {
        let wipes: u32 = self.machines.values().map(|machine| machine.wipes).sum();
        wipes > 0 || (!self.terms.durable && self.power_losses > 0)
    }

    /// What is known of a node's copy of a log.
    pub fn replica(&self, node: NodeId, log: LogId) -> Option<&Replica> {
        self.replicas.get(&(node, log))
    }

    /// Where a node's log begins that a file belongs to; 0 if nobody said.
    pub fn start_of(&self, node: NodeId, file: &Path) -> Offset {
        let dir = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let own = |&(of, log, _): &(NodeId, LogId, &Replica)| of == node && Some(log.to_string()) == dir;
        self.replicas().find(own).map_or(Offset(0), |(_, _, replica)| replica.start)
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

    /// Whether what a partition has committed must be kept: unless its topic is deleted, a disk lied, or, where page
    /// caches are the promise, somebody had to lead as the last resort.
    pub fn keeps(&self, log: LogId) -> bool {
        let given_up = !self.terms().durable && self.controlled().had_last_resort(log);
        !given_up && self.deleted(log.topic).is_none() && self.is_honest()
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

    pub(super) fn add_machine(&mut self, node: NodeId, broker: BrokerId) {
        self.machines.insert(node, Machine::new(broker));
    }

    /// What was known of a log on a node counts no more, if the node made it anew.
    pub(super) fn reopens(&mut self, node: NodeId, event: &Event) -> Option<LogId> {
        let Event::Made { log, .. } = event else { return None };
        self.replicas.entry((node, *log)).or_default().begin_anew();
        Some(*log)
    }

    /// Takes an event in.
    pub(super) fn take(&mut self, node: NodeId, now: Instant, event: &Event) {
        if let Some(machine) = self.machines.get_mut(&node) {
            machine.take(event);
        }
        self.quorum.take(node, now, event);
        if self.controlled.is_closed_by(event) {
            self.arrive();
        }
        self.controlled.take(node, event);
        match event {
            Event::TopicCreated { topic, name } => {
                self.names.insert(*topic, name.clone());
            }
            Event::TopicDeleted { topic } => {
                self.deleted.entry(*topic).or_insert(now);
            }
            Event::HighWatermark { log, end } => {
                self.tell_replica(node, now, *log, event);
                let copy = self.replicas.get(&(node, *log));
                copy.into_iter().for_each(|copy| self.committed.entry(*log).or_default().advance(*end, copy));
            }
            Event::Compacting { log, up_to } => {
                let known = self.compacted.entry(*log).or_default();
                *known = (*known).max(*up_to);
            }
            Event::Recovered { log, .. } => {
                self.tell_replica(node, now, *log, event);
                self.give_up(*log);
            }
            Event::Appended { log, .. }
            | Event::Synced { log, .. }
            | Event::LogStart { log, .. }
            | Event::Truncating { log, .. }
            | Event::Made { log, .. }
            | Event::Deleting { log }
            | Event::Restarted { log, .. }
            | Event::Truncated { log, .. }
            | Event::Damaged { log, .. }
            | Event::Poisoned { log }
            | Event::Leading { log, .. }
            | Event::Following { log, .. }
            | Event::InSync { log, .. }
            | Event::Acknowledged { log, .. } => self.tell_replica(node, now, *log, event),
            _ => {}
        }
    }

    fn tell_replica(&mut self, node: NodeId, now: Instant, log: LogId, event: &Event) {
        let (honest, replicated) = (self.is_honest_at(node), self.is_replicated(log));
        self.replicas.entry((node, log)).or_default().take(event, Facts { now, honest, replicated });
    }

    /// Those who serve from now on are what they say, and no longer what a process before them was.
    fn arrive(&mut self) {
        for broker in self.controlled.arrived().clone() {
            if let Some(node) = self.node_of(broker)
                && let Some(registration) = self.controlled.broker(broker)
                && let Some(machine) = self.machines.get_mut(&node)
            {
                machine.serves(registration.epoch);
            }
        }
    }

    /// A copy was opened. If the page caches that the promise relied on are all gone, so is what stood in them alone.
    fn give_up(&mut self, log: LogId) {
        let Some(state) = self.controlled.partition(log).filter(|_| !self.terms.durable) else { return };
        let copies = || state.replicas.iter().filter_map(|&broker| self.replica(self.node_of(broker)?, log));
        // One that is down may still have everything, and none is left only when each was seen.
        let farthest = copies().map(|copy| copy.end.unwrap_or(copy.held)).max().unwrap_or_default();
        if let Some(committed) = self.committed.get_mut(&log) {
            committed.give_up(farthest);
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
    pub(super) fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    #[cfg(test)]
    pub(super) fn forget_names(&mut self) {
        self.names.clear();
    }

    /// A node's process ended, by itself or not.
    pub(super) fn stopped(&mut self, node: NodeId, how: Stop) {
        for (_, replica) in self.replicas.iter_mut().filter(|((at, _), _)| *at == node) {
            replica.close();
        }
        self.power_losses += u64::from(how == Stop::Power);
        let broker = self.broker_at(node);
        let registered = broker.and_then(|broker| self.controlled.broker(broker));
        let registered = registered.map_or(BrokerEpoch::NONE, |known| known.epoch);
        // Nothing need have been told since it began to serve. What it joins later it joins as what it is now.
        let arrived = broker.is_some_and(|broker| {
            self.controlled.arrived().contains(&broker) && !self.controlled.is_member_anywhere(broker)
        });
        if let Some(machine) = self.machines.get_mut(&node) {
            if arrived {
                machine.serves(registered);
            }
            machine.stop(how, registered);
        }
        if let Some(broker) = broker {
            self.controlled.stopped(broker);
        }
        self.quorum.stopped(node);
        if how == Stop::Wiped {
            self.wipe(node);
        }
    }

    /// A node's disk is replaced by an empty one: nothing is expected of it any more.
    fn wipe(&mut self, node: NodeId) {
        for ((_, log), copy) in self.replicas.iter().filter(|((at, _), _)| *at == node) {
            self.wiped.entry(*log).or_default().push(copy.start..copy.farthest);
        }
        self.replicas.retain(|(at, _), _| *at != node);
        self.disks.remove(&node);
    }
}
