//! What may remove records: deletion of a topic, deletion of records, retention by age and size.
//!
//! A removal is licensed if any request that was, or may have been, carried out allows it. Retention is held against
//! every configuration that the topic may have had until then: a pass of retention that began under the old one may
//! end late. Sizes are estimated so that a doubt speaks for the removal.

use super::End;
use super::ghost::Ghost;
use super::index::Place;
use crate::executor::EPOCH_MS;
use crate::history::{Op, Outcome};
use highwater_types::{Instant, LogId, Offset, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What a record takes beside its key and value, at most: its own fields, and a batch header of its own.
const RECORD_OVERHEAD_BYTES: i64 = 160;
/// How far clocks may run apart without a jump.
const CLOCK_TOLERANCE_MS: i64 = 1_000;
/// How long tombstones stay without any configuration: a day.
const DEFAULT_TOMBSTONE_MS: &str = "86400000";
/// Retention without any configuration: seven days.
const DEFAULT_RETENTION_MS: &str = "604800000";

/// Whether something allowed a record to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Licence {
    /// It did.
    Granted,
    /// Retention is on, and did not reach the record yet: why.
    TooEarly(String),
    /// Nothing ever removes records there.
    None,
}

/// What a request may have set of a topic's configuration.
struct Setting<'a> {
    /// Since when it may have held.
    began: Instant,
    /// Whether it made the topic, so that the brokers' defaults never held for what it says.
    creates: bool,
    pairs: &'a [(String, String)],
}

impl<'a> Setting<'a> {
    fn of(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }
}

/// What retention may have been of a log at one time.
#[derive(Clone, Copy)]
struct Bounds {
    /// Whether it removes anything.
    deletes: bool,
    shortest_ms: Option<i64>,
    smallest_bytes: Option<i64>,
    /// Where the log ended at most.
    end: Offset,
    /// What a record took at most.
    record_bytes: i64,
}

/// What may remove records of the topics of a run.
pub struct Licences<'a> {
    end: &'a End<'a>,
    deleted_topics: BTreeMap<&'a str, Instant>,
    /// Up to which offset; those without a bound reach any.
    deleted_records: BTreeMap<Place<'a>, Offset>,
    settings: BTreeMap<&'a str, Vec<Setting<'a>>>,
    /// What retention may have been when something was removed: many records go at once.
    bounds: RefCell<BTreeMap<(LogId, Instant), Bounds>>,
    /// The largest record that was sent to each topic, in bytes.
    largest: BTreeMap<&'a str, i64>,
}

impl<'a> Licences<'a> {
    pub fn new(end: &'a End<'a>) -> Self {
        let mut licences = Self {
            end,
            deleted_topics: BTreeMap::new(),
            deleted_records: BTreeMap::new(),
            settings: BTreeMap::new(),
            bounds: RefCell::default(),
            largest: BTreeMap::new(),
        };
        for entry in end.history.entries() {
            match &entry.op {
                Op::DeleteTopic { topic, answer } if answer.is_possible() => {
                    licences.deleted_topics.entry(topic).or_insert(entry.began);
                }
                Op::DeleteRecords { topic, partition, before, answer } if answer.is_possible() => {
                    let upto = match (answer, before.0) {
                        (Outcome::Ok(start), _) => *start.max(before),
                        (_, -1) => Offset(i64::MAX),
                        _ => *before,
                    };
                    let known = licences.deleted_records.entry((topic, *partition)).or_default();
                    *known = upto.max(*known);
                }
                Op::CreateTopic { topic, configs, answer, .. } if answer.is_possible() => {
                    let setting = Setting { began: entry.began, creates: true, pairs: configs };
                    licences.settings.entry(topic).or_default().push(setting);
                }
                Op::AlterConfigs { topic, configs, answer } if answer.is_possible() => {
                    let setting = Setting { began: entry.began, creates: false, pairs: configs };
                    licences.settings.entry(topic).or_default().push(setting);
                }
                _ => {}
            }
        }
        for sent in &end.index.sends {
            let bytes = sent.value.len() + sent.key.as_ref().map_or(0, |key| key.len());
            let known = licences.largest.entry(sent.topic).or_default();
            *known = (*known).max(bytes as i64);
        }
        licences
    }

    /// Whether somebody may have deleted the topic.
    pub fn topic_deleted(&self, topic: &str) -> bool {
        self.deleted_topics.contains_key(topic)
    }

    /// Whether the topic may ever have been compacted.
    pub fn compacts(&self, topic: &str) -> bool {
        let policies = self.values(topic, "cleanup.policy", "delete", self.end.now);
        policies.iter().any(|policy| policy.contains("compact"))
    }

    /// How long tombstones stayed at least.
    pub fn tombstone_ms(&self, topic: &str) -> i64 {
        let values = self.values(topic, "delete.retention.ms", DEFAULT_TOMBSTONE_MS, self.end.now);
        smallest(&values).unwrap_or(0)
    }

    /// Whether something allowed the record to go that had this offset and timestamp.
    pub fn of(&self, place: Place<'_>, log: LogId, offset: Offset, timestamp: Timestamp) -> Licence {
        let asked = self.deleted_records.get(&place).copied().unwrap_or_default();
        if self.topic_deleted(place.0) || offset < asked {
            return Licence::Granted;
        }
        // One copy's retention removes what no other copy has removed yet.
        let removals =
            self.end.ghost.copies(log).filter_map(|(node, copy)| Some((node, copy.removed(offset)?)));
        let (at, ahead_ms) = removals
            .map(|(node, removal)| (removal.at, self.end.ghost.wall_ahead_ms(node)))
            .min_by_key(|&(at, _)| at)
            .unwrap_or((self.end.now, 0));
        let known = self.bounds.borrow().get(&(log, at)).copied();
        let bounds = known.unwrap_or_else(|| self.bounds(place.0, log, at));
        self.bounds.borrow_mut().insert((log, at), bounds);
        if !bounds.deletes {
            return Licence::None;
        }
        match (by_age(bounds, timestamp, at, ahead_ms), by_size(bounds, offset)) {
            (Licence::Granted, _) | (_, Licence::Granted) => Licence::Granted,
            (Licence::TooEarly(age), Licence::TooEarly(size)) => {
                Licence::TooEarly(format!("{age}, and {size}"))
            }
            (Licence::None, other) | (other, Licence::None) => other,
        }
    }

    fn bounds(&self, topic: &str, log: LogId, at: Instant) -> Bounds {
        let policies = self.values(topic, "cleanup.policy", "delete", at);
        let ends = self.end.ghost.copies(log).map(|(_, copy)| copy.farthest);
        Bounds {
            deletes: policies.iter().any(|policy| policy.contains("delete")),
            shortest_ms: smallest(&self.values(topic, "retention.ms", DEFAULT_RETENTION_MS, at)),
            smallest_bytes: smallest(&self.values(topic, "retention.bytes", "-1", at)),
            end: ends.max().unwrap_or_default(),
            record_bytes: self.largest.get(topic).copied().unwrap_or_default() + RECORD_OVERHEAD_BYTES,
        }
    }

    /// Every value that a key of a topic may have had until then.
    fn values(&self, topic: &str, key: &str, default: &str, until: Instant) -> Vec<String> {
        let settings = self.settings.get(topic).map(Vec::as_slice).unwrap_or_default();
        let held = settings.iter().filter(|setting| setting.began <= until);
        let mut values: Vec<String> = held.filter_map(|setting| setting.of(key).map(str::to_owned)).collect();
        // Without a word at its creation, a topic follows the brokers, as do others that nobody configured.
        let mut creations = settings.iter().filter(|setting| setting.creates).peekable();
        let created = creations.peek().is_some() && creations.all(|setting| setting.of(key).is_some());
        if !created || values.iter().any(String::is_empty) {
            values.push(self.follows(topic, key).unwrap_or(default).to_owned());
        }
        values.retain(|value| !value.is_empty());
        values
    }

    /// What a topic has of a key for which nobody ever set it.
    fn follows(&self, topic: &str, key: &str) -> Option<&'a str> {
        let mut partitions: Vec<_> = self.end.state.partitions.iter().collect();
        partitions.sort_by_key(|((name, _), _)| name != topic);
        let unset = partitions.into_iter().find(|((name, _), _)| {
            let settings = self.settings.get(&**name).map(Vec::as_slice).unwrap_or_default();
            !settings.iter().any(|setting| setting.of(key).is_some())
        });
        unset.and_then(|(_, partition)| partition.config.get(key)).map(String::as_str)
    }
}

fn by_age(bounds: Bounds, timestamp: Timestamp, at: Instant, ahead_ms: i64) -> Licence {
    let Some(shortest) = bounds.shortest_ms else { return Licence::None };
    let elapsed_ms = (at.0 / 1_000_000) as i64;
    // Clocks drift by up to a thousandth, each in its own direction.
    let wall = EPOCH_MS + elapsed_ms + ahead_ms + CLOCK_TOLERANCE_MS + elapsed_ms / 500;
    if timestamp.0 < wall.saturating_sub(shortest) {
        return Licence::Granted;
    }
    let age = EPOCH_MS + elapsed_ms - timestamp.0;
    Licence::TooEarly(format!("its timestamp was {age} ms old, retention.ms was never below {shortest}"))
}

fn by_size(bounds: Bounds, offset: Offset) -> Licence {
    let Some(smallest) = bounds.smallest_bytes else { return Licence::None };
    let behind = (bounds.end.0 - offset.0).saturating_mul(bounds.record_bytes);
    if behind >= smallest {
        return Licence::Granted;
    }
    Licence::TooEarly(format!(
        "at most {behind} bytes stood behind it, retention.bytes was never below {smallest}"
    ))
}

/// The smallest bound; -1 is none.
fn smallest(values: &[String]) -> Option<i64> {
    values.iter().filter_map(|value| value.trim().parse().ok()).filter(|&value| value >= 0).min()
}

/// Whether a copy of a log that lost an offset said so, or its disk was replaced.
pub fn loss_reported(ghost: &Ghost, log: LogId, offset: Offset) -> bool {
    ghost.copies(log).any(|(_, copy)| copy.reported(offset)) || ghost.was_wiped(log, offset)
}
/// Whether some replica had removed an offset by then. A leader's log start can be lost with the leader: the next one
/// serves again what clients of the last one could not read any more.
pub fn removed_by(ghost: &Ghost, log: LogId, offset: Offset, at: Instant) -> bool {
    let mut removals = ghost.copies(log).flat_map(|(_, copy)| &copy.removals);
    removals.any(|removal| removal.to > offset && removal.at <= at)
}
