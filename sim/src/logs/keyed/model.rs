//! What a compacted log must show, whatever was compacted, cut, lost or put back.

use crate::checkers::rules::check;
use crate::executor::Violation;
use bytes::Bytes;
use highwater_types::{Offset, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

/// A key, and its value; none deletes the key.
pub type Pair = (u8, Option<u64>);

/// A record as it was appended.
#[derive(Clone, Copy, Debug)]
struct Written {
    pair: Pair,
    /// When a pass first went over it; from then on a tombstone has its time.
    passed: Option<Timestamp>,
    /// A later record of its key lay below the bound of a pass: it may be gone, whatever is truncated later.
    superseded: bool,
    /// It was put back from a replica that had not compacted it, when a tombstone that had been behind it was gone.
    outlived: bool,
}

/// What a log shows of itself.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// What was looked at.
    pub offsets: Range<Offset>,
    /// Where its batches begin.
    pub bases: BTreeSet<Offset>,
    /// The records.
    pub records: BTreeMap<Offset, Pair>,
    /// What it refused as damaged.
    pub damaged: Vec<Range<Offset>>,
}

impl Shown {
    fn is_damaged(&self, offset: Offset) -> bool {
        self.damaged.iter().any(|range| range.contains(&offset))
    }
}

/// What was done to a log, and so what it must show.
#[derive(Debug, Default)]
pub struct Model {
    records: BTreeMap<Offset, Written>,
    /// The batches as they were appended, and as a replica has them that compacts nothing.
    replica: BTreeMap<Offset, (Offset, Bytes)>,
    /// All before this is on disk.
    firm: Offset,
    next_value: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Batches of which it was looked at whether they show what they should.
    pub compared: u64,
}

impl Model {
    /// A value that no other record has.
    pub fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    /// A batch is about to be appended.
    pub fn append(&mut self, base: Offset, pairs: &[Pair], bytes: Bytes) {
        for (offset, &pair) in (base.0..).map(Offset).zip(pairs) {
            let written = Written { pair, passed: None, superseded: false, outlived: false };
            self.records.insert(offset, written);
        }
        self.replica.insert(base, (base.plus(pairs.len() as i64), bytes));
    }

    /// Everything up to there is on disk.
    pub fn synced(&mut self, end: Offset) {
        self.acknowledged += self.records.range(self.firm.min(end)..end).count() as u64;
        self.firm = self.firm.max(end);
    }

    /// The log is about to be cut back to `to`, or was begun anew: what lies behind need not be there any more.
    pub fn loosen(&mut self, to: Offset) {
        self.firm = self.firm.min(to);
    }

    /// The log ends there.
    pub fn cut(&mut self, end: Offset) {
        self.records.split_off(&end);
        self.replica.split_off(&end);
    }

    /// The log was opened, and ends there.
    pub fn opened(&mut self, end: Offset) -> Result<(), Violation> {
        check(end >= self.firm, "H1", || {
            format!("all up to {} was synced, and the log ends at {end}", self.firm)
        })?;
        self.cut(end);
        Ok(())
    }

    /// A pass of compaction begins, which looks at nothing from `bound` on.
    pub fn pass(&mut self, bound: Offset, now: Timestamp) {
        let mut later = BTreeSet::new();
        for (_, record) in self.records.range_mut(..bound).rev() {
            record.superseded |= !later.insert(record.pair.0);
            record.passed.get_or_insert(now);
        }
    }

    /// What a replica has of a range that compacts nothing, in whole batches: the first may begin before the range.
    pub fn replica(&self, range: Range<Offset>) -> Option<(Range<Offset>, Vec<Bytes>)> {
        let (&start, _) = self.replica.range(..=range.start).next_back()?;
        let mut at = start;
        let mut batches = Vec::new();
        while at < range.end {
            let (end, bytes) = self.replica.get(&at)?;
            batches.push(bytes.clone());
            at = *end;
        }
        (at == range.end).then_some((start..at, batches))
    }

    /// A range is about to be put back as it was appended; this is what the log shows before.
    ///
    /// A tombstone that was removed after its time does not come back with what it had deleted: like a consumer, a
    /// replica has to be no further behind in compaction than tombstones stay.
    pub fn restore(&mut self, range: &Range<Offset>, shown: &Shown) {
        let gone: Vec<(Offset, u8)> = self.tombstones_gone(shown).collect();
        for (offset, record) in self.records.range_mut(range.clone()) {
            record.outlived |= gone.iter().any(|(behind, key)| *behind > *offset && *key == record.pair.0);
        }
    }

    /// Whether records are gone from the log, and whether tombstones are among them that nothing follows.
    pub fn gone(&self, shown: &Shown) -> (bool, bool) {
        let is_gone = |offset: &Offset| !shown.records.contains_key(offset) && !shown.is_damaged(*offset);
        let gone = || self.records.range(shown.offsets.clone()).filter(|(offset, _)| is_gone(offset));
        (gone().next().is_some(), gone().any(|(_, record)| record.pair.1.is_none() && !record.superseded))
    }

    fn tombstones_gone(&self, shown: &Shown) -> impl Iterator<Item = (Offset, u8)> {
        let gone = |&(offset, record): &(&Offset, &Written)| {
            record.pair.1.is_none() && !shown.records.contains_key(offset) && !shown.is_damaged(*offset)
        };
        self.records
            .range(shown.offsets.clone())
            .filter(gone)
            .map(|(&offset, record)| (offset, record.pair.0))
    }

    /// Holds what the log shows from its start on against what it must.
    pub fn check(&mut self, shown: &Shown, retention: Duration, now: Timestamp) -> Result<(), Violation> {
        for (offset, pair) in &shown.records {
            let written = self.records.get(offset).map(|record| record.pair);
            check(written == Some(*pair), "H2", || {
                format!("at {offset} it shows {pair:?}; written was {written:?}")
            })?;
        }
        let kept_until = |passed: Timestamp| passed.0.saturating_add(retention.as_millis() as i64);
        for (&offset, record) in self.records.range(shown.offsets.clone()) {
            if shown.records.contains_key(&offset) || shown.is_damaged(offset) {
                continue;
            }
            let Written { pair: (key, value), passed, superseded, .. } = *record;
            let may =
                superseded || (value.is_none() && passed.is_some_and(|passed| now.0 >= kept_until(passed)));
            check(may, "H8", || format!("the last record of key {key}, {value:?} at {offset}, is gone"))?;
        }
        for (offset, key) in self.tombstones_gone(shown) {
            let mut before = self.records.range(shown.offsets.start..offset);
            let back = before.find(|(at, record)| {
                record.pair.0 == key && !record.outlived && shown.records.contains_key(at)
            });
            check(back.is_none(), "H8", || {
                format!(
                    "the tombstone of key {key} at {offset} is gone, and what it deleted is there: {back:?}"
                )
            })?;
        }
        self.compared += shown.bases.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_millis(100);
    const ALL: Range<Offset> = Offset(0)..Offset(3);

    /// Three records of a key, the last of which deletes it.
    fn model() -> Model {
        let mut model = Model::default();
        for (offset, value) in [(0, Some(1)), (1, Some(2)), (2, None)] {
            model.append(Offset(offset), &[(7, value)], Bytes::new());
        }
        model.synced(Offset(3));
        model
    }

    fn check(model: &mut Model, now: i64, records: &[(i64, Option<u64>)], part: &str) {
        let records = records.iter().map(|&(offset, value)| (Offset(offset), (7, value))).collect();
        let shown = Shown { offsets: ALL, records, ..Shown::default() };
        match model.check(&shown, RETENTION, Timestamp(now)) {
            Ok(()) => assert_eq!(part, ""),
            Err(violation) => {
                assert!(!part.is_empty() && violation.to_string().contains(part), "{violation}")
            }
        }
    }

    #[test]
    fn the_last_record_of_a_key_stays_and_a_tombstone_for_its_time() {
        let all = [(0, Some(1)), (1, Some(2)), (2, None)];
        check(&mut model(), 0, &all, "");
        check(&mut model(), 0, &all[1..], "the last record of key 7");
        let mut model = model();
        model.pass(Offset(2), Timestamp(0));
        check(&mut model, 0, &all[1..], "");
        check(&mut model, 0, &all[2..], "the last record of key 7, Some(2) at 1, is gone");
        model.pass(Offset(3), Timestamp(10));
        check(&mut model, 50, &all[2..], "");
        check(&mut model, 50, &[], "the last record of key 7, None at 2, is gone");
        check(&mut model, 110, &[], "");
        check(&mut model, 110, &[(2, Some(3))], "at 2 it shows");
    }

    #[test]
    fn what_a_tombstone_deleted_does_not_come_back() {
        let mut model = model();
        model.pass(Offset(3), Timestamp(0));
        check(&mut model, 100, &[(1, Some(2))], "what it deleted is there");
        model.restore(&(Offset(0)..Offset(1)), &Shown { offsets: ALL, ..Shown::default() });
        check(&mut model, 100, &[(0, Some(1))], "");
        check(&mut model, 100, &[(1, Some(2))], "what it deleted is there");
    }

    #[test]
    fn what_was_synced_is_there() {
        let mut model = model();
        assert!(model.opened(Offset(2)).is_err());
        model.loosen(Offset(1));
        assert!(model.opened(Offset(1)).is_ok());
        check(&mut model, 0, &[(0, Some(1))], "");
        let whole = Offset(0)..Offset(1);
        assert_eq!(model.replica(whole.clone()), Some((whole, vec![Bytes::new()])));
        assert_eq!(model.replica(Offset(0)..Offset(2)), None);
    }
}
