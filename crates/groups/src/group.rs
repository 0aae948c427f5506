//! One group.

use crate::classic::{Classic, State};
use crate::consumer::Consumers;
use crate::desk::{Desk, Then};
use crate::offsets::Offsets;
use crate::records::{CurrentMemberValue, MemberMetadata};
use crate::{Answer, GroupMetadataValue, Note, Now, Record, Token};
use highwater_types::{Timestamp, mutant};
use highwater_wire::Str;

/// One group: its members, and how far it has read.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Str,
    pub(crate) offsets: Offsets,
    pub(crate) classic: Classic,
    /// A group of the new protocol, if it is one.
    pub(crate) consumers: Option<Consumers>,
    /// Whether a record in the log tells of the group itself.
    pub(crate) saved: bool,
    /// How many writes of it are under way.
    pub(crate) writing: u32,
}

impl Group {
    /// A group of which nothing is known. Its name does not keep the bytes in memory that it is a part of.
    pub(crate) fn new(id: &str) -> Self {
        let (offsets, classic) = (Offsets::default(), Classic::default());
        Self { id: Str::from(id), offsets, classic, consumers: None, saved: false, writing: 0 }
    }

    /// Whether nothing would be lost without it.
    pub(crate) fn is_vacant(&self) -> bool {
        let known = self.consumers.is_some() || self.saved || self.writing > 0;
        self.classic.is_vacant() && self.offsets.is_empty() && !known
    }

    /// Whether it is a group of the new protocol that has members.
    pub(crate) fn has_consumers(&self) -> bool {
        self.consumers.as_ref().is_some_and(|consumers| !consumers.members.is_empty())
    }

    pub(crate) fn write(&mut self, desk: &mut Desk, records: Vec<Record>, then: Then) {
        self.writing += 1;
        desk.write(&self.id, records, then);
    }

    /// Has records written, if there are any, and answers once nothing is under way that the answer could speak of.
    pub(crate) fn write_and_answer(
        &mut self,
        desk: &mut Desk,
        records: Vec<Record>,
        token: Token,
        answer: Answer,
    ) {
        if !records.is_empty() {
            self.write(desk, records, Then::Answer(token, answer));
        } else if self.writing > 0 {
            desk.answer_behind(&self.id, token, answer);
        } else {
            desk.answer(token, answer);
        }
    }

    /// Applies a record of the log while the coordinator is made.
    pub(crate) fn replay(&mut self, record: Record) {
        match record {
            Record::Offset(key, mut value) => {
                if mutant!("group-expire-reload")
                    && let Some(value) = &mut value
                {
                    // "Not said" is taken for a time long ago.
                    value.expire_timestamp = value.expire_timestamp.max(Timestamp(0));
                }
                self.offsets.set(&key, value.as_ref());
            }
            Record::Group(_, value) => {
                self.saved = value.is_some();
                self.classic = value.map_or_else(Classic::default, |value| Classic::restored(&value));
            }
            Record::ConsumerGroup(_, None) => self.consumers = None,
            record if record.is_tombstone() => {
                if let Some(consumers) = &mut self.consumers {
                    consumers.apply(&record);
                }
            }
            record => self.consumers.get_or_insert_default().apply(&record),
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
            // These were applied when they were decided on.
            _ => {}
        }
    }

    /// What a record that is committed now says of the members, for those who watch.
    pub(crate) fn tell(&self, desk: &mut Desk, value: Option<&GroupMetadataValue>) {
        let members = value.map_or_else(Vec::new, |value| {
            let of_member = |member: &MemberMetadata| {
                (member.member_id.clone(), member.subscription.clone(), member.assignment.clone())
            };
            value.members.iter().map(of_member).collect()
        });
        let generation = value.map_or(-1, |value| value.generation);
        let protocol = value.and_then(|value| value.protocol.clone()).unwrap_or_default();
        desk.note(Note::Generation { group: self.id.clone(), generation, protocol, members });
    }

    /// What members of a group of the new protocol have now, by records that are committed, and what those of the
    /// classic protocol said.
    pub(crate) fn tell_owners(&self, desk: &mut Desk, records: &[Record]) {
        let owner = |record: &Record| match record {
            Record::CurrentMember(_, member, value) => {
                Some((member.clone(), value.as_ref().map(CurrentMemberValue::owner)))
            }
            _ => None,
        };
        let says = |record: &Record| match record {
            Record::ConsumerMember(_, member, Some(value)) => {
                let first = value.classic_member_metadata.as_ref()?.supported_protocols.first()?;
                Some((member.clone(), first.metadata.clone()))
            }
            _ => None,
        };
        let members: Vec<_> = records.iter().filter_map(owner).collect();
        if !members.is_empty() {
            let said = records.iter().filter_map(says).collect();
            desk.note(Note::Owners { group: self.id.clone(), all: false, members, said });
        }
    }

    /// The records by which nothing is left of a group of the new protocol that has no members, which it is no more.
    pub(crate) fn dissolved(&mut self) -> Vec<Record> {
        let consumers = self.consumers.take();
        consumers.map_or_else(Vec::new, |consumers| consumers.tombstones(&self.id))
    }

    /// Forgets offsets that nobody needs any more, and the group if that were all.
    pub(crate) fn expire(&mut self, desk: &mut Desk, now: Now) {
        // What is on its way may be newer than what is known.
        if self.writing > 0 {
            return;
        }
        let retention = desk.settings.offsets_retention;
        let expired = match &self.consumers {
            Some(consumers) => self.offsets.expired_of(consumers, retention, now.wall),
            None => self.offsets.expired(&self.classic, retention, now.wall),
        };
        let all = expired.len() == self.offsets.len();
        let mut records = self.offsets.forgotten(&self.id, expired);
        if all && self.consumers.as_ref().is_some_and(|consumers| consumers.members.is_empty()) {
            records.extend(self.dissolved());
        }
        if all && self.saved && self.classic.state == State::Empty && self.classic.is_vacant() {
            records.push(Record::Group(self.id.clone(), None));
        }
        if !records.is_empty() {
            self.write(desk, records, Then::Nothing);
        }
    }
}
