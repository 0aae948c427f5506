//! The faults that a disk can be told to have: by rates, or one by one.

use highwater_env::Rng;
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Opening a file.
    Open,
    /// Renaming.
    Rename,
    /// Removing a file or directory.
    Remove,
    /// Making directories.
    CreateDir,
    /// Listing a directory.
    List,
    /// Syncing a directory.
    SyncDir,
    /// Taking the lock file.
    Lock,
    /// Reading a file or its length.
    Read,
    /// Writing.
    Write,
    /// Syncing a file.
    SyncData,
    /// Truncating or extending.
    SetLen,
    /// Reserving room.
    Allocate,
}

impl Op {
    /// Whether it changes a directory's entries, or makes them durable.
    pub(crate) fn changes_directory(self) -> bool {
        matches!(self, Self::Rename | Self::Remove | Self::CreateDir | Self::SyncDir)
    }
}

/// What a failed sync leaves behind (after the ATC 2020 study of fsync failures).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncFailure {
    /// Dirty pages are marked clean and stay readable until they are evicted; the next sync succeeds and proves
    /// nothing (ext4, xfs).
    Clean,
    /// Dirty pages go back to what the disk holds, in the cache too, and so does the length (btrfs).
    Reverted,
    /// Dirty pages stay dirty: a later sync that succeeds has really written them.
    KeptDirty,
}

/// A fault of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails and has no effect. Of a sync: as [`SyncFailure::KeptDirty`].
    Error,
    /// A write or truncation fails after a part of it was made.
    Partial,
    /// The disk is full for this one operation; a part of a write may have been made.
    Full,
    /// A sync fails.
    Sync(SyncFailure),
    /// A sync reports success although the pages were lost, and the next sync of the file reports the error: a
    /// dishonest success, as a journal gives it whose write-back fails later.
    LateSync,
    /// A sync reports success, and some pages were never written.
    LostWrite,
    /// A sync reports success, and some page went to another place of this or another file.
    Misdirected,
    /// The operation takes so much longer.
    Stall(Duration),
}

/// The next operation that fits meets the fault.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which operation.
    pub op: Op,
    /// A part of the path.
    pub path: String,
    /// How many fitting operations pass unharmed first.
    pub skip: u32,
    /// What it meets.
    pub fault: Fault,
}

/// Probabilities per operation. The default is a faultless disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultRates {
    /// A read fails, once.
    pub read_error: f64,
    /// A write or truncation fails, perhaps after a part of it.
    pub write_error: f64,
    /// A write finds the disk full, once.
    pub full: f64,
    /// A sync of a file fails, in one of `sync_failures`.
    pub sync_error: f64,
    /// An operation on directories fails: opening, renaming, removing, listing, syncing.
    pub dir_error: f64,
    /// After a write, the background write-back of the file fails; its next sync says so. Honest: nothing was
    /// reported durable.
    pub late_error: f64,
    /// How failed syncs behave; all three if empty.
    pub sync_failures: Vec<SyncFailure>,
    /// A sync succeeds though pages were never written. Dishonest.
    pub lost_write: f64,
    /// A sync succeeds though pages were lost, and the next one of the file says so. Dishonest.
    pub late_sync: f64,
    /// A sync succeeds though a page went elsewhere. Dishonest, and harms bytes that were durable.
    pub misdirected: f64,
    /// Clean pages are evicted from the cache before an operation.
    pub evict: f64,
    /// An operation stalls.
    pub stall: f64,
    /// How long a stall takes at most.
    pub stall_max: Duration,
}

impl FaultRates {
    /// Rates for one history, each fault off in a good part of the seeds. Only faults of an honest disk: what a
    /// successful sync covered stays.
    pub fn honest(rng: &mut Rng) -> Self {
        let mut rate = |often: f64, most: f64| {
            if rng.random_bool(often) { rng.random_range(0.0..most) } else { 0.0 }
        };
        let mut rates = Self {
            read_error: rate(0.2, 0.01),
            write_error: rate(0.3, 0.03),
            full: rate(0.2, 0.03),
            sync_error: rate(0.3, 0.05),
            dir_error: rate(0.2, 0.02),
            late_error: rate(0.2, 0.02),
            evict: rate(0.5, 0.3),
            stall: rate(0.3, 0.05),
            stall_max: Duration::from_secs(5),
            ..Self::default()
        };
        let all = [SyncFailure::Clean, SyncFailure::Reverted, SyncFailure::KeptDirty];
        if rng.random_bool(0.7) {
            rates.sync_failures = vec![all[rng.random_range(0..3usize)]];
        }
        rates
    }

    /// [`FaultRates::honest`], and a disk that also loses or misplaces what it reported durable.
    pub fn lying(rng: &mut Rng) -> Self {
        let mut rates = Self::honest(rng);
        rates.lost_write = rng.random_range(0.0..0.05);
        rates.late_sync = rng.random_range(0.0..0.03);
        rates.misdirected = rng.random_range(0.0..0.05);
        rates
    }

    pub(super) fn draw_sync_failure(&self, rng: &mut Rng) -> SyncFailure {
        let all = [SyncFailure::Clean, SyncFailure::Reverted, SyncFailure::KeptDirty];
        let from = if self.sync_failures.is_empty() { &all[..] } else { &self.sync_failures[..] };
        from[rng.random_range(0..from.len())]
    }

    /// The fault that an operation meets by chance.
    pub(super) fn draw(&self, op: Op, rng: &mut Rng) -> Option<Fault> {
        let mut hit = |rate: f64| rate > 0.0 && rng.random_bool(rate.min(1.0));
        match op {
            Op::Read => hit(self.read_error).then_some(Fault::Error),
            Op::Write | Op::SetLen | Op::Allocate => {
                if hit(self.write_error) {
                    Some(Fault::Partial)
                } else {
                    hit(self.full).then_some(Fault::Full)
                }
            }
            Op::SyncData => {
                if hit(self.sync_error) {
                    Some(Fault::Sync(self.draw_sync_failure(rng)))
                } else if hit(self.lost_write) {
                    Some(Fault::LostWrite)
                } else if hit(self.late_sync) {
                    Some(Fault::LateSync)
                } else {
                    hit(self.misdirected).then_some(Fault::Misdirected)
                }
            }
            // A journal that cannot be written stops a file system; its directories do not forget entries and go on.
            Op::SyncDir => hit(self.dir_error).then_some(Fault::Sync(SyncFailure::KeptDirty)),
            Op::Open | Op::Rename | Op::Remove | Op::CreateDir | Op::List | Op::Lock => {
                hit(self.dir_error).then_some(Fault::Error)
            }
        }
    }
}

/// How often each fault was really injected.
pub type FaultCounts = BTreeMap<&'static str, u64>;
