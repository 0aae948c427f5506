//! Everything that clients did and saw in a run, and what stood in the cluster when all was quiet.
//!
//! Checkers hold the two against each other, so nothing here comes from a broker's own word but the answers that it
//! gave. Times are true simulated time. A topic's name is never used twice in a run, so a name stands for one topic.

use bytes::Bytes;
use highwater_types::{Instant, LogId, Offset, PartitionIndex, Timestamp, TopicId};
pub use highwater_wire::Str;
use std::collections::BTreeMap;

/// What clients did and saw, in the order in which operations began.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which client.
    pub client: u32,
    /// When it began.
    pub began: Instant,
    /// When it ended; None if it never did.
    pub ended: Option<Instant>,
    /// What was done, and what came of it.
    pub op: Op,
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A record is sent.
    Send {
        /// The topic.
        topic: Str,
        /// The partition; None while the client has not said which one it chose.
        partition: Option<PartitionIndex>,
        /// The key.
        key: Option<Bytes>,
        /// The value, which no other send of the run has.
        value: Bytes,
        /// The timestamp.
        timestamp: Timestamp,
        /// Whose word is waited for: -1 (all), 1 or 0.
        acks: i16,
        /// Whether the producer is idempotent.
        idempotent: bool,
        /// The order of the sends of this client.
        number: u64,
        /// Where it was written, and with which timestamp. The offset is -1 where nobody said: with acks 0, and where
        /// the broker had the record already and no longer knew where.
        outcome: Outcome<(PartitionIndex, Offset, Timestamp)>,
    },
    /// A consumer was given a record.
    Read {
        /// The topic.
        topic: Str,
        /// The partition.
        partition: PartitionIndex,
        /// A new number for each assignment and each seek of the client.
        session: u32,
        /// The offset.
        offset: Offset,
        /// The key.
        key: Option<Bytes>,
        /// The value.
        value: Option<Bytes>,
        /// The timestamp.
        timestamp: Timestamp,
    },
    /// An offset is looked up: a time, or -1 for the end, -2 for the start, -3 for the largest timestamp.
    ListOffset {
        /// The topic.
        topic: Str,
        /// The partition.
        partition: PartitionIndex,
        /// What is looked for.
        query: i64,
        /// Where it is; None if nothing fits.
        answer: Outcome<Option<(Offset, Timestamp)>>,
    },
    /// Records are deleted.
    DeleteRecords {
        /// The topic.
        topic: Str,
        /// The partition.
        partition: PartitionIndex,
        /// Those before this offset; -1 for all that may be read.
        before: Offset,
        /// The new start of the partition.
        answer: Outcome<Offset>,
    },
    /// A topic is made.
    CreateTopic {
        /// Its name.
        topic: Str,
        /// How many partitions it gets.
        partitions: i32,
        /// Its configuration, where it differs from the default.
        configs: Vec<(String, String)>,
        /// Its id.
        answer: Outcome<TopicId>,
    },
    /// A topic is deleted.
    DeleteTopic {
        /// Its name.
        topic: Str,
        /// Whether it was.
        answer: Outcome<()>,
    },
    /// It is asked whether a topic is there.
    DescribeTopic {
        /// Its name.
        topic: Str,
        /// Whether the answer must not be late: nobody but whoever decides may have given it.
        fresh: bool,
        /// Whether it is.
        answer: Outcome<bool>,
    },
    /// It is asked for a topic's configuration.
    DescribeConfigs {
        /// The topic.
        topic: Str,
        /// Whether the answer must not be late: nobody but whoever decides may have given it.
        fresh: bool,
        /// What was asked for, as it is.
        answer: Outcome<Vec<(String, String)>>,
    },
    /// A member of a group was given partitions; from here on it reads for the group.
    Assigned {
        /// The group.
        group: Str,
        /// The member.
        member: Str,
        /// The generation.
        generation: i32,
        /// The partitions.
        partitions: Vec<(Str, PartitionIndex)>,
    },
    /// A member commits how far it has read: the next offsets.
    Commit {
        /// The group.
        group: Str,
        /// The member.
        member: Str,
        /// The generation.
        generation: i32,
        /// The offsets.
        offsets: Vec<(Str, PartitionIndex, Offset)>,
        /// Whether they were.
        answer: Outcome<()>,
    },
    /// It is asked how far a group has read.
    Committed {
        /// The group.
        group: Str,
        /// All that is committed.
        answer: Outcome<Vec<(Str, PartitionIndex, Offset)>>,
    },
    /// A topic's configuration is changed, key by key.
    AlterConfigs {
        /// The topic.
        topic: Str,
        /// What is set.
        configs: Vec<(String, String)>,
        /// Whether it was.
        answer: Outcome<()>,
    },
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// Nothing yet.
    Open,
    /// It was done.
    Ok(T),
    /// It was not done, for certain.
    Failed(String),
    /// It was done, or not, or will be.
    Unknown(String),
}

impl<T> Outcome<T> {
    /// The result, if it was done.
    pub fn ok(&self) -> Option<&T> {
        match self {
            Self::Ok(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it may have been done, or may still be.
    pub fn is_possible(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

impl History {
    /// An operation begins. Returns its number.
    pub fn begin(&mut self, client: u32, at: Instant, op: Op) -> usize {
        self.entries.push(Entry { client, began: at, ended: None, op });
        self.entries.len() - 1
    }

    /// An operation ends: `change` writes down what came of it.
    pub fn end(&mut self, id: usize, at: Instant, change: impl FnOnce(&mut Op)) {
        let entry = &mut self.entries[id];
        entry.ended = Some(at);
        change(&mut entry.op);
    }

    /// An operation without an answer of its own: a record that was read.
    pub fn at_once(&mut self, client: u32, at: Instant, op: Op) {
        self.entries.push(Entry { client, began: at, ended: Some(at), op });
    }

    /// All operations.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// What stands in the cluster when all is quiet.
#[derive(Clone, Debug, Default)]
pub struct FinalState {
    /// The partitions that there are.
    pub partitions: BTreeMap<(Str, PartitionIndex), FinalPartition>,
    /// When it was read, in true time.
    pub at: Instant,
    /// When the last fault was over; None if the run does not say, and then nothing is asked of what was sent since.
    pub healed: Option<Instant>,
    /// Partitions that could not be read, and why: an offline one is loss that was reported.
    pub unreadable: BTreeMap<(Str, PartitionIndex), String>,
}

/// One partition, read by a fresh consumer from its start to its high watermark.
#[derive(Clone, Debug)]
pub struct FinalPartition {
    /// Its log.
    pub log: LogId,
    /// The first offset.
    pub start: Offset,
    /// The high watermark.
    pub end: Offset,
    /// The records, in the order in which they were read.
    pub records: Vec<FinalRecord>,
    /// What lookups of offsets found: the query as in [`Op::ListOffset`], and its answer.
    pub list_offsets: Vec<(i64, Option<(Offset, Timestamp)>)>,
    /// The topic's whole configuration.
    pub config: BTreeMap<String, String>,
}

/// A record of the final read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalRecord {
    /// The offset.
    pub offset: Offset,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The timestamp.
    pub timestamp: Timestamp,
}
