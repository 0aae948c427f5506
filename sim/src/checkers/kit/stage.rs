//! A log on one or two nodes, told of event by event.

use super::super::{Checker, Checkers, Regime};
use crate::disk::SimDisk;
use crate::executor::{NodeId, Violation};
use bytes::Bytes;
use highwater_env::{Disk, Event, File, OpenMode};
use highwater_records::{BatchBuilder, Batches, Codec};
use highwater_types::{
    Instant, LeaderEpoch, LogId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId, Uuid,
};
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub const LOG: LogId = LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(0) };

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a disk without a pacer never waits"),
    }
}

/// A log of the topic `orders` on one or two nodes with one checker. Time moves on by a tenth of a second per step.
pub struct Stage {
    checkers: Checkers,
    disk: SimDisk,
    node: NodeId,
    now: Instant,
    segment: Offset,
    position: u64,
    found: Option<Violation>,
}

impl Stage {
    pub fn new(checker: impl Checker + 'static) -> Self {
        let checkers = Checkers::with(Regime::Unlimited, vec![Box::new(checker)]);
        let disk = SimDisk::new(1);
        let (node, now, segment) = (NodeId(0), Instant(0), Offset(0));
        let mut stage = Self { checkers, disk, node, now, segment, position: 64, found: None };
        stage.tell(Event::TopicCreated { topic: LOG.topic, name: "orders".to_owned() });
        stage
    }

    /// As if no topic had been made: a log of the broker's own.
    pub fn internal(&mut self) -> &mut Self {
        self.checkers.forget_names();
        self
    }

    pub fn tell(&mut self, event: Event) -> &mut Self {
        self.now = Instant(self.now.0 + 100_000_000);
        let heard = self.checkers.hear(self.node, self.now, &event, &self.disk);
        self.found = self.found.take().or(heard.err());
        self
    }

    /// What follows happens on that node.
    pub fn on(&mut self, node: usize) -> &mut Self {
        self.node = NodeId(node);
        self
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

    pub fn crash(&mut self) -> &mut Self {
        self.checkers.node_stopped(self.node, false);
        self
    }

    /// The disk does something that an honest one does not do.
    pub fn lie(&mut self) -> &mut Self {
        let victim = PathBuf::from("/victim");
        let file = now(self.disk.open(&victim, OpenMode::CreateNew)).unwrap();
        now(file.write_at(0, vec![Bytes::from_static(b"x")])).unwrap();
        now(file.sync_data()).unwrap();
        now(self.disk.sync_dir(&PathBuf::from("/"))).unwrap();
        assert!(self.disk.flip_bit(&victim, 0, 1));
        self
    }

    fn dir() -> PathBuf {
        PathBuf::from(format!("/data/logs/{LOG}"))
    }

    fn path(&self) -> PathBuf {
        Self::dir().join(format!("{:020}.log", self.segment.0))
    }

    /// Puts a batch into the log's file, without a sync.
    fn put(&mut self, bytes: Bytes) {
        now(self.disk.create_dir_all(&Self::dir())).unwrap();
        let mode = if self.position == 64 { OpenMode::CreateNew } else { OpenMode::Write };
        let file = now(self.disk.open(&self.path(), mode)).unwrap();
        let length = bytes.len() as u64;
        now(file.write_at(self.position, vec![bytes])).unwrap();
        self.position += length;
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

    /// The log goes on in another file.
    pub fn roll(&mut self, segment: i64) -> &mut Self {
        (self.segment, self.position) = (Offset(segment), 64);
        self
    }

    /// Syncs the bytes of the newest file, and not its name.
    pub fn sync_data(&mut self) -> &mut Self {
        let file = now(self.disk.open(&self.path(), OpenMode::Write)).unwrap();
        now(file.sync_data()).unwrap();
        self
    }

    /// Syncs the newest file and its name.
    pub fn sync_disk(&mut self) -> &mut Self {
        self.sync_data();
        for dir in [Self::dir(), "/data/logs".into(), "/data".into(), "/".into()] {
            now(self.disk.sync_dir(&dir)).unwrap();
        }
        self
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
