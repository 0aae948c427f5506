//! What is known of one node's copy of one log.

use highwater_env::Event;
use highwater_types::{BrokerId, Instant, LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use std::collections::BTreeMap;
use std::ops::Range;

/// A batch that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    /// The last offset.
    pub last: Offset,
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// The checksum.
    pub checksum: u32,
    /// The idempotent producer, with the first sequence number.
    pub producer: Option<(ProducerId, ProducerEpoch, i32)>,
    /// When it was appended.
    pub at: Instant,
    /// When a client was told that all in-sync replicas have it.
    pub acknowledged: Option<Instant>,
}

/// How a log's first offset moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// When.
    pub at: Instant,
    /// The first offset before.
    pub from: Offset,
    /// The first offset since.
    pub to: Offset,
}

/// How a log's end was moved back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// When.
    pub at: Instant,
    /// The end since.
    pub to: Offset,
}

/// What a node is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It appends with this epoch.
    Leader {
        /// The epoch.
        epoch: LeaderEpoch,
    },
    /// It appends nothing of its own.
    Follower {
        /// The epoch.
        epoch: LeaderEpoch,
    },
}

impl Role {
    /// The epoch.
    pub fn epoch(self) -> LeaderEpoch {
        match self {
            Self::Leader { epoch } | Self::Follower { epoch } => epoch,
        }
    }
}

/// Whom a leader counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InSync {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The in-sync replicas as the controller last committed them.
    pub committed: Vec<BrokerId>,
    /// Those that the leader has asked for beside them.
    pub pending: Vec<BrokerId>,
}

/// What [`Replica::take`] has to know beside an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub now: Instant,
    /// The disk kept all that its syncs covered.
    pub honest: bool,
    /// Other nodes have copies as well.
    pub replicated: bool,
}

/// What is known of one node's copy of one log.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// The batches that it holds, by first offset, as far as anybody said.
    pub batches: BTreeMap<Offset, AppendedBatch>,
    /// The largest end that it ever had.
    pub farthest: Offset,
    /// The end; None while the log is not open.
    pub end: Option<Offset>,
    /// Everything before it is on disk, as the node says; lower again only by truncation.
    pub synced: Offset,
    /// What clients may read; None where nobody said.
    pub high_watermark: Option<Offset>,
    /// The high watermark as it was told since the node has its role: it does not fall meanwhile.
    pub floor: Option<Offset>,
    /// What the node is to the partition; None where nobody said since it started.
    pub role: Option<Role>,
    /// Whom it counts, if it leads.
    pub in_sync: Option<InSync>,
    /// The end as it was last told, while the log was open.
    pub held: Offset,
    /// The largest end that a leader may have been told of, whatever became of the node's page cache since; lower again
    /// only by truncation.
    pub counted: Offset,
    /// A truncation to this end is under way: the disk may hold either.
    pub cutting: Option<Offset>,
    /// The node began to delete the log. A crash may leave all of it, or nothing.
    pub deleting: bool,
    /// The largest high watermark that was ever told.
    pub true_high_watermark: Offset,
    /// The first offset that can be read.
    pub start: Offset,
    /// How the first offset moved, in order.
    pub removals: Vec<Removal>,
    /// How the end was moved back, in order: truncation, and recovery that found less than was appended.
    pub cuts: Vec<Cut>,
    /// Ranges that the node itself reported as damaged.
    pub damaged: Vec<Range<Offset>>,
    /// Ranges that a recovery cut off beyond the mark that it started from, where a loss looks like the torn tail of a
    /// power loss.
    pub lost: Vec<Range<Offset>>,
    /// A write or sync failed in this incarnation.
    pub poisoned: bool,
}

impl Replica {
    /// The batch that an offset lies in.
    pub fn batch_at(&self, offset: Offset) -> Option<(Offset, &AppendedBatch)> {
        let (&base, batch) = self.batches.range(..=offset).next_back()?;
        (offset <= batch.last).then_some((base, batch))
    }

    /// Whether the node reported an offset as damaged, or cut it off where no mark had proven it.
    pub fn reported(&self, offset: Offset) -> bool {
        self.damaged.iter().chain(&self.lost).any(|range| range.contains(&offset))
    }

    /// When the log's first offset passed an offset.
    pub fn removed(&self, offset: Offset) -> Option<Removal> {
        self.removals.iter().copied().find(|removal| removal.from <= offset && offset < removal.to)
    }

    /// Whether the node leads the partition, as far as it knows.
    pub fn leads(&self) -> bool {
        matches!(self.role, Some(Role::Leader { .. }))
    }

    /// Another log stands in the place of this one. What the one before had removed stays removed.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { removals: std::mem::take(&mut self.removals), ..Self::default() };
    }

    pub(super) fn close(&mut self) {
        self.end = None;
        self.high_watermark = None;
        self.floor = None;
        self.role = None;
        self.in_sync = None;
        self.poisoned = false;
    }

    pub(super) fn take(&mut self, event: &Event, facts: Facts) {
        let Facts { now, honest, replicated } = facts;
        match *event {
            Event::Appended { base, last, epoch, checksum, producer, .. } => {
                if self.end.is_none() && self.batches.is_empty() {
                    // A copy that is made begins where its leader's log does.
                    self.start = self.start.max(base);
                }
                self.batches.split_off(&base);
                self.end = Some(last.next());
                (self.held, self.counted) = (last.next(), last.next());
                self.farthest = self.farthest.max(last.next());
                let batch = AppendedBatch { last, epoch, checksum, producer, at: now, acknowledged: None };
                self.batches.insert(base, batch);
            }
            Event::Synced { end, .. } => self.synced = self.synced.max(end),
            Event::HighWatermark { end, .. } => {
                self.high_watermark = Some(end);
                self.floor = Some(end);
                self.true_high_watermark = self.true_high_watermark.max(end);
            }
            Event::LogStart { start, .. } => self.move_start(now, start),
            Event::Truncating { end, .. } => {
                // A batch that it falls into goes as a whole.
                self.cutting = Some(self.batch_at(end).map_or(end, |(base, _)| base));
            }
            Event::Made { start, .. } => {
                (self.start, self.end) = (start, Some(start));
                (self.held, self.counted, self.synced) = (start, start, start);
            }
            Event::Deleting { .. } => self.deleting = true,
            Event::Restarted { start, .. } => {
                self.move_start(now, start);
                self.batches.clear();
                (self.start, self.end, self.cutting) = (start, Some(start), None);
                (self.held, self.counted, self.synced) = (start, start, start);
                (self.high_watermark, self.floor) = (None, None);
            }
            Event::Truncated { end, .. } => self.cut(now, end),
            Event::Leading { epoch, .. } => self.assume(Role::Leader { epoch }, replicated),
            Event::Following { epoch, .. } => self.assume(Role::Follower { epoch }, replicated),
            Event::InSync { epoch, ref committed, ref pending, .. } => {
                let (committed, pending) = (committed.clone(), pending.clone());
                self.in_sync = Some(InSync { epoch, committed, pending });
            }
            Event::Recovered { start, end, proven, .. } => {
                if std::mem::take(&mut self.deleting) && start == end {
                    // Another one was being made in its place.
                    self.begin_anew();
                }
                let known = self.batches.last_key_value().map_or(end, |(_, batch)| batch.last.next());
                let counted = self.counted;
                if known > end {
                    self.lost.push(end.max(proven)..known);
                    self.cut(now, end);
                }
                self.move_start(now, start);
                self.start = start;
                self.end = Some(end);
                self.poisoned = false;
                self.farthest = self.farthest.max(end);
                self.synced = if honest { self.synced.max(end) } else { end };
                self.held = end;
                self.counted = counted.max(end);
                self.cutting = None;
                // What is on disk when a log is opened may be read at once, unless other copies have a say.
                self.high_watermark = Some(end).filter(|_| !replicated);
                self.floor = self.high_watermark;
            }
            Event::Damaged { from, to, .. } => self.damaged.push(from..to),
            Event::Poisoned { .. } => self.poisoned = true,
            Event::Acknowledged { base, last, acks: -1, .. } => {
                for (_, batch) in self.batches.range_mut(base..=last) {
                    batch.acknowledged.get_or_insert(now);
                }
            }
            _ => {}
        }
    }

    /// Within one role and epoch the high watermark does not fall, and with another it may.
    fn assume(&mut self, role: Role, replicated: bool) {
        if replicated && self.role != Some(role) {
            self.floor = None;
            self.in_sync = None;
        }
        self.role = Some(role);
    }

    fn move_start(&mut self, at: Instant, to: Offset) {
        if to > self.start {
            self.removals.push(Removal { at, from: self.start, to });
            self.start = to;
        }
    }

    fn cut(&mut self, at: Instant, to: Offset) {
        self.batches.retain(|_, batch| batch.last < to);
        self.end = Some(to);
        self.start = self.start.min(to);
        self.synced = self.synced.min(to);
        self.held = self.held.min(to);
        self.counted = self.counted.min(to);
        self.cutting = None;
        self.high_watermark = self.high_watermark.map(|known| known.min(to));
        self.floor = self.floor.map(|known| known.min(to));
        self.cuts.push(Cut { at, to });
    }
}
