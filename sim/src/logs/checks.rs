//! The checkers of one log: what each event of it may say, given all that was said before.

use crate::checkers::rules::{self, Written, check};
use crate::executor::Violation;
use bytes::Bytes;
use highwater_env::Event;
use highwater_records::BatchHeader;
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use std::collections::BTreeMap;
use std::ops::Range;

/// Every segment has a header, which counts for retention.
const SEGMENT_HEADER_BYTES: u64 = 64;

/// A batch, as events and reads show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The last offset.
    pub last: Offset,
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// The checksum.
    pub checksum: u32,
    /// The idempotent producer, with the first sequence number.
    pub producer: Option<(ProducerId, ProducerEpoch, i32)>,
    /// It was synced, or served as if it was: it must stay.
    pub firm: bool,
    /// What only a read tells.
    pub detail: Option<Detail>,
}

/// What a read tells of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// The size in bytes.
    pub bytes: usize,
    /// The records: (offset, timestamp, value).
    pub records: Vec<(Offset, Timestamp, u64)>,
}

/// What is known of one log.
#[derive(Clone, Debug, Default)]
pub struct LogGhost {
    /// The batches that the log holds, by first offset, as far as the ghost knows.
    pub batches: BTreeMap<Offset, Batch>,
    /// Every checksum ever appended, by epoch and first offset.
    pub written: Written,
    /// Everything before it was synced, in any incarnation.
    pub synced: Offset,
    /// The largest offset that was ever synced, whatever was truncated since.
    ever_synced: Offset,
    /// The end of the log in this incarnation; None before the log is opened.
    pub end: Option<Offset>,
    /// The first offset in this incarnation.
    pub start: Offset,
    /// The largest offset that anybody asked to delete up to.
    pub deletion_asked: Offset,
    /// The largest offset that the log said it has durably deleted up to.
    pub deletion_done: Offset,
    /// The retention that was ever configured: age in milliseconds, and bytes.
    pub policies: Vec<(Option<u64>, Option<u64>)>,
    /// Somebody asked the log to begin anew at an offset: it has all that it had, or nothing, from there on.
    pub restarting: Option<Offset>,
    /// A write or sync failed in this incarnation.
    pub poisoned: bool,
    /// Making the log was reported done, so it must be there.
    pub created: bool,
    /// Somebody asked to delete the log: nothing is expected of it any more.
    pub deleted: bool,
    /// Its deletion was reported done, so it must not come back.
    pub deletion_confirmed: bool,
    /// What was appended, byte by byte, by epoch and first offset: what another replica has.
    pub replica: BTreeMap<(LeaderEpoch, Offset), Bytes>,
    /// Batches that were read no more because the log reported them as damaged.
    pub rotten: BTreeMap<Offset, Batch>,
    /// Ranges that the log itself reported as damaged.
    pub damaged: Vec<Range<Offset>>,
    /// Those that were put back: while they were damaged, nobody knew what producers had sent there.
    pub repaired: Vec<Range<Offset>>,
    /// The largest proven mark that a recovery started from.
    pub proven: Offset,
    /// The mark that the latest recovery started from.
    pub opened_from: Offset,
    /// The log's report at its latest opening asked for attention.
    pub alarmed: bool,
    /// An opening reported that the log may be incomplete, and nobody who relies on it was told: it is to be reported
    /// again.
    pub untold: bool,
}

impl LogGhost {
    /// The node starts anew.
    pub fn restart(&mut self) {
        self.end = None;
        self.poisoned = false;
        self.alarmed = false;
    }

    /// The log is not there, and need not be: all that is known of it is void.
    pub fn vanish(&mut self) {
        let policies = std::mem::take(&mut self.policies);
        *self = Self { policies, ..Self::default() };
    }

    /// The log's end is about to be moved back: what lies behind may go.
    fn expect_truncation(&mut self, to: Offset) {
        for batch in self.batches.values_mut().filter(|batch| batch.last >= to) {
            batch.firm = false;
        }
        let cut = self
            .batches
            .range(..=to)
            .next_back()
            .filter(|(_, batch)| batch.last >= to)
            .map(|(&base, _)| base);
        let end = cut.unwrap_or(to);
        self.synced = self.synced.min(end);
        self.deletion_done = self.deletion_done.min(end);
    }

    /// All that the log had is gone, for good.
    fn restarted(&mut self, start: Offset) {
        self.restarting = None;
        self.batches.clear();
        self.rotten.clear();
        self.damaged.clear();
        self.repaired.clear();
        (self.start, self.end, self.synced) = (start, Some(start), start);
        (self.deletion_asked, self.deletion_done) = (start, start);
        self.ever_synced = self.ever_synced.max(start);
    }

    /// The batch that an offset lies in.
    pub fn batch_at(&self, offset: Offset) -> Option<(Offset, &Batch)> {
        let (&base, batch) = self.batches.range(..=offset).next_back()?;
        (offset <= batch.last).then_some((base, batch))
    }

    /// Whether the log reported all of a range as damaged.
    pub fn reported_damaged(&self, range: &Range<Offset>) -> bool {
        self.damaged.iter().any(|damaged| damaged.start <= range.start && range.end <= damaged.end)
    }

    pub(super) fn hear(&mut self, event: &Event, strict: bool, now: Timestamp) -> Result<(), Violation> {
        match *event {
            Event::Appended { base, last, epoch, checksum, producer, .. } => {
                self.appended(base, Batch { last, epoch, checksum, producer, firm: false, detail: None })
            }
            Event::Synced { end, .. } => self.synced(end),
            Event::LogStart { start, .. } => {
                // What became unreadable is not known to follow.
                if strict {
                    self.check_removal(start, now)?;
                }
                self.log_start(start)
            }
            Event::Truncating { end, .. } => {
                // A log that begins anew has all or nothing, which the next opening tells.
                if self.restarting.is_none() {
                    self.expect_truncation(end);
                }
                Ok(())
            }
            Event::Truncated { end, .. } => {
                self.batches.retain(|_, batch| batch.firm || batch.last < end);
                self.rotten.retain(|_, batch| batch.last < end);
                self.end = Some(end);
                // What was deleted may have been truncated with the batch that held it.
                self.start = self.start.min(end);
                self.deletion_done = self.deletion_done.min(end);
                Ok(())
            }
            Event::Restarted { start, .. } => {
                check(self.restarting == Some(start), "S8", || {
                    format!("the log begins anew at {start}; asked was {:?}", self.restarting)
                })?;
                self.restarted(start);
                Ok(())
            }
            Event::Recovered { start, end, proven, .. } => {
                match self.restarting.take() {
                    Some(asked) if (asked, asked) == (start, end) => self.restarted(asked),
                    _ => {}
                }
                if strict {
                    self.check_removal(start, now)?;
                }
                self.recovered(start, end, proven, strict)
            }
            Event::Damaged { from, to, .. } => {
                check(!strict, "S10", || {
                    format!("offsets {from} to {to} are reported damaged on a disk that is honest")
                })?;
                self.damaged.push(from..to);
                Ok(())
            }
            Event::Repaired { from, to, .. } => {
                self.repaired(from, to);
                Ok(())
            }
            Event::Poisoned { .. } => {
                self.poisoned = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What was damaged is there again: it is no excuse any more.
    fn repaired(&mut self, from: Offset, to: Offset) {
        self.repaired.push(from..to);
        let parts = |known: Range<Offset>| [known.start..known.end.min(from), known.start.max(to)..known.end];
        let damaged = std::mem::take(&mut self.damaged).into_iter().flat_map(parts);
        self.damaged = damaged.filter(|part| part.start < part.end).collect();
        let is_back = |base: Offset, batch: &Batch| base < to && from <= batch.last;
        let rotten = std::mem::take(&mut self.rotten).into_iter();
        let (back, rotten) = rotten.partition::<BTreeMap<_, _>, _>(|(base, batch)| is_back(*base, batch));
        self.rotten = rotten;
        for (base, batch) in back {
            self.batches.entry(base).or_insert(batch);
        }
    }

    /// The first offset of the batch that an offset lies in, rotten or not.
    pub fn base_of(&self, offset: Offset) -> Offset {
        let rotten = self.rotten.range(..=offset).next_back().filter(|(_, batch)| offset <= batch.last);
        let base = rotten.map(|(&base, _)| base).or_else(|| self.batch_at(offset).map(|(base, _)| base));
        base.unwrap_or(offset)
    }

    /// The bytes that another replica has of the batch at an offset, with the batch's end.
    pub fn replica_at(&self, offset: Offset) -> Option<(Offset, &Bytes)> {
        let (base, batch) = (offset, self.rotten.get(&offset).or_else(|| self.batches.get(&offset))?);
        let bytes = self.replica.get(&(batch.epoch, base))?;
        let header = BatchHeader::parse(bytes).ok()?;
        (batch.firm && header.crc == batch.checksum).then_some((header.next_offset(), bytes))
    }

    fn appended(&mut self, base: Offset, batch: Batch) -> Result<(), Violation> {
        let previous = self.batches.range(..base).next_back().map(|(_, previous)| previous.epoch);
        rules::appended((base, batch.last), self.end, previous, batch.epoch)?;
        self.written.once(batch.epoch, base, batch.checksum)?;
        if let Some((at, old)) = self.batch_at(base).filter(|(_, old)| old.firm) {
            return Err(Violation::new(
                "S9",
                format!("offset {base} is used again: it lies in the synced batch {at}..={}", old.last),
            ));
        }
        self.batches.retain(|&other, old| old.firm || other < base);
        self.end = Some(batch.last.next());
        self.batches.insert(base, batch);
        Ok(())
    }

    fn synced(&mut self, end: Offset) -> Result<(), Violation> {
        check(!self.poisoned, "S14", || format!("a log that had failed reports itself synced up to {end}"))?;
        rules::synced(self.synced, end, self.end)?;
        self.synced = end;
        self.ever_synced = self.ever_synced.max(end);
        for (_, batch) in self.batches.range_mut(..end) {
            batch.firm |= batch.last < end;
        }
        Ok(())
    }

    fn log_start(&mut self, start: Offset) -> Result<(), Violation> {
        rules::start_moved(self.start, start)?;
        check(start <= self.ever_synced, "S8", || {
            format!("the log start {start} is beyond the synced end {}", self.ever_synced)
        })?;
        self.start = start;
        Ok(())
    }

    /// Every record below a new log start was deleted by request, or some retention that was ever configured allows
    /// its removal.
    fn check_removal(&self, start: Offset, now: Timestamp) -> Result<(), Violation> {
        let retained = self.deletion_asked.max(self.start);
        let removed: Vec<(&Offset, &Batch)> = self
            .batches
            .range(..start)
            .filter(|(_, batch)| batch.last < start && batch.last >= retained)
            .collect();
        check(start <= retained || !self.policies.is_empty(), "H1", || {
            format!("the log start moved to {start}, and nothing allowed more than {retained}")
        })?;
        for (&base, batch) in removed {
            let Some(detail) = &batch.detail else { continue };
            let newest =
                detail.records.iter().map(|&(_, timestamp, _)| timestamp).max().unwrap_or(Timestamp::NONE);
            let later = self.bytes_behind(batch.last);
            let allowed = self.policies.iter().any(|&(age_ms, bytes)| {
                let old = age_ms.is_some_and(|age_ms| newest.0 < now.0 - age_ms as i64);
                old || bytes.is_some_and(|bytes| later.is_none_or(|later| later >= bytes))
            });
            check(allowed, "H8", || {
                format!(
                    "the log start moved to {start} at {now}: {base} of {newest} is removed, {later:?} bytes follow"
                )
            })?;
        }
        Ok(())
    }

    /// At most so many bytes of segments lie behind an offset; None if some batch's size is not known.
    fn bytes_behind(&self, last: Offset) -> Option<u64> {
        let behind = self.batches.range(last.next()..);
        behind
            .map(|(_, batch)| batch.detail.as_ref().map(|detail| detail.bytes as u64 + SEGMENT_HEADER_BYTES))
            .try_fold(2 * SEGMENT_HEADER_BYTES, |sum, bytes| bytes.map(|bytes| sum + bytes))
    }

    fn recovered(
        &mut self,
        start: Offset,
        end: Offset,
        proven: Offset,
        strict: bool,
    ) -> Result<(), Violation> {
        if strict {
            rules::recovered(self.synced, self.ever_synced, (end, proven))?;
            check(start >= self.deletion_done, "S8", || {
                format!(
                    "the log starts at {start} after a restart; records up to {} were deleted",
                    self.deletion_done
                )
            })?;
        }
        check(start <= end, "S8", || format!("the log starts at {start} and ends at {end}"))?;
        self.start = start;
        self.end = Some(end);
        self.opened_from = proven;
        self.proven = self.proven.max(proven);
        self.synced = if strict { self.synced.max(end) } else { end };
        self.ever_synced = self.ever_synced.max(end);
        Ok(())
    }
}
