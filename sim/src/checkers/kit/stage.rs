//! A log on some nodes, told of event by event.

use super::super::{Checker, Checkers, Regime, Stop, Terms};
use crate::disk::SimDisk;
use crate::executor::{NodeId, Violation};
use bytes::Bytes;
use highwater_env::{Disk, Event, File, OpenMode};
use highwater_metadata::METADATA_LOG;
use highwater_records::{BatchBuilder, Batches, Codec};
use highwater_types::{
    BrokerEpoch, BrokerId, Instant, LeaderEpoch, LogId, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    Timestamp, TopicId, Uuid,
};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub const LOG: LogId = LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(0) };

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a disk without a pacer never waits"),
    }
}

/// Who tells what the controller decides.
const CONTROLLER: NodeId = NodeId(9);

/// The newest file of a log.
#[derive(Clone, Copy)]
struct Place {
    segment: Offset,
    position: u64,
}

/// A log of the topic `orders` on some nodes with one checker: broker 1 is on node 0, and so on. Time moves on by a
/// tenth of a second per step.
pub struct Stage {
    checkers: Checkers,
    disks: Vec<SimDisk>,
    places: Vec<Place>,
    node: NodeId,
    now: Instant,
    /// The entry of the metadata that was told last.
    index: u64,
    epochs: Vec<BrokerEpoch>,
    found: Option<Violation>,
}

impl Stage {
    pub fn new(checker: impl Checker + 'static) -> Self {
        let mut checkers = Checkers::with(Regime::Unlimited, Terms::default(), vec![Box::new(checker)]);
        let disks: Vec<_> = (0..3).map(|number| SimDisk::new(number + 1)).collect();
        for (number, disk) in disks.iter().enumerate() {
            checkers.add_broker(NodeId(number), broker(number), disk.clone());
        }
        checkers.add_broker(CONTROLLER, BrokerId(10), SimDisk::new(9));
        let mut stage = Self {
            checkers,
            places: vec![Place { segment: Offset(0), position: 64 }; disks.len()],
            epochs: vec![BrokerEpoch::NONE; disks.len()],
            disks,
            node: NodeId(0),
            now: Instant(0),
            index: 0,
            found: None,
        };
        stage.tell(Event::TopicCreated { topic: LOG.topic, name: "orders".to_owned() });
        stage
    }

    /// What brokers promise.
    pub fn terms(&mut self, terms: Terms) -> &mut Self {
        self.checkers.set_terms(terms);
        self
    }

    /// As if no topic had been made: a log of the broker's own.
    pub fn internal(&mut self) -> &mut Self {
        self.checkers.forget_names();
        self
    }

    fn hear(&mut self, node: NodeId, event: &Event) {
        self.now = Instant(self.now.0 + 100_000_000);
        let heard = self.checkers.hear(node, self.now, event);
        self.found = self.found.take().or(heard.err());
    }

    pub fn tell(&mut self, event: Event) -> &mut Self {
        self.hear(self.node, &event);
        self
    }

    /// Time passes.
    pub fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now = Instant(self.now.0 + seconds * 1_000_000_000);
        self
    }

    /// What follows happens on that node.
    pub fn on(&mut self, node: usize) -> &mut Self {
        self.node = NodeId(node);
        self
    }

    fn decide(&mut self, event: &Event) -> &mut Self {
        self.hear(CONTROLLER, event);
        self
    }

    fn state(&self, leader: i32, epoch: i32, sets: [&[usize]; 3]) -> Event {
        let [replicas, isr, elr] = sets.map(|set| set.iter().map(|&number| broker(number)).collect());
        Event::PartitionState {
            index: self.index,
            log: LOG,
            leader: usize::try_from(leader).ok().map(broker),
            epoch: LeaderEpoch(epoch),
            partition_epoch: self.index as i32,
            replicas,
            isr,
            elr,
        }
    }

    /// The controller decides who leads (nobody: -1) and who is in sync, by their nodes.
    pub fn partition(
        &mut self,
        leader: i32,
        epoch: i32,
        replicas: &[usize],
        isr: &[usize],
        elr: &[usize],
    ) -> &mut Self {
        self.index += 1;
        let state = self.state(leader, epoch, [replicas, isr, elr]);
        self.decide(&state)
    }

    /// The controller takes a new incarnation of a node's broker in, which serves from then on.
    pub fn register(&mut self, node: usize) -> &mut Self {
        self.index += 1;
        self.epochs[node] = BrokerEpoch(self.index as i64);
        let event = self.broker_state(node, false);
        self.decide(&event);
        self.hear(NodeId(node), &event);
        self
    }

    /// In one entry, a node's broker is let serve as a new incarnation, and the controller decides on the partition.
    pub fn register_and(&mut self, node: usize, leader: i32, epoch: i32, sets: [&[usize]; 3]) -> &mut Self {
        self.register(node);
        let state = self.state(leader, epoch, sets);
        self.decide(&state)
    }

    fn broker_state(&self, node: usize, fenced: bool) -> Event {
        Event::BrokerState { index: self.index, broker: broker(node), epoch: self.epochs[node], fenced }
    }

    /// The controller fences a node's broker.
    pub fn fence(&mut self, node: usize) -> &mut Self {
        self.index += 1;
        let event = self.broker_state(node, true);
        self.decide(&event)
    }

    /// In one entry, the controller fences a node's broker and decides on the partition.
    pub fn fence_and(&mut self, node: usize, leader: i32, epoch: i32, sets: [&[usize]; 3]) -> &mut Self {
        self.fence(node);
        let state = self.state(leader, epoch, sets);
        self.decide(&state)
    }

    /// All of the last entry has been told.
    pub fn settle(&mut self) -> &mut Self {
        self.index += 1;
        let event = Event::QuorumApplied { index: self.index, term: 1, checksum: 0 };
        self.decide(&event)
    }

    /// The node leads.
    pub fn leads(&mut self, epoch: i32) -> &mut Self {
        self.tell(Event::Leading { log: LOG, epoch: LeaderEpoch(epoch), start: Offset(0) })
    }

    /// The node follows.
    pub fn follows(&mut self, epoch: i32) -> &mut Self {
        self.tell(Event::Following { log: LOG, epoch: LeaderEpoch(epoch), leader: None })
    }

    /// The node, which leads, counts those on these nodes.
    pub fn in_sync(&mut self, epoch: i32, committed: &[usize], pending: &[usize]) -> &mut Self {
        let [committed, pending] =
            [committed, pending].map(|set| set.iter().map(|&number| broker(number)).collect());
        self.tell(Event::InSync { log: LOG, epoch: LeaderEpoch(epoch), committed, pending })
    }

    pub fn append_as(&mut self, base: i64, last: i64, epoch: i32, checksum: u32) -> &mut Self {
        self.tell(appended(base, last, epoch, checksum, None))
    }

    pub fn append(&mut self, base: i64, last: i64) -> &mut Self {
        self.append_as(base, last, 0, base as u32)
    }

    pub fn produce(&mut self, base: i64, last: i64, producer: (i64, i16, i32)) -> &mut Self {
        self.tell(appended(base, last, 0, base as u32, Some(producer)))
    }

    pub fn synced(&mut self, end: i64) -> &mut Self {
        self.tell(Event::Synced { log: LOG, end: Offset(end) })
    }

    pub fn watermark(&mut self, end: i64) -> &mut Self {
        self.tell(Event::HighWatermark { log: LOG, end: Offset(end) })
    }

    pub fn log_start(&mut self, start: i64) -> &mut Self {
        self.tell(Event::LogStart { log: LOG, start: Offset(start) })
    }

    pub fn truncated(&mut self, end: i64) -> &mut Self {
        self.tell(Event::Truncated { log: LOG, end: Offset(end) })
    }

    pub fn truncating(&mut self, end: i64) -> &mut Self {
        self.tell(Event::Truncating { log: LOG, end: Offset(end) })
    }

    /// The node makes the log.
    pub fn made(&mut self) -> &mut Self {
        self.tell(Event::Made { log: LOG, start: Offset(0) })
    }

    /// The node is about to delete the log.
    pub fn deleting(&mut self) -> &mut Self {
        self.tell(Event::Deleting { log: LOG })
    }

    pub fn restarted(&mut self, start: i64) -> &mut Self {
        self.tell(Event::Restarted { log: LOG, start: Offset(start) })
    }

    pub fn recovered(&mut self, start: i64, end: i64, proven: i64) -> &mut Self {
        let (start, end, proven) = (Offset(start), Offset(end), Offset(proven));
        self.tell(Event::Recovered { log: LOG, start, end, proven, cut_bytes: 0 })
    }

    pub fn damaged(&mut self, from: i64, to: i64) -> &mut Self {
        self.tell(Event::Damaged { log: LOG, from: Offset(from), to: Offset(to) })
    }

    pub fn marks_lost(&mut self) -> &mut Self {
        self.tell(Event::MarksLost)
    }

    pub fn poisoned(&mut self) -> &mut Self {
        self.tell(Event::Poisoned { log: LOG })
    }

    pub fn acknowledged(&mut self, base: i64, last: i64) -> &mut Self {
        self.tell(Event::Acknowledged { log: LOG, base: Offset(base), last: Offset(last), acks: -1 })
    }

    pub fn acknowledged_by_one(&mut self, base: i64, last: i64) -> &mut Self {
        self.tell(Event::Acknowledged { log: LOG, base: Offset(base), last: Offset(last), acks: 1 })
    }

    pub fn topic_deleted(&mut self) -> &mut Self {
        self.tell(Event::TopicDeleted { topic: LOG.topic })
    }

    /// The node's process dies.
    pub fn crash(&mut self) -> &mut Self {
        self.end(Stop::Crash)
    }

    /// The node's process ends in order.
    pub fn stop(&mut self) -> &mut Self {
        self.end(Stop::Clean)
    }

    /// The node's machine loses power.
    pub fn cut_power(&mut self) -> &mut Self {
        self.end(Stop::Power)
    }

    /// The node gets an empty disk.
    pub fn wipe(&mut self) -> &mut Self {
        self.end(Stop::Wiped)
    }

    fn end(&mut self, how: Stop) -> &mut Self {
        self.checkers.node_stopped(self.node, how);
        self
    }

    fn disk(&self) -> &SimDisk {
        &self.disks[self.node.0]
    }

    /// The disk does something that an honest one does not do.
    pub fn lie(&mut self) -> &mut Self {
        let victim = PathBuf::from("/victim");
        let disk = self.disk();
        let file = now(disk.open(&victim, OpenMode::CreateNew)).unwrap();
        now(file.write_at(0, vec![Bytes::from_static(b"x")])).unwrap();
        now(file.sync_data()).unwrap();
        now(disk.sync_dir(&PathBuf::from("/"))).unwrap();
        assert!(disk.flip_bit(&victim, 0, 1));
        self
    }

    fn path(&self) -> PathBuf {
        dir(LOG).join(format!("{:020}.log", self.places[self.node.0].segment.0))
    }

    /// Puts a batch into the log's file, without a sync.
    fn put(&mut self, bytes: Bytes) {
        let position = self.places[self.node.0].position;
        self.places[self.node.0].position += bytes.len() as u64;
        put(self.disk(), &self.path(), position, bytes);
    }

    /// Appends a batch that is in the log's file.
    pub fn write(&mut self, base: i64, last: i64) -> &mut Self {
        let (bytes, checksum) = batch(base, last, b"value");
        self.put(bytes);
        self.append_as(base, last, 0, checksum)
    }

    /// Appends a batch, and has other bytes in the log's file.
    pub fn write_otherwise(&mut self, base: i64, last: i64) -> &mut Self {
        self.put(batch(base, last, b"other").0);
        self.append_as(base, last, 0, batch(base, last, b"value").1)
    }

    /// Appends an entry of the metadata, which is on the node's disk or not.
    pub fn entry(&mut self, index: i64, durable: bool) -> &mut Self {
        let (bytes, checksum) = batch(index, index, b"entry");
        if durable {
            put_durably(self.disk(), METADATA_LOG, index, bytes);
        }
        self.tell(Event::Appended {
            log: METADATA_LOG,
            base: Offset(index),
            last: Offset(index),
            epoch: LeaderEpoch(1),
            checksum,
            producer: None,
        })
    }

    /// The log goes on in another file.
    pub fn roll(&mut self, segment: i64) -> &mut Self {
        self.places[self.node.0] = Place { segment: Offset(segment), position: 64 };
        self
    }

    /// Syncs the bytes of the newest file, and not its name.
    pub fn sync_data(&mut self) -> &mut Self {
        let file = now(self.disk().open(&self.path(), OpenMode::Write)).unwrap();
        now(file.sync_data()).unwrap();
        self
    }

    /// Syncs the newest file and its name.
    pub fn sync_disk(&mut self) -> &mut Self {
        self.sync_data();
        sync_dirs(self.disk(), LOG);
        self
    }

    /// Nothing keeps the cluster from being as it should.
    #[track_caller]
    pub fn settled(&mut self) {
        assert_eq!(self.checkers.unsettled(self.now), None);
    }

    #[track_caller]
    pub fn is_unsettled(&mut self, property: &str, part: &str) {
        let found = self.checkers.unsettled(self.now).expect("something is not as it should be");
        assert_eq!(found.property, property, "{found}");
        assert!(found.message.contains(part), "{found}");
    }

    #[track_caller]
    pub fn passes(&mut self) {
        assert_eq!(self.found, None);
    }

    #[track_caller]
    pub fn finds(&mut self, property: &str, part: &str) {
        let found = self.found.clone().expect("a violation is found");
        assert_eq!(found.property, property, "{found}");
        assert!(found.message.contains(part), "{found}");
    }
}

/// The broker on a node.
fn broker(node: usize) -> BrokerId {
    BrokerId(node as i32 + 1)
}

fn dir(log: LogId) -> PathBuf {
    PathBuf::from(format!("/data/logs/{log}"))
}

fn put(disk: &SimDisk, path: &Path, position: u64, bytes: Bytes) {
    now(disk.create_dir_all(path.parent().unwrap())).unwrap();
    let mode = if position == 64 { OpenMode::CreateNew } else { OpenMode::Write };
    let file = now(disk.open(path, mode)).unwrap();
    now(file.write_at(position, vec![bytes])).unwrap();
}

fn sync_dirs(disk: &SimDisk, log: LogId) {
    for dir in [dir(log), "/data/logs".into(), "/data".into(), "/".into()] {
        now(disk.sync_dir(&dir)).unwrap();
    }
}

/// A disk on which the log holds one batch; and the batch's checksum.
pub fn disk_with(base: i64, last: i64) -> (SimDisk, u32) {
    let disk = SimDisk::new(7);
    let (bytes, checksum) = batch(base, last, b"value");
    put_durably(&disk, LOG, base, bytes);
    (disk, checksum)
}

/// Makes a segment of one batch that survives a power loss.
fn put_durably(disk: &SimDisk, log: LogId, base: i64, bytes: Bytes) {
    let path = dir(log).join(format!("{base:020}.log"));
    put(disk, &path, 64, bytes);
    now(now(disk.open(&path, OpenMode::Write)).unwrap().sync_data()).unwrap();
    sync_dirs(disk, log);
}

fn appended(base: i64, last: i64, epoch: i32, checksum: u32, producer: Option<(i64, i16, i32)>) -> Event {
    Event::Appended {
        log: LOG,
        base: Offset(base),
        last: Offset(last),
        epoch: LeaderEpoch(epoch),
        checksum,
        producer: producer.map(|(id, epoch, sequence)| (ProducerId(id), ProducerEpoch(epoch), sequence)),
    }
}

/// The bytes and checksum of a batch at these offsets.
fn batch(base: i64, last: i64, value: &[u8]) -> (Bytes, u32) {
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    for offset in base..=last {
        assert!(builder.try_push(Timestamp(1_000 + offset), None, Some(value), &[]));
    }
    let mut bytes = builder.build().to_vec();
    // The base offset stands before what the checksum covers.
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    let bytes = Bytes::from(bytes);
    let checked = Batches::new(bytes.clone()).next().unwrap().unwrap();
    (bytes, checked.header().crc)
}
