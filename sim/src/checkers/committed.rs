//! What no copy of a log may ever contradict: the batches below the largest high watermark that anybody told, and so
//! may have used to acknowledge or to expose data.

use super::replica::{AppendedBatch, Replica};
use highwater_types::{LeaderEpoch, Offset};
use std::collections::BTreeMap;

/// A batch that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedBatch {
    /// The last offset.
    pub last: Offset,
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// The checksum.
    pub checksum: u32,
}

/// What is committed of a log.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// The largest high watermark ("TrueHW").
    pub end: Offset,
    batches: BTreeMap<Offset, CommittedBatch>,
    /// What every copy had lost, where the promise does not cover that: the end fell to here from there.
    pub given_up: Vec<(Offset, Offset)>,
}

/// How a copy differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The batch's first offset.
    pub base: Offset,
    /// What is committed there.
    pub committed: CommittedBatch,
    /// What the copy has there instead, if anything.
    pub found: Option<CommittedBatch>,
}

impl From<&AppendedBatch> for CommittedBatch {
    fn from(batch: &AppendedBatch) -> Self {
        Self { last: batch.last, epoch: batch.epoch, checksum: batch.checksum }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { base, committed, found } = self;
        let CommittedBatch { last, epoch, checksum } = committed;
        match found {
            None => write!(f, "it lacks offsets {base} to {last}, which are committed"),
            Some(found) => write!(
                f,
                "at offset {base} it has a batch to {} of epoch {}, checksum {:08x}; committed is one to {last} of \
                 epoch {epoch}, checksum {checksum:08x}",
                found.last, found.epoch, found.checksum
            ),
        }
    }
}

impl Committed {
    /// All batches.
    pub fn batches(&self) -> impl Iterator<Item = (Offset, &CommittedBatch)> {
        self.batches.iter().map(|(&base, batch)| (base, batch))
    }

    /// A node tells a high watermark: what its copy holds below is committed, where nothing was before.
    pub(super) fn advance(&mut self, to: Offset, copy: &Replica) {
        if to <= self.end {
            return;
        }
        for (&base, batch) in copy.batches.range(self.end..to) {
            if batch.last < to {
                self.batches.insert(base, batch.into());
            }
        }
        self.end = to;
    }

    /// No copy holds what lies behind any more, and none had to.
    pub(super) fn give_up(&mut self, to: Offset) {
        if to < self.end {
            self.given_up.push((to, self.end));
            self.batches.retain(|_, batch| batch.last < to);
            self.end = to;
        }
    }

    /// Whether an offset is among what was given up.
    pub fn is_given_up(&self, offset: Offset) -> bool {
        self.given_up.iter().any(|&(from, to)| (from..to).contains(&offset))
    }

    /// The first batch from an offset on, and before another one, that a copy has otherwise. One that it does not have
    /// counts only if `whole` is asked for. What a copy has removed from its start or found damaged does not count.
    pub fn difference(&self, copy: &Replica, from: Offset, to: Offset, whole: bool) -> Option<Difference> {
        let from = from.max(copy.start);
        self.batches.range(from..).take_while(|(_, batch)| batch.last < to).find_map(|(&base, committed)| {
            let found = copy.batches.get(&base).map(CommittedBatch::from);
            let other = match found {
                Some(found) => found != *committed,
                // Some other batch may lie across it.
                None => whole || copy.batch_at(base).is_some() || copy.batch_at(committed.last).is_some(),
            };
            let damaged = copy.damaged.iter().any(|range| range.contains(&base));
            (other && !damaged).then_some(Difference { base, committed: *committed, found })
        })
    }
}
