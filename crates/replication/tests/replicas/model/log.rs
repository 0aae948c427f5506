//! The log of one replica, as the model has it.

use highwater_replication::{Ends, History};
use highwater_types::{LeaderEpoch, Offset};

/// A record: which leader wrote it, and a value that no other record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub epoch: LeaderEpoch,
    pub value: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    start: i64,
    records: Vec<Record>,
    synced: i64,
    epochs: Vec<(LeaderEpoch, i64)>,
}

impl Log {
    pub fn ends(&self) -> Ends {
        Ends { end: self.end(), synced: Offset(self.synced) }
    }

    pub fn get(&self, offset: i64) -> Option<Record> {
        self.records.get(usize::try_from(offset - self.start).ok()?).copied()
    }

    pub fn read(&self, from: Offset, most: usize) -> Vec<Record> {
        let skip = usize::try_from(from.0 - self.start).expect("a position within the log");
        self.records.iter().skip(skip).take(most).copied().collect()
    }

    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        let end = self.end().0;
        self.epochs.retain(|&(_, start)| start < end);
        assert!(self.epochs.last().is_none_or(|&(last, _)| last < epoch), "epochs rise: {self:?} {epoch}");
        self.epochs.push((epoch, end));
    }

    pub fn append(&mut self, record: Record) {
        let end = self.end().0;
        // An epoch that was noted and not written in gives way to what is replicated.
        if self.epochs.last().is_some_and(|&(last, start)| last > record.epoch && start >= end) {
            self.epochs.pop();
        }
        if self.epochs.last().is_none_or(|&(last, _)| last != record.epoch) {
            self.begin_epoch(record.epoch);
        }
        self.records.push(record);
    }

    pub fn sync(&mut self) {
        self.synced = self.end().0;
    }

    pub fn truncate(&mut self, to: Offset) {
        assert!(to.0 >= self.start && to <= self.end(), "cut to {to} of {self:?}");
        self.records.truncate(usize::try_from(to.0 - self.start).expect("within the log"));
        self.epochs.retain(|&(_, start)| start < to.0);
        self.synced = self.synced.min(to.0);
    }

    pub fn restart_at(&mut self, start: Offset) {
        *self = Self { start: start.0, synced: start.0, ..Self::default() };
    }

    pub fn advance_start(&mut self, start: Offset) {
        if start.0 <= self.start {
            return;
        }
        let gone = usize::try_from(start.0 - self.start).expect("forward");
        assert!(gone <= self.records.len());
        self.records.drain(..gone);
        self.start = start.0;
        let within = self.epochs.partition_point(|&(_, begin)| begin <= start.0);
        if within > 0 {
            self.epochs.drain(..within - 1);
            self.epochs[0].1 = start.0;
        }
    }

    /// What is left when the power goes.
    pub fn lose_unsynced(&mut self) {
        self.truncate(Offset(self.synced.max(self.start)));
    }

    pub fn agrees_with(&self, other: &Self, up_to: i64) -> bool {
        (self.start.max(other.start)..up_to).all(|offset| self.get(offset) == other.get(offset))
    }
}

impl History for Log {
    fn start(&self) -> Offset {
        Offset(self.start)
    }

    fn end(&self) -> Offset {
        Offset(self.start + i64::try_from(self.records.len()).expect("few"))
    }

    fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.get(offset.0).map(|record| record.epoch)
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let after = self.epochs.partition_point(|&(known, _)| known <= epoch);
        let found = self.epochs[after.checked_sub(1)?].0;
        Some((found, self.epochs.get(after).map_or(self.end(), |&(_, start)| Offset(start))))
    }
}
