//! A cluster of brokers that say what they are told to, and what must hold in it at every step.

use crate::configs::{ConfigView, StaticConfig};
use crate::controller::*;
use crate::image::{Image, Partition};
use crate::records::{Endpoint, MetadataRecord};
use highwater_types::{
    BrokerEpoch, BrokerId, ClusterId, DiskId, Instant, LogId, PartitionIndex, TopicId, Uuid,
};
use std::time::Duration;

pub(super) struct World {
    pub(super) image: Image,
    pub(super) index: u64,
    pub(super) now: Instant,
    pub(super) controller: Controller,
    pub(super) statics: StaticConfig,
    draws: u128,
}

pub(super) fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

impl World {
    pub(super) fn new(statics: &[(&str, &str)]) -> Self {
        let mut image = Image::new();
        image.apply_all(&bootstrap(&image, cluster_id()), 1).unwrap();
        let controller = Controller::new(&image, Instant(0));
        let statics = StaticConfig::new(statics.iter().copied()).unwrap();
        Self { image, index: 1, now: Instant(0), controller, statics, draws: 0 }
    }

    /// With brokers from 1 on, registered and unfenced.
    pub(super) fn with_brokers(mut self, brokers: i32) -> Self {
        for id in 1..=brokers {
            self.start(id, BrokerEpoch::NONE);
            self.beat(id);
        }
        self
    }

    pub(super) fn draw(&mut self) -> Uuid {
        self.draws += 1;
        Uuid::from_random(0x1000 + self.draws)
    }

    /// What a broker says on its own disk, at a new start.
    pub(super) fn registration(&mut self, id: i32, clean_epoch: BrokerEpoch) -> Registration {
        Registration {
            id: BrokerId(id),
            cluster_id: cluster_id(),
            incarnation: self.draw(),
            disk: DiskId(Uuid([u8::try_from(id).unwrap(); 16])),
            clean_epoch,
            endpoints: vec![endpoint()],
            rack: None,
            is_controller: false,
            features: supported_features(),
            settings: self.statics_of_brokers(),
        }
    }

    fn statics_of_brokers(&self) -> std::collections::BTreeMap<String, String> {
        let names = crate::configs::CLUSTER_WIDE.iter();
        let set = names.filter_map(|&name| Some((name.to_owned(), self.statics.get(name)?.to_owned())));
        set.collect()
    }

    pub(super) fn decide<T>(
        &mut self,
        decide: impl FnOnce(&mut Controller, &ConfigView<'_>, u64, Instant) -> Decision<T>,
    ) -> Vec<Result<T, Refusal>> {
        let image = self.image.clone();
        let view = ConfigView { image: &image, statics: &self.statics, broker: BrokerId(1) };
        let decision = decide(&mut self.controller, &view, self.index, self.now);
        self.commit(&decision.records);
        decision.answers
    }

    /// Commits the records of a decision, and looks at what comes of them.
    pub(super) fn commit(&mut self, records: &[MetadataRecord]) {
        if records.is_empty() {
            return;
        }
        self.index += 1;
        let before = self.image.clone();
        self.image.apply_all(records, self.index).expect("a decision's records can be applied");
        check_all(&before, &self.image);
    }

    /// Registers a broker anew.
    pub(super) fn start(&mut self, id: i32, clean_epoch: BrokerEpoch) {
        let registration = self.registration(id, clean_epoch);
        self.register(&registration).unwrap();
    }

    pub(super) fn register(&mut self, registration: &Registration) -> Result<(), Refusal> {
        self.decide(|controller, view, _, now| controller.register(view, registration, now)).remove(0)
    }

    pub(super) fn epoch(&self, id: i32) -> BrokerEpoch {
        self.image.broker(BrokerId(id)).map_or(BrokerEpoch::NONE, |broker| broker.epoch)
    }

    pub(super) fn heartbeat(
        &mut self,
        id: i32,
        alter: impl FnOnce(&mut Heartbeat),
    ) -> Result<HeartbeatAnswer, Refusal> {
        let mut heartbeat = Heartbeat {
            id: BrokerId(id),
            epoch: self.epoch(id),
            applied: self.index,
            want_fence: false,
            want_shut_down: false,
        };
        alter(&mut heartbeat);
        self.decide(|controller, view, index, now| controller.heartbeat(view, index, &heartbeat, now))
            .remove(0)
    }

    /// A heartbeat of a broker that is well and has caught up.
    pub(super) fn beat(&mut self, id: i32) {
        self.heartbeat(id, |_| {}).unwrap();
    }

    /// Ticks until nothing more comes of it; how many entries that took.
    pub(super) fn tick(&mut self) -> usize {
        for entries in 0..100 {
            let image = self.image.clone();
            let view = ConfigView { image: &image, statics: &self.statics, broker: BrokerId(1) };
            let records = self.controller.tick(&view, self.now);
            assert!(records.len() <= MAX_RECORDS_PER_DECISION);
            if records.is_empty() {
                return entries;
            }
            self.commit(&records);
        }
        panic!("ticks do not come to an end");
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let view = ConfigView { image: &self.image, statics: &self.statics, broker: BrokerId(1) };
        self.controller.next_expiry(&view)
    }

    /// Lets time pass in which only these brokers are heard of.
    pub(super) fn pass(&mut self, seconds: u64, heard: &[i32]) {
        for _ in 0..seconds {
            self.now = self.now.after(Duration::from_secs(1));
            heard.iter().for_each(|&id| self.beat(id));
            self.tick();
        }
    }

    /// Creates a topic with one partition per list of replicas.
    pub(super) fn topic(&mut self, name: &str, replicas: &[&[i32]], configs: &[(&str, &str)]) {
        let assignments = (0..).zip(replicas).map(|(index, replicas)| (PartitionIndex(index), ids(replicas)));
        let configs = configs.iter().map(|&(name, value)| (name.to_owned(), Some(value.to_owned())));
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: -1,
            assignments: assignments.collect(),
            configs: configs.collect(),
        };
        let id = TopicId(self.draw());
        self.decide(|_, view, _, _| create_topics(view, &[topic], false, || id)).remove(0).unwrap();
    }

    pub(super) fn set_config(&mut self, topic: &str, name: &str, value: Option<&str>) {
        let operation = if value.is_some() { AlterOperation::Set } else { AlterOperation::Delete };
        let change = ConfigChange { name: name.to_owned(), operation, value: value.map(str::to_owned) };
        let resource = (Resource::Topic(topic.to_owned()), vec![change]);
        self.decide(|_, view, _, _| incremental_alter_configs(view, &[resource], false)).remove(0).unwrap();
    }

    pub(super) fn log(&self, topic: &str, partition: i32) -> LogId {
        LogId { topic: self.image.topic(topic).unwrap().id(), partition: PartitionIndex(partition) }
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> &Partition {
        self.image.partition(self.log(topic, partition)).unwrap()
    }

    /// What its leader would ask for to have this in-sync set.
    pub(super) fn isr_change(&self, topic: &str, partition: i32, isr: &[i32]) -> IsrChange {
        let state = self.partition(topic, partition);
        IsrChange {
            log: self.log(topic, partition),
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: isr.iter().map(|&id| (BrokerId(id), self.epoch(id))).collect(),
        }
    }

    pub(super) fn alter(&mut self, from: i32, change: IsrChange) -> Result<Partition, Refusal> {
        let epoch = self.epoch(from);
        self.decide(|controller, view, _, _| {
            controller.alter_partitions(view, BrokerId(from), epoch, &[change])
        })
        .remove(0)
    }

    /// The leader of partition 0 changes the in-sync set.
    pub(super) fn set_isr(&mut self, topic: &str, isr: &[i32]) {
        let leader = self.partition(topic, 0).leader.unwrap().0;
        self.alter(leader, self.isr_change(topic, 0, isr)).unwrap();
    }

    pub(super) fn reassign(&mut self, topic: &str, replicas: Option<&[i32]>) -> Result<(), Refusal> {
        let (topic, partition) = (topic.to_owned(), PartitionIndex(0));
        let wanted = Reassignment { topic, partition, replicas: replicas.map(ids) };
        self.decide(|_, view, _, _| alter_reassignments(view, &[wanted], true)).remove(0)
    }

    /// Partition 0 in a few words.
    pub(super) fn show(&self, topic: &str) -> String {
        show(self.partition(topic, 0))
    }

    pub(super) fn check(&self, topic: &str, expected: &str) {
        assert_eq!(self.show(topic), expected);
    }
}

pub(super) fn cluster_id() -> ClusterId {
    ClusterId(Uuid([0xcc; 16]))
}

fn endpoint() -> Endpoint {
    Endpoint { listener: "PLAINTEXT".to_owned(), host: "h".to_owned(), port: 9092, security_protocol: 0 }
}

/// Such as `leader 1 e3 isr 1,2 elr 3`; lists that are empty are left out.
pub(super) fn show(partition: &Partition) -> String {
    let list = |ids: &[BrokerId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let leader = partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let mut text = format!("leader {leader} e{}", partition.leader_epoch);
    let lists = [
        ("isr", &partition.isr),
        ("elr", &partition.elr),
        ("last", &partition.last_known_elr),
        ("adding", &partition.adding),
        ("removing", &partition.removing),
    ];
    for (name, ids) in lists.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        text += &format!(" {name} {}", list(ids));
    }
    text
}

/// What holds in every state, and from one state to the next. That lists lie within the replicas and apart from each
/// other is checked by the image.
fn check_all(before: &Image, after: &Image) {
    for broker in after.brokers() {
        if let Some(was) = before.broker(broker.id) {
            assert!(broker.epoch >= was.epoch, "the epoch of {} fell", broker.id);
        }
    }
    for (log, partition) in after.topics().flat_map(|topic| topic.partitions_with_logs()) {
        let shown = show(partition);
        assert_eq!(partition.leader.is_none(), partition.isr.is_empty(), "{log}: {shown}");
        if let Some(leader) = partition.leader {
            assert!(partition.last_known_elr.is_empty(), "{log}: {shown}");
            // One that is on its way out may lead until it is its turn in a long list of moves.
            assert!(after.broker(leader).is_some_and(|it| !it.fenced), "{log}: {shown}");
        }
        for id in &partition.isr {
            assert!(
                after.broker(*id).is_some_and(|it| !it.fenced),
                "{log}: {id} is fenced and in sync: {shown}"
            );
        }
        for id in &partition.elr {
            assert!(after.broker(*id).is_some(), "{log}: {id} is gone and eligible: {shown}");
        }
        if let Some(was) = before.partition(log) {
            assert!(partition.leader_epoch >= was.leader_epoch, "{log}: {shown}");
            assert_eq!(partition.created, was.created);
            let epochs = (partition.partition_epoch, was.partition_epoch);
            assert!(epochs.0 > epochs.1 || partition == was, "{log} changed under one epoch: {shown}");
            if partition.leader != was.leader {
                assert!(partition.leader_epoch > was.leader_epoch, "{log}: {shown}, was {}", show(was));
            }
        }
    }
}
