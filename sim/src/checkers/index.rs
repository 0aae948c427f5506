//! A history, sorted by what checkers ask for.

use crate::history::{FinalPartition, FinalRecord, FinalState, History, Op, Outcome, Str};
use bytes::Bytes;
use highwater_types::{Instant, Offset, PartitionIndex, Timestamp};
use std::collections::BTreeMap;

/// A topic and partition.
pub type Place<'a> = (&'a str, PartitionIndex);

/// A record that a client sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Which client.
    pub client: u32,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Option<Instant>,
    /// The topic.
    pub topic: &'a str,
    /// The partition, as far as anybody said.
    pub partition: Option<PartitionIndex>,
    /// The key.
    pub key: &'a Option<Bytes>,
    /// The value.
    pub value: &'a Bytes,
    /// Whose word is waited for.
    pub acks: i16,
    /// Whether the producer is idempotent.
    pub idempotent: bool,
    /// The order of the client's sends.
    pub number: u64,
    /// What came of it.
    pub outcome: &'a Outcome<(PartitionIndex, Offset, Timestamp)>,
}

impl Sent<'_> {
    /// Where the record is, if a client was told that it is safe there.
    pub fn promised(&self) -> Option<(PartitionIndex, Offset, Timestamp)> {
        self.outcome.ok().copied().filter(|_| self.acks == -1)
    }
}

/// A record that a consumer was given.
#[derive(Clone, Copy, Debug)]
pub struct Got<'a> {
    /// Which client.
    pub client: u32,
    /// When.
    pub at: Instant,
    /// The topic.
    pub topic: &'a str,
    /// The partition, as far as anybody said.
    pub partition: PartitionIndex,
    /// The assignment or seek that it belongs to.
    pub session: u32,
    /// The offset.
    pub offset: Offset,
    /// The key.
    pub key: &'a Option<Bytes>,
    /// The value.
    pub value: &'a Option<Bytes>,
    /// The timestamp.
    pub timestamp: Timestamp,
}

/// A history, sorted.
#[derive(Debug, Default)]
pub struct Index<'a> {
    /// What was sent, in the order in which it began.
    pub sends: Vec<Sent<'a>>,
    /// What was read, in order.
    pub reads: Vec<Got<'a>>,
    by_value: BTreeMap<&'a [u8], usize>,
}

impl<'a> Index<'a> {
    /// Sorts a history.
    pub fn new(history: &'a History) -> Self {
        let mut index = Self::default();
        for entry in history.entries() {
            match &entry.op {
                Op::Send { topic, partition, key, value, acks, idempotent, number, outcome, .. } => {
                    index.by_value.insert(value, index.sends.len());
                    index.sends.push(Sent {
                        client: entry.client,
                        began: entry.began,
                        ended: entry.ended,
                        topic,
                        partition: outcome.ok().map(|&(chosen, ..)| chosen).or(*partition),
                        key,
                        value,
                        acks: *acks,
                        idempotent: *idempotent,
                        number: *number,
                        outcome,
                    });
                }
                Op::Read { topic, partition, session, offset, key, value, timestamp } => {
                    index.reads.push(Got {
                        client: entry.client,
                        at: entry.ended.unwrap_or(entry.began),
                        topic,
                        partition: *partition,
                        session: *session,
                        offset: *offset,
                        key,
                        value,
                        timestamp: *timestamp,
                    });
                }
                _ => {}
            }
        }
        index
    }

    /// The send of a value.
    pub fn sent(&self, value: &[u8]) -> Option<&Sent<'a>> {
        self.by_value.get(value).map(|&number| &self.sends[number])
    }
}

impl FinalState {
    /// A partition, if it is there.
    pub fn partition(&self, topic: &str, partition: PartitionIndex) -> Option<&FinalPartition> {
        self.partitions.get(&(Str::from(topic), partition))
    }

    /// Whether any partition of a topic is there, readable or not.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.partitions.keys().chain(self.unreadable.keys()).any(|(name, _)| name == topic)
    }
}

impl FinalPartition {
    /// The record at an offset.
    pub fn at(&self, offset: Offset) -> Option<&FinalRecord> {
        let place = self.records.partition_point(|record| record.offset < offset);
        self.records.get(place).filter(|record| record.offset == offset)
    }
}

/// A value, for people.
pub fn shown(value: Option<&[u8]>) -> String {
    const LIMIT: usize = 40;
    match value {
        None => "nothing".to_owned(),
        Some(bytes) if bytes.len() <= LIMIT => format!("{:?}", String::from_utf8_lossy(bytes)),
        Some(bytes) => format!("{:?}... ({} bytes)", String::from_utf8_lossy(&bytes[..LIMIT]), bytes.len()),
    }
}
