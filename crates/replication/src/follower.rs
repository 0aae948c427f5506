//! A follower of a partition.

use crate::history::History;
use highwater_types::{BrokerId, LeaderEpoch, Offset, mutant};

/// From where a follower fetches, and how it knows the log before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPosition {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The end of the follower's log.
    pub offset: Offset,
    /// The epoch of its last record.
    pub last_epoch: LeaderEpoch,
}

/// The leader's answer to a fetch, without the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// What the answer is to.
    pub position: FetchPosition,
    /// What it says.
    pub outcome: Outcome,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The logs agree, and these are the leader's marks. Records may come with it.
    Records {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's first offset.
        log_start: Offset,
    },
    /// The logs part: at the leader, the largest epoch that is not above the follower's last one ends there.
    Diverging {
        /// That epoch.
        epoch: LeaderEpoch,
        /// Where it ends.
        end: Offset,
        /// The leader's high watermark.
        high_watermark: Offset,
    },
    /// The leader's log has nothing there.
    OutOfRange {
        /// The leader's first offset.
        log_start: Offset,
    },
}

/// What a follower is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Append what records there are, and tell [`Follower::appended`].
    Append,
    /// Cut the log to this end, and fetch again.
    Truncate(Offset),
    /// Drop the log, begin it anew at this offset, and fetch again.
    Restart(Offset),
    /// Nothing: the answer is to a question that is not asked any more.
    Ignore,
}

/// A follower of one leader in one epoch of it.
///
/// Fetches from [`Follower::position`], feeds every answer to [`Follower::handle`] and does what that says. A new epoch
/// is a new follower, also if the leader is the same one, and so is a new start of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    leader: BrokerId,
    epoch: LeaderEpoch,
    high_watermark: Offset,
    /// The leader's marks from an answer whose records are being appended.
    told: Option<Told>,
    /// Believes that its log agrees with the leader's because it did in an earlier epoch.
    #[cfg(highwater_mutants)]
    credulous: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    high_watermark: Offset,
    log_start: Offset,
}

impl Follower {
    /// A follower that knows records to be committed up to `high_watermark` from before.
    pub fn new(leader: BrokerId, epoch: LeaderEpoch, high_watermark: Offset) -> Self {
        Self {
            leader,
            epoch,
            high_watermark,
            told: None,
            #[cfg(highwater_mutants)]
            credulous: false,
        }
    }

    /// The follower of the next epoch.
    #[must_use]
    pub fn next(&self, leader: BrokerId, epoch: LeaderEpoch) -> Self {
        #[cfg(highwater_mutants)]
        if mutant!("missed-epoch") && leader == self.leader {
            return Self { epoch, told: None, credulous: true, ..self.clone() };
        }
        Self::new(leader, epoch, self.high_watermark)
    }

    /// Whom it follows.
    pub fn leader(&self) -> BrokerId {
        self.leader
    }

    /// The leader's epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The end of what is committed, as far as is known.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// From where to fetch.
    pub fn position(&self, log: &impl History) -> FetchPosition {
        #[cfg(highwater_mutants)]
        if self.credulous {
            return FetchPosition {
                leader_epoch: self.epoch,
                offset: log.end(),
                last_epoch: LeaderEpoch::NONE,
            };
        }
        FetchPosition { leader_epoch: self.epoch, offset: log.end(), last_epoch: log.last_epoch() }
    }

    /// What to do about an answer.
    pub fn handle(&mut self, answer: &FetchAnswer, log: &impl History) -> Step {
        // The end of a log and its last epoch stand for all that is in it: an answer to the same position is right,
        // however late it is.
        if answer.position != self.position(log) && !mutant!("trunc-removed-fetcher") {
            return Step::Ignore;
        }
        match answer.outcome {
            Outcome::Records { high_watermark, log_start } => {
                self.told = Some(Told { high_watermark, log_start });
                Step::Append
            }
            Outcome::Diverging { epoch, end, .. } => {
                let to = self.shared_end(epoch, end, log);
                self.high_watermark = self.high_watermark.min(to);
                Step::Truncate(to)
            }
            Outcome::OutOfRange { log_start } => {
                // What the leader does not have any more was removed after it was committed, and what this log has
                // beyond that is of no epoch that the leader knows.
                self.high_watermark = log_start;
                Step::Restart(log_start)
            }
        }
    }

    /// The records of the last answer stand in the log, which begins at `start` and ends at `end` with them.
    /// Returns the high watermark, if it moved, and the first offset that the log need keep, if the leader has
    /// removed some.
    pub fn appended(&mut self, start: Offset, end: Offset) -> (Option<Offset>, Option<Offset>) {
        let Some(told) = self.told.take() else { return (None, None) };
        let committed = told.high_watermark.min(end);
        let moved = committed > self.high_watermark;
        if moved {
            self.high_watermark = committed;
        }
        let removed = (told.log_start > start).then(|| told.log_start.min(end));
        (moved.then_some(committed), removed)
    }

    /// The end of what this log and the leader's may share, if the leader's epoch `epoch` ends at `end` and the next
    /// one that it knows is above all that are known here. Never more, and each time less than the log has, so that a
    /// few steps lead to where they part (KIP-279).
    fn shared_end(&self, epoch: LeaderEpoch, end: Offset, log: &impl History) -> Offset {
        if mutant!("trunc-to-hw") {
            return self.high_watermark.min(log.end());
        }
        let own = match log.epoch_end(epoch) {
            Some((_, own)) => own,
            // Every record here is of a later epoch than any that could be shared.
            None => log.start(),
        };
        own.min(end).max(log.start())
    }
}
