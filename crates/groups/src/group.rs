//! One group.

use crate::classic::{Classic, State};
use crate::desk::{Desk, Then};
use crate::offsets::Offsets;
use crate::{Now, Record};
use highwater_wire::Str;

/// One group: its members, and how far it has read.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Str,
    pub(crate) offsets: Offsets,
    pub(crate) classic: Classic,
    /// Whether a record in the log tells of the group itself.
    pub(crate) saved: bool,
    /// How many writes of it are under way.
    pub(crate) writing: u32,
}

impl Group {
    /// A group of which nothing is known. Its name does not keep the bytes in memory that it is a part of.
    pub(crate) fn new(id: &str) -> Self {
        let (offsets, classic) = (Offsets::default(), Classic::default());
        Self { id: Str::from(id), offsets, classic, saved: false, writing: 0 }
    }

    /// Whether nothing would be lost without it.
    pub(crate) fn is_vacant(&self) -> bool {
        self.classic.is_vacant() && self.offsets.is_empty() && !self.saved && self.writing == 0
    }

    pub(crate) fn write(&mut self, desk: &mut Desk, records: Vec<Record>, then: Then) {
        self.writing += 1;
        desk.write(&self.id, records, then);
    }

    /// Applies a record of the log while the coordinator is made.
    pub(crate) fn replay(&mut self, record: Record) {
        match record {
            Record::Offset(key, value) => self.offsets.set(&key, value.as_ref()),
            Record::Group(_, value) => {
                self.saved = value.is_some();
                self.classic = value.map_or_else(Classic::default, |value| Classic::restored(&value));
            }
        }
    }

    /// Applies a record that this coordinator wrote. What it says of members is known, and may have moved on.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Offset(key, value) => self.offsets.set(&key, value.as_ref()),
            Record::Group(_, Some(_)) => self.saved = true,
            Record::Group(_, None) => {
                self.saved = false;
                if self.classic.is_vacant() {
                    self.classic = Classic::default();
                }
            }
        }
    }

    /// Forgets offsets that nobody needs any more, and the group if that were all.
    pub(crate) fn expire(&mut self, desk: &mut Desk, now: Now) {
        // What is on its way may be newer than what is known.
        if self.writing > 0 {
            return;
        }
        let expired = self.offsets.expired(&self.classic, desk.settings.offsets_retention, now.wall);
        let all = expired.len() == self.offsets.len();
        let mut records = self.offsets.forgotten(&self.id, expired);
        if all && self.saved && self.classic.state == State::Empty && self.classic.is_vacant() {
            records.push(Record::Group(self.id.clone(), None));
        }
        if !records.is_empty() {
            self.write(desk, records, Then::Nothing);
        }
    }
}
