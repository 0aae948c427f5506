//! A decision of several steps, each of which sees what those before it change.

use super::MAX_RECORDS_PER_DECISION;
use super::change::PartitionChange;
use crate::configs::{ConfigView, MembershipRules};
use crate::image::{Image, Partition};
use crate::records::{BrokerRecord, MetadataRecord};
use highwater_types::{BrokerId, LogId, TopicId, mutant};
use std::collections::{BTreeMap, BTreeSet};

/// An index that no entry has: what is registered in a decision gets its epoch when it is committed.
const NOT_COMMITTED: u64 = u64::MAX;

/// The records so far, and the state that they lead to.
pub(super) struct Work<'a> {
    view: ConfigView<'a>,
    /// The state with the records applied.
    pub(super) image: Image,
    records: Vec<MetadataRecord>,
    rules: BTreeMap<TopicId, MembershipRules>,
}

impl<'a> Work<'a> {
    pub(super) fn new(view: &ConfigView<'a>) -> Self {
        let image = view.image.clone();
        Self { view: *view, image, records: Vec::new(), rules: BTreeMap::new() }
    }

    /// How many more records there may be.
    pub(super) fn room(&self) -> usize {
        MAX_RECORDS_PER_DECISION.saturating_sub(self.records.len())
    }

    pub(super) fn push(&mut self, record: MetadataRecord) {
        self.image
            .apply(&record, NOT_COMMITTED)
            .expect("a decision does not contradict the state it is made from");
        self.records.push(record);
    }

    pub(super) fn into_records(self) -> Vec<MetadataRecord> {
        self.records
    }

    /// Changes a broker's registration; nothing if it is so already.
    pub(super) fn update_broker(&mut self, id: BrokerId, update: impl FnOnce(&mut BrokerRecord)) {
        let Some(existing) = self.image.broker(id) else { return };
        let mut broker = existing.clone();
        update(&mut broker);
        if broker != *existing {
            self.push(MetadataRecord::Broker(broker));
        }
    }

    /// The rules of a topic that exists, as they are now.
    pub(super) fn rules(&mut self, topic: TopicId) -> MembershipRules {
        let (view, image) = (&self.view, &self.image);
        *self.rules.entry(topic).or_insert_with(|| {
            let topic = image.topic_by_id(topic).expect("partitions have topics");
            ConfigView { image, ..*view }.membership(topic)
        })
    }

    /// Whether anything changes.
    pub(super) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// Changes a partition; whether anything changed. Brokers of `gone` count as not live.
    pub(super) fn change(
        &mut self,
        log: LogId,
        gone: &BTreeSet<BrokerId>,
        alter: impl FnOnce(&mut PartitionChange<'_>),
    ) -> bool {
        self.change_with(log, alter, |image, id| !gone.contains(&id) && image.is_active(id))
    }

    /// As [`Work::change`], with a rule of its own for who is live.
    pub(super) fn change_with(
        &mut self,
        log: LogId,
        alter: impl FnOnce(&mut PartitionChange<'_>),
        live: impl Fn(&Image, BrokerId) -> bool,
    ) -> bool {
        let rules = self.rules(log.topic);
        let Some(partition) = self.image.partition(log) else { return false };
        let mut change = PartitionChange::new(log, partition, rules);
        alter(&mut change);
        let record = change.finish(|id| live(&self.image, id));
        let changed = record.is_some();
        if let Some(record) = record {
            self.push(MetadataRecord::Partition(record));
            self.settle_factor(log);
        }
        changed
    }

    /// Takes brokers out of everything they lead or are in sync in; whether that is done, or goes on in the next
    /// decision. All brokers that fail at once must be looked at together: none is an heir of the other.
    pub(super) fn leave(&mut self, gone: &BTreeSet<BrokerId>) -> bool {
        if mutant!("ctrl-concurrent-fence") && gone.len() > 1 {
            return self.leave_one_by_one(gone);
        }
        for log in self.partitions(|partition| partition.isr.iter().any(|id| gone.contains(id))) {
            // The registrations that change with it belong to the last of these entries.
            if self.room() <= gone.len() {
                return false;
            }
            self.change(log, gone, |_| {});
        }
        true
    }

    /// The planted bug: each departure is decided on the state before all of them.
    fn leave_one_by_one(&mut self, gone: &BTreeSet<BrokerId>) -> bool {
        for &id in gone {
            let mut alone = Work::new(&self.view);
            alone.leave(&BTreeSet::from([id]));
            for record in alone.into_records() {
                if let MetadataRecord::Partition(mut record) = record {
                    let log = LogId { topic: record.topic, partition: record.partition };
                    let now = self.image.partition(log).expect("it was there before");
                    record.partition_epoch = now.partition_epoch + 1;
                    record.leader_epoch.0 = record.leader_epoch.0.max(now.leader_epoch.0 + 1);
                    self.push(MetadataRecord::Partition(record));
                }
            }
        }
        true
    }

    /// The partitions that the test holds for, before any of them changes.
    pub(super) fn partitions(&self, mut wanted: impl FnMut(&Partition) -> bool) -> Vec<LogId> {
        let topics = self.image.topics();
        let partitions = topics.flat_map(|topic| topic.partitions_with_logs());
        partitions.filter(|(_, partition)| wanted(partition)).map(|(log, _)| log).collect()
    }

    /// Gives a leader to partitions without one, where somebody can lead; whether all were looked at.
    pub(super) fn elect_leaderless(&mut self) -> bool {
        let image = &self.image;
        let someone_lives = |partition: &Partition| partition.replicas.iter().any(|&id| image.is_active(id));
        let candidates: Vec<LogId> = image
            .leaderless()
            .filter(|(_, partition)| someone_lives(partition))
            .map(|(log, _)| log)
            .collect();
        for log in candidates {
            if self.room() == 0 {
                return false;
            }
            self.change(log, &BTreeSet::new(), |_| {});
        }
        true
    }

    /// Where the first partition of a topic gets or loses replicas, the topic's `min.insync.replicas` may fall with
    /// its replication factor.
    fn settle_factor(&mut self, log: LogId) {
        let before = self.rules.remove(&log.topic);
        let after = self.rules(log.topic);
        if log.partition.0 == 0
            && before.is_some_and(|rules| rules.min_insync_replicas > after.min_insync_replicas)
        {
            self.settle(log.topic);
        }
    }

    /// Drops the eligible replicas of a topic's partitions where fewer replicas are enough from now on: records are
    /// committed without them.
    pub(super) fn settle(&mut self, topic: TopicId) {
        self.rules.remove(&topic);
        let Some(topic) = self.image.topic_by_id(topic).cloned() else { return };
        let eligible = topic.partitions_with_logs().filter(|(_, partition)| !partition.elr.is_empty());
        for (log, _) in eligible {
            self.change(log, &BTreeSet::new(), |_| {});
        }
    }
}
