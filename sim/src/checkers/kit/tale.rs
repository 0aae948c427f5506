//! A history of the topic `orders` with one partition, and what stands in it at the end.

use super::super::{Checker, Checkers, End, Regime, Terms};
use super::LOG;
use crate::disk::SimDisk;
use crate::executor::{EPOCH_MS, NodeId, Violation};
use crate::history::{FinalPartition, FinalRecord, FinalState, History, Op, Outcome, Str};
use bytes::Bytes;
use highwater_env::Event;
use highwater_types::{BrokerId, Instant, Offset, PartitionIndex, Timestamp};
use std::collections::BTreeMap;

const P0: PartitionIndex = PartitionIndex(0);

/// The timestamp of the record at an offset.
pub fn time(offset: i64) -> Timestamp {
    Timestamp(EPOCH_MS + offset)
}

pub fn alter(key: &str, value: &str, answer: Outcome<()>) -> Op {
    Op::AlterConfigs { topic: "orders".into(), configs: vec![(key.to_owned(), value.to_owned())], answer }
}

pub fn delete_records(before: i64, answer: Outcome<Offset>) -> Op {
    Op::DeleteRecords { topic: "orders".into(), partition: P0, before: Offset(before), answer }
}

/// A history and its end. Each operation takes a second.
pub struct Tale {
    pub history: History,
    pub state: FinalState,
    checkers: Checkers,
    disks: BTreeMap<NodeId, SimDisk>,
    now: Instant,
    sends: u64,
}

impl Tale {
    pub fn new() -> Self {
        let config = [("cleanup.policy", "delete"), ("retention.ms", "604800000"), ("retention.bytes", "-1")];
        let partition = FinalPartition {
            log: LOG,
            start: Offset(0),
            end: Offset(0),
            records: Vec::new(),
            list_offsets: Vec::new(),
            config: config.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        };
        let mut tale = Self {
            history: History::default(),
            state: FinalState {
                partitions: BTreeMap::from([(("orders".into(), P0), partition)]),
                ..FinalState::default()
            },
            checkers: Checkers::with(Regime::Unlimited, Terms::default(), Vec::new()),
            disks: BTreeMap::new(),
            now: Instant(0),
            sends: 0,
        };
        tale.broker(0, SimDisk::new(1));
        tale.tell(Event::TopicCreated { topic: LOG.topic, name: "orders".to_owned() });
        tale
    }

    /// Three records that were acknowledged, and stand there.
    pub fn of_three() -> Self {
        let mut tale = Self::new();
        for offset in 0..3 {
            let value = format!("v-{offset}");
            tale.acked(offset, &value);
            tale.stands(offset, &value);
        }
        tale
    }

    pub fn partition(&mut self) -> &mut FinalPartition {
        self.state.partitions.get_mut(&(Str::from("orders"), P0)).unwrap()
    }

    /// What brokers promise.
    pub fn terms(&mut self, terms: Terms) -> &mut Self {
        self.checkers.set_terms(terms);
        self
    }

    pub fn now(&mut self) -> Instant {
        self.now = Instant(self.now.0 + 1_000_000_000);
        self.now
    }

    /// An operation that begins and ends.
    pub fn op(&mut self, op: Op) -> &mut Self {
        let began = self.now();
        let id = self.history.begin(3, began, op);
        let ended = self.now();
        self.history.end(id, ended, |_| {});
        self
    }

    pub fn send(&mut self, value: &str, outcome: Outcome<(PartitionIndex, Offset, Timestamp)>) -> Op {
        self.sends += 1;
        Op::Send {
            topic: "orders".into(),
            partition: Some(P0),
            key: None,
            value: Bytes::copy_from_slice(value.as_bytes()),
            timestamp: time(0),
            acks: -1,
            idempotent: true,
            number: self.sends,
            outcome,
        }
    }

    pub fn sent(&mut self, value: &str, outcome: Outcome<(PartitionIndex, Offset, Timestamp)>) -> &mut Self {
        let op = self.send(value, outcome);
        self.op(op)
    }

    pub fn acked(&mut self, offset: i64, value: &str) -> &mut Self {
        self.sent(value, Outcome::Ok((P0, Offset(offset), time(offset))))
    }

    /// As `acked`, with another number of acknowledgements, and by a producer that may not be idempotent.
    pub fn acked_by(&mut self, offset: i64, value: &str, wanted: i16, repeats: bool) -> &mut Self {
        let mut op = self.send(value, Outcome::Ok((P0, Offset(offset), time(offset))));
        if let Op::Send { acks, idempotent, .. } = &mut op {
            (*acks, *idempotent) = (wanted, repeats);
        }
        self.op(op)
    }

    pub fn read(&mut self, session: u32, offset: i64, value: &str) -> &mut Self {
        self.op(Op::Read {
            topic: "orders".into(),
            partition: P0,
            session,
            offset: Offset(offset),
            key: None,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            timestamp: time(offset),
        })
    }

    /// A record of the final read.
    pub fn stands(&mut self, offset: i64, value: &str) -> &mut Self {
        let value = Some(Bytes::copy_from_slice(value.as_bytes()));
        let record = FinalRecord { offset: Offset(offset), key: None, value, timestamp: time(offset) };
        self.partition().records.push(record);
        self.partition().end = Offset(offset + 1);
        self
    }

    /// The log starts there at the end; what lies before is gone.
    pub fn starts(&mut self, start: i64) -> &mut Self {
        self.partition().start = Offset(start);
        self.partition().records.retain(|record| record.offset.0 >= start);
        self
    }

    /// The log ends there at the end; what lies behind is gone.
    pub fn ends(&mut self, end: i64) -> &mut Self {
        self.partition().end = Offset(end);
        self.partition().records.retain(|record| record.offset.0 < end);
        self
    }

    pub fn without(&mut self, offset: i64) -> &mut Self {
        self.partition().records.retain(|record| record.offset.0 != offset);
        self
    }

    pub fn lookup(&mut self, query: i64, found: Option<(i64, Timestamp)>) -> &mut Self {
        self.partition().list_offsets.push((query, found.map(|(offset, time)| (Offset(offset), time))));
        self
    }

    /// There is a broker on that node, with that disk.
    pub fn broker(&mut self, node: usize, disk: SimDisk) -> &mut Self {
        let id = i32::try_from(node).unwrap() + 1;
        self.checkers.add_broker(NodeId(node), BrokerId(id), disk.clone());
        self.disks.insert(NodeId(node), disk);
        self
    }

    /// The node tells something.
    pub fn tell(&mut self, event: Event) -> &mut Self {
        self.tell_from(0, event)
    }

    /// A node tells something.
    pub fn tell_from(&mut self, node: usize, event: Event) -> &mut Self {
        let now = self.now();
        self.checkers.hear(NodeId(node), now, &event).unwrap();
        self
    }

    pub fn log_start(&mut self, start: i64) -> &mut Self {
        self.tell(Event::LogStart { log: LOG, start: Offset(start) })
    }

    pub fn topic_deleted(&mut self) -> &mut Self {
        self.tell(Event::TopicDeleted { topic: LOG.topic })
    }

    pub fn clock_ahead(&mut self, ms: i64) -> &mut Self {
        self.checkers.node_started(NodeId(0), ms);
        self
    }

    /// The disk was not honest.
    pub fn lie(&mut self) -> &mut Self {
        self.checkers.ghost.lie(NodeId(0));
        self
    }

    pub fn check(&self, mut checker: impl Checker, regime: Regime) -> Result<(), Violation> {
        checker.finish(&End::new(&self.history, &self.state, self.checkers.ghost(), &self.disks, regime))
    }

    #[track_caller]
    pub fn passes(&self, checker: impl Checker) {
        assert_eq!(self.check(checker, Regime::Unlimited), Ok(()));
    }

    #[track_caller]
    pub fn finds(&self, checker: impl Checker, property: &str, part: &str) {
        let found = self.check(checker, Regime::Unlimited).expect_err("a violation is found");
        assert_eq!(found.property, property, "{found}");
        assert!(found.message.contains(part), "{found}");
    }
}
