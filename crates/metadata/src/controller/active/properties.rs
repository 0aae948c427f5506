//! Random histories of a cluster: whatever happens in whatever order, the state holds together, and no committed
//! record is lost that was promised not to be.
//!
//! A model stands for the logs: of each replica, how many of the partition's committed records it has. A record is
//! committed when all replicas in sync are up and are enough; a crash takes what its topic did not promise to keep.

use super::harness::World;
use crate::configs::{ConfigView, Durability};
use crate::controller::*;
use highwater_types::{BrokerEpoch, BrokerId, DiskId, LogId, Uuid};
use proptest::prelude::*;
use std::collections::BTreeMap;

const BROKERS: i32 = 5;
const TOPICS: [&str; 4] = ["synced", "memory", "pair", "single"];

#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Nothing.
    Nothing,
    /// What was not on disk.
    Memory,
    /// The disk.
    Disk,
}

#[derive(Clone, Debug)]
enum Step {
    Crash(i32, Loss),
    Start(i32),
    Beat(i32),
    Fence(i32),
    ShutDown(i32),
    Time(u64),
    Election,
    Write(usize),
    Shrink(usize, i32),
    Join(usize, i32),
    /// An in-sync change that was held up arrives.
    Late(usize),
    Preferred(usize),
    Reassign(usize, Vec<i32>),
    Cancel(usize),
    MinIsr(usize, Option<i32>),
    Unregister(i32),
    Decommission(i32),
    /// A write or a sync of a replica's log fails.
    Fail(usize, i32),
}

struct Process {
    up: bool,
    incarnation: Uuid,
    disk: DiskId,
    /// The epoch that it registered with.
    epoch: BrokerEpoch,
    /// The epoch that its last stop in good order left on its disk. It stays there until the next one, as if the node
    /// forgot to remove it.
    mark: BrokerEpoch,
}

struct Model {
    world: World,
    processes: BTreeMap<i32, Process>,
    /// How many records are committed, and how many of them each replica has.
    committed: BTreeMap<LogId, u32>,
    has: BTreeMap<(LogId, BrokerId), u32>,
    held: Vec<(i32, BrokerEpoch, IsrChange)>,
}

impl Model {
    fn new() -> Self {
        let mut world = World::new(&[]);
        let mut processes = BTreeMap::new();
        for id in 1..=BROKERS {
            let registration = world.registration(id, BrokerEpoch::NONE);
            world.register(&registration).unwrap();
            world.beat(id);
            let (incarnation, disk) = (registration.incarnation, registration.disk);
            let epoch = world.epoch(id);
            processes.insert(id, Process { up: true, incarnation, disk, epoch, mark: BrokerEpoch::NONE });
        }
        world.topic(TOPICS[0], &[&[1, 2, 3], &[3, 4, 5]], &[]);
        world.topic(TOPICS[1], &[&[2, 3, 4], &[4, 5, 1]], &[("durability", "replicated")]);
        world.topic(TOPICS[2], &[&[5, 1], &[1, 2]], &[]);
        world.topic(TOPICS[3], &[&[3], &[4]], &[("durability", "replicated")]);
        let (committed, has, held) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { world, processes, committed, has, held }
    }

    /// Whether the broker runs, as it is registered.
    fn is_up(&self, id: BrokerId) -> bool {
        let process = &self.processes[&id.0];
        process.up && self.world.image.broker(id).is_some_and(|it| it.incarnation == process.incarnation)
    }

    fn log(&self, topic: usize) -> LogId {
        let partition = i32::try_from(topic / TOPICS.len()).unwrap() % 2;
        self.world.log(TOPICS[topic % TOPICS.len()], partition)
    }

    fn durability(&self, log: LogId) -> Durability {
        let world = &self.world;
        let view = ConfigView { image: &world.image, statics: &world.statics, broker: BrokerId(1) };
        view.membership(world.image.topic_by_id(log.topic).unwrap()).durability
    }

    fn min_isr(&self, log: LogId) -> usize {
        let world = &self.world;
        let view = ConfigView { image: &world.image, statics: &world.statics, broker: BrokerId(1) };
        let min = view.membership(world.image.topic_by_id(log.topic).unwrap()).min_insync_replicas;
        world.image.partition(log).unwrap().effective_min_isr(min)
    }

    /// The leader, if it is there to ask for anything.
    fn leader(&self, log: LogId) -> Option<BrokerId> {
        self.world.image.partition(log).unwrap().leader.filter(|&id| self.is_up(id))
    }

    fn step(&mut self, step: &Step) {
        let before = self.world.image.clone();
        match step {
            Step::Crash(id, loss) => self.crash(*id, *loss),
            Step::Fail(topic, id) => self.fail(*topic, *id),
            Step::Start(id) => self.start(*id),
            Step::Beat(id) => {
                if self.is_up(BrokerId(*id)) {
                    self.world.beat(*id);
                }
            }
            Step::Fence(id) => {
                if self.is_up(BrokerId(*id)) {
                    self.world.heartbeat(*id, |it| it.want_fence = true).unwrap();
                }
            }
            Step::ShutDown(id) => self.shut_down(*id),
            Step::Time(seconds) => {
                let up: Vec<i32> = (1..=BROKERS).filter(|&id| self.is_up(BrokerId(id))).collect();
                self.world.now = self.world.now.after(std::time::Duration::from_secs(*seconds));
                // Sometimes nobody is heard of.
                if *seconds < 10 {
                    up.iter().for_each(|&id| self.world.beat(id));
                }
                self.world.tick();
            }
            Step::Election => self.world.controller = Controller::new(&self.world.image, self.world.now),
            Step::Write(topic) => self.write(self.log(*topic)),
            Step::Shrink(topic, id) => self.alter(*topic, |isr| isr.retain(|member| member.0 != *id)),
            Step::Join(topic, id) => self.alter(*topic, |isr| isr.push(BrokerId(*id))),
            Step::Late(at) => {
                if let Some((from, epoch, change)) = self.held.iter().rev().nth(*at).cloned() {
                    let isr = change.isr.clone();
                    let answers = self.world.decide(|controller, view, _, _| {
                        controller.alter_partitions(
                            view,
                            BrokerId(from),
                            epoch,
                            std::slice::from_ref(&change),
                        )
                    });
                    if is_made(&answers[0]) {
                        // Those who are still who they were then have what the leader has.
                        let same: Vec<BrokerId> = isr
                            .into_iter()
                            .filter(|&(id, epoch)| self.world.epoch(id.0) == epoch)
                            .map(|(id, _)| id)
                            .collect();
                        self.catch_up(change.log, same.into_iter());
                    }
                }
            }
            Step::Preferred(topic) => {
                let log = self.log(*topic);
                let _ =
                    self.world.decide(|_, view, _, _| elect_leaders(view, ElectionType::Preferred, &[log]));
            }
            Step::Reassign(topic, replicas) => self.reassign(*topic, Some(replicas)),
            Step::Cancel(topic) => self.reassign(*topic, None),
            Step::MinIsr(topic, min) => {
                let value = min.map(|min| min.to_string());
                let topic = TOPICS[topic % TOPICS.len()];
                self.world.set_config(topic, "min.insync.replicas", value.as_deref());
            }
            Step::Unregister(id) => {
                if !self.processes[id].up {
                    let _ = self
                        .world
                        .decide(|controller, view, _, _| unregister_broker(view, controller, BrokerId(*id)));
                }
            }
            Step::Decommission(id) => {
                let _ = self.world.decide(|_, view, _, _| decommission(view, BrokerId(*id)));
            }
        }
        self.check(&before);
    }

    fn crash(&mut self, id: i32, loss: Loss) {
        let process = self.processes.get_mut(&id).unwrap();
        if !process.up && process.mark == process.epoch && matches!(loss, Loss::Memory) {
            // What a stop in good order wrote is on the disk.
            return;
        }
        process.up = false;
        let lost = |durability| match loss {
            Loss::Nothing => false,
            Loss::Memory => durability == Durability::Replicated,
            Loss::Disk => true,
        };
        let logs: Vec<LogId> = self.world.image.logs().collect();
        for log in logs {
            if lost(self.durability(log)) {
                self.has.insert((log, BrokerId(id)), 0);
            }
        }
        let process = self.processes.get_mut(&id).unwrap();
        if matches!(loss, Loss::Disk) {
            process.disk = DiskId(self.world.draw());
            process.mark = BrokerEpoch::NONE;
        }
    }

    /// What was in its memory alone may be gone; its process does not know how much.
    fn fail(&mut self, topic: usize, id: i32) {
        if !self.is_up(BrokerId(id)) {
            return;
        }
        let (log, id, epoch) = (self.log(topic), BrokerId(id), self.world.epoch(id));
        if self
            .world
            .decide(|controller, view, _, _| controller.fail_logs(view, id, epoch, &[log]))
            .remove(0)
            .is_ok()
            && self.durability(log) == Durability::Replicated
        {
            self.has.insert((log, id), 0);
        }
    }

    fn start(&mut self, id: i32) {
        if self.processes[&id].up {
            return;
        }
        let Process { disk, mark, .. } = self.processes[&id];
        let registration = Registration { disk, ..self.world.registration(id, mark) };
        if self.world.register(&registration).is_ok() {
            let (incarnation, epoch) = (registration.incarnation, self.world.epoch(id));
            self.processes.insert(id, Process { up: true, incarnation, disk, epoch, mark });
        }
    }

    fn shut_down(&mut self, id: i32) {
        if !self.is_up(BrokerId(id)) {
            return;
        }
        if self.world.heartbeat(id, |it| it.want_shut_down = true).unwrap().should_shut_down {
            let process = self.processes.get_mut(&id).unwrap();
            (process.up, process.mark) = (false, process.epoch);
        }
    }

    /// A record is committed if all in sync take it, and they are enough.
    fn write(&mut self, log: LogId) {
        let partition = self.world.image.partition(log).unwrap();
        let enough = partition.isr.len() >= self.min_isr(log);
        if self.leader(log).is_none() || !enough || !partition.isr.iter().all(|&id| self.is_up(id)) {
            return;
        }
        *self.committed.entry(log).or_default() += 1;
        self.catch_up(log, partition.isr.clone().into_iter());
    }

    fn catch_up(&mut self, log: LogId, ids: impl Iterator<Item = BrokerId>) {
        let committed = self.committed.get(&log).copied().unwrap_or(0);
        ids.for_each(|id| {
            self.has.insert((log, id), committed);
        });
    }

    /// The leader asks for another in-sync set, of replicas that have what it has.
    fn alter(&mut self, topic: usize, alter: impl FnOnce(&mut Vec<BrokerId>)) {
        let log = self.log(topic);
        let Some(leader) = self.leader(log) else { return };
        let partition = self.world.image.partition(log).unwrap();
        let was = partition.isr.clone();
        let mut isr = was.clone();
        alter(&mut isr);
        if isr.iter().any(|&id| !was.contains(&id) && !self.is_up(id)) {
            return;
        }
        let change = IsrChange {
            log,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: isr.iter().map(|&id| (id, self.world.epoch(id.0))).collect(),
        };
        let epoch = self.world.epoch(leader.0);
        self.held.push((leader.0, epoch, change.clone()));
        // Every other one stays in the network for a while.
        if self.held.len().is_multiple_of(3) {
            return;
        }
        let joined: Vec<BrokerId> = isr.into_iter().filter(|id| !was.contains(id)).collect();
        if is_made(&self.world.alter(leader.0, change)) {
            self.catch_up(log, joined.into_iter());
        }
    }

    fn reassign(&mut self, topic: usize, replicas: Option<&[i32]>) {
        let log = self.log(topic);
        let topic = TOPICS[topic % TOPICS.len()].to_owned();
        let replicas = replicas.map(super::harness::ids);
        let wanted = Reassignment { topic, partition: log.partition, replicas };
        let _ = self.world.decide(|_, view, _, _| alter_reassignments(view, &[wanted], true));
    }

    /// Every member in sync or eligible has what is committed, unless it is down, or has not registered since it lost
    /// something: then it cannot lead, and is taken out before it can. Where the last leader had to do, what it has
    /// is what there is.
    fn check(&mut self, before: &crate::image::Image) {
        let partitions: Vec<_> =
            self.world.image.topics().flat_map(|topic| topic.partitions_with_logs()).collect();
        for (log, partition) in partitions {
            let unclean =
                before.partition(log).is_some_and(|before| partition.unclean_epoch != before.unclean_epoch);
            if unclean {
                assert_eq!(self.durability(log), Durability::Replicated, "{log}: {partition:?}");
                let leader = partition.leader.unwrap();
                let has = self.has.get(&(log, leader)).copied().unwrap_or(0);
                self.committed.insert(log, has);
            }
            let committed = self.committed.get(&log).copied().unwrap_or(0);
            for &id in partition.isr.iter().chain(&partition.elr) {
                let has = self.has.get(&(log, id)).copied().unwrap_or(0);
                assert!(
                    has >= committed || !self.is_up(id),
                    "{log}: {id} has {has} of {committed}: {}",
                    super::harness::show(partition)
                );
            }
        }
    }
}

/// Whether an in-sync change was made.
fn is_made(answer: &Result<crate::image::Partition, Refusal>) -> bool {
    answer.as_ref().err().is_none_or(|refusal| refusal.code == RefusalCode::NewLeaderElected)
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 1..=BROKERS;
    let topic = || 0usize..8;
    let loss = prop_oneof![2 => Just(Loss::Nothing), 2 => Just(Loss::Memory), 1 => Just(Loss::Disk)];
    let replicas = Just((1..=BROKERS).collect::<Vec<_>>()).prop_shuffle();
    prop_oneof![
        4 => (id(), loss).prop_map(|(id, loss)| Step::Crash(id, loss)),
        8 => id().prop_map(Step::Start),
        8 => id().prop_map(Step::Beat),
        1 => id().prop_map(Step::Fence),
        3 => id().prop_map(Step::ShutDown),
        8 => (1u64..12).prop_map(Step::Time),
        1 => Just(Step::Election),
        12 => topic().prop_map(Step::Write),
        5 => (topic(), id()).prop_map(|(topic, id)| Step::Shrink(topic, id)),
        12 => (topic(), id()).prop_map(|(topic, id)| Step::Join(topic, id)),
        5 => (0usize..4).prop_map(Step::Late),
        2 => topic().prop_map(Step::Preferred),
        3 => (topic(), replicas, 1usize..5).prop_map(|(topic, mut replicas, length)| {
            replicas.truncate(length);
            Step::Reassign(topic, replicas)
        }),
        1 => topic().prop_map(Step::Cancel),
        2 => (topic(), proptest::option::of(1i32..4)).prop_map(|(topic, min)| Step::MinIsr(topic, min)),
        1 => id().prop_map(Step::Unregister),
        1 => id().prop_map(Step::Decommission),
        2 => (topic(), id()).prop_map(|(topic, id)| Step::Fail(topic, id)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_promised_is_lost(steps in proptest::collection::vec(step(), 1..150)) {
        let mut model = Model::new();
        for step in &steps {
            model.step(step);
        }
        // Once all are back and time has passed, every partition that anybody can lead has a leader.
        for id in 1..=BROKERS {
            model.world.now = model.world.now.after(std::time::Duration::from_secs(10));
            model.step(&Step::Start(id));
        }
        (1..=BROKERS).for_each(|id| model.step(&Step::Beat(id)));
        model.world.tick();
        for (log, partition) in model.world.image.leaderless() {
            let someone = partition.isr.iter().chain(&partition.elr).any(|&id| model.world.image.is_active(id));
            prop_assert!(!someone, "{log} has no leader: {partition:?}");
        }
        let mut copy = crate::image::Image::new();
        for record in model.world.image.to_records() {
            copy.apply(&record, u64::MAX).unwrap();
        }
        prop_assert_eq!(copy, model.world.image);
    }
}
