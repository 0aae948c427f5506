//! The simulator's own all-seeing record of a store's logs. It survives restarts.

use super::checks::LogGhost;
use crate::checkers::rules::check;
use crate::disk::SimDisk;
use crate::executor::Violation;
use highwater_env::Event;
use highwater_types::{LogId, Timestamp};
use std::collections::BTreeMap;

/// What became of a record that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may be in the log or not.
    Open,
    /// It was acknowledged.
    Acknowledged,
    /// It was refused before anything was written.
    Refused,
}

/// A record that was sent: its value is its number, which is unique.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// To which log.
    pub log: LogId,
    /// By which producer of the log.
    pub producer: usize,
    /// What became of it.
    pub fate: Fate,
}

/// The record of a history.
#[derive(Clone, Debug, Default)]
pub struct Ghost {
    /// The disk did something dishonest already.
    pub harmed: bool,
    /// The disk put pages elsewhere, or kept old ones: intact batches with fitting offsets can stand where they do not
    /// belong, and no checksum of theirs tells.
    pub misplaced: bool,
    /// The logs, and what they must hold.
    pub logs: BTreeMap<LogId, LogGhost>,
    /// Every record that was ever sent, by its value.
    pub sent: BTreeMap<u64, Sent>,
    /// How many records were acknowledged.
    pub acknowledged: u64,
    /// How many records were read and compared.
    pub compared: u64,
    next_value: u64,
}

impl Ghost {
    /// An empty record.
    pub fn new() -> Self {
        Self { next_value: 1, ..Self::default() }
    }

    /// Asks a disk what it has done.
    pub fn look_at(&mut self, disk: &SimDisk) {
        self.harmed |= disk.was_dishonest();
        self.misplaced |= disk.misplaced_writes();
    }

    /// Whether everything that was synced must still be there.
    pub fn strict(&self) -> bool {
        !self.harmed
    }

    /// A new unique value.
    pub fn value(&mut self, sent: Sent) -> u64 {
        let value = self.next_value;
        self.next_value += 1;
        self.sent.insert(value, sent);
        value
    }

    /// The store is opened anew.
    pub fn restart(&mut self) {
        self.logs.values_mut().for_each(LogGhost::restart);
    }

    /// Takes in an event of the node, at true time.
    pub fn hear(&mut self, event: &Event, now: Timestamp) -> Result<(), Violation> {
        let strict = self.strict();
        let id = match event {
            Event::Appended { log, .. }
            | Event::Synced { log, .. }
            | Event::LogStart { log, .. }
            | Event::Truncating { log, .. }
            | Event::Truncated { log, .. }
            | Event::Restarted { log, .. }
            | Event::Recovered { log, .. }
            | Event::Damaged { log, .. }
            | Event::Repaired { log, .. }
            | Event::Poisoned { log } => *log,
            Event::MarksLost => {
                return check(!strict, "S10", || {
                    "the proven marks cannot be read on a disk that is honest".to_owned()
                });
            }
            _ => return Ok(()),
        };
        match self.logs.get_mut(&id) {
            Some(log) if !log.deleted => log.hear(event, strict, now),
            _ => Ok(()),
        }
    }
}
