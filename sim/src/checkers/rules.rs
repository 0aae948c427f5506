//! Rules of one log that hold for the bare store and for a broker's replica alike.

use crate::executor::Violation;
use highwater_types::{LeaderEpoch, Offset};
use std::collections::BTreeMap;

/// Fails with a sentence unless something holds.
pub fn check(holds: bool, property: &'static str, message: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(property, message())) }
}

/// Every checksum that was ever appended to a log, by epoch and first offset.
#[derive(Clone, Debug, Default)]
pub struct Written(BTreeMap<(LeaderEpoch, Offset), u32>);

impl Written {
    /// S9: an offset is written once per epoch.
    pub fn once(&mut self, epoch: LeaderEpoch, base: Offset, checksum: u32) -> Result<(), Violation> {
        let known = *self.0.entry((epoch, base)).or_insert(checksum);
        check(known == checksum, "S9", || {
            format!("offset {base} was written twice in epoch {epoch}: {known:08x}, {checksum:08x}")
        })
    }

    /// Whether anything was ever written in an epoch at an offset or behind it.
    pub fn reaches(&self, epoch: LeaderEpoch, from: Offset) -> bool {
        self.0.range((epoch, from)..=(epoch, Offset(i64::MAX))).next().is_some()
    }

    /// What stood from an offset on was never promised to anybody, and is gone.
    pub fn forget_from(&mut self, end: Offset) {
        self.0.retain(|&(_, base), _| base < end);
    }
}

/// S9: appends are contiguous, and epochs never fall.
pub fn appended(
    (base, last): (Offset, Offset),
    end: Option<Offset>,
    previous: Option<LeaderEpoch>,
    epoch: LeaderEpoch,
) -> Result<(), Violation> {
    let expected = end.unwrap_or(base);
    check(base == expected, "S9", || {
        format!("a batch was appended at {base}, and the log ended at {expected}")
    })?;
    check(base <= last, "S9", || format!("a batch at {base} ends at {last}"))?;
    let before = previous.unwrap_or(epoch);
    check(before <= epoch, "S9", || format!("at {base} the epoch falls from {before} to {epoch}"))
}

/// S8: the synced end lies within the log and never falls.
pub fn synced(before: Offset, synced: Offset, end: Option<Offset>) -> Result<(), Violation> {
    let log_end = end.unwrap_or(synced);
    check(synced <= log_end, "S8", || format!("synced up to {synced}, beyond the end {log_end}"))?;
    check(synced >= before, "S8", || format!("the synced end fell from {before} to {synced}"))
}

/// S8: the log start never falls.
pub fn start_moved(before: Offset, start: Offset) -> Result<(), Violation> {
    check(start >= before, "S8", || format!("the log start fell from {before} to {start}"))
}

/// S10: a restart finds what was synced, and starts from a mark that some sync had proven.
pub fn recovered(
    synced: Offset,
    ever_synced: Offset,
    (end, proven): (Offset, Offset),
) -> Result<(), Violation> {
    check(end >= synced, "S10", || {
        format!("the log ends at {end} after a restart, and was synced up to {synced}")
    })?;
    check(proven <= ever_synced, "S10", || {
        format!("the proven mark says {proven}, and only {ever_synced} was ever synced")
    })
}
