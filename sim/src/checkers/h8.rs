//! H8: nothing younger than its retention disappears, tombstones of compacted topics included, and lookups of offsets
//! equal a linear scan of the final read.
//!
//! Source: durability.md (H8); RP 9820 (retention that trusts a clock that jumped), KAFKA-7283 (an index that was
//! trusted after an unclean stop), KAFKA-4529 (tombstones that go too early). That compaction keeps each key's last
//! record is asked with H1.

use super::index::{Place, shown};
use super::keyed::Keyed;
use super::licence::{Licence, Licences, loss_reported, removed_by};
use super::{Checker, End, clock};
use crate::executor::Violation;
use crate::history::{FinalPartition, Op, Outcome, is_tombstone};
use highwater_types::{Offset, Timestamp};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

/// See the module.
#[derive(Debug, Default)]
pub struct Retention;

impl Checker for Retention {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        let licences = Licences::new(end);
        for sent in &end.index.sends {
            if let Some((partition, offset, timestamp)) =
                sent.promised().filter(|(_, offset, _)| offset.0 >= 0)
            {
                kept(end, &licences, (sent.topic, partition), (offset, timestamp, Some(sent.value)))?;
            }
        }
        for read in &end.index.reads {
            let record = (read.offset, read.timestamp, read.value.as_deref());
            kept(end, &licences, (read.topic, read.partition), record)?;
        }
        tombstones(end, &licences)?;
        for ((topic, index), partition) in &end.state.partitions {
            lookups((topic, *index), partition, end)?;
        }
        answers(end)
    }
}

/// Nothing removed a record before its time.
fn kept(
    end: &End<'_>,
    licences: &Licences<'_>,
    place: Place<'_>,
    (offset, timestamp, value): (Offset, Timestamp, Option<&[u8]>),
) -> Result<(), Violation> {
    let (topic, index) = place;
    let Some(partition) = end.state.partition(topic, index) else { return Ok(()) };
    if offset >= partition.start || (!end.is_strict() && loss_reported(end.ghost, partition.log, offset)) {
        return Ok(());
    }
    let Licence::TooEarly(reason) = licences.of(place, partition.log, offset, timestamp) else {
        return Ok(());
    };
    let removals = end.ghost.copies(partition.log).filter_map(|(_, copy)| copy.removed(offset));
    let at = removals.map(|removal| removal.at).min().map_or_else(|| "the end".to_owned(), clock);
    let text = format!(
        "{} at {topic}-{index} offset {offset} was removed at {at}, before its time: {reason}",
        shown(value)
    );
    Err(Violation::new("H8", text))
}

/// A tombstone that was acknowledged stays for its time, unless another record of its key follows.
fn tombstones(end: &End<'_>, licences: &Licences<'_>) -> Result<(), Violation> {
    let keyed = Keyed::new(end);
    for sent in end.index.sends.iter().filter(|sent| is_tombstone(sent.value) && end.is_strict()) {
        let (Some((index, offset, _)), Some(ended)) = (sent.promised(), sent.ended) else { continue };
        let Some(partition) = end.state.partition(sent.topic, index) else { continue };
        let place = (sent.topic, index);
        let gone = offset >= partition.start && partition.at(offset).is_none();
        if !gone || keyed.is_followed(place, sent.key.as_deref(), offset) {
            continue;
        }
        let retention_ms = licences.tombstone_ms(sent.topic);
        // It is kept from the moment on at which compaction finds it, which is later than this.
        let age_ms = ((end.now.0 - ended.0) / 1_000_000) as i64;
        let ahead_ms =
            end.ghost.replicas().map(|(node, ..)| end.ghost.wall_ahead_ms(node)).max().unwrap_or(0);
        if age_ms + age_ms / 500 + ahead_ms < retention_ms {
            let text = format!(
                "the tombstone at {}-{index} offset {offset} is gone {age_ms} ms after it was acknowledged, and \
                 delete.retention.ms was never below {retention_ms}",
                sent.topic
            );
            return Err(Violation::new("H8", text));
        }
    }
    Ok(())
}

/// What the brokers found at the end is what a linear scan finds.
fn lookups(place: Place<'_>, partition: &FinalPartition, end: &End<'_>) -> Result<(), Violation> {
    let damaged = end.ghost.copies(partition.log).any(|(_, copy)| !copy.damaged.is_empty());
    if !end.is_strict() && (damaged || end.ghost.has_misplaced()) {
        return Ok(());
    }
    for &(query, found) in &partition.list_offsets {
        let expected = scan(partition, query);
        // Start and end have no timestamp of their own.
        let fits = match query {
            LATEST | EARLIEST => found.map(|(offset, _)| offset) == expected.map(|(offset, _)| offset),
            _ => found == expected,
        };
        if !fits {
            let (topic, index) = place;
            let text = format!(
                "a lookup of {} in {topic}-{index} found {}; a scan of its records finds {}",
                asked(query),
                told(found),
                told(expected)
            );
            return Err(Violation::new("H8", text));
        }
    }
    Ok(())
}

fn scan(partition: &FinalPartition, query: i64) -> Option<(Offset, Timestamp)> {
    let records = || partition.records.iter().map(|record| (record.offset, record.timestamp));
    match query {
        LATEST => Some((partition.end, Timestamp::NONE)),
        EARLIEST => Some((partition.start, Timestamp::NONE)),
        MAX_TIMESTAMP => {
            let timed = records().filter(|&(_, timestamp)| timestamp > Timestamp::NONE);
            // The first of several.
            timed.rev().max_by_key(|&(_, timestamp)| timestamp)
        }
        time => records().find(|&(_, timestamp)| timestamp.0 >= time),
    }
}

/// What was answered during the run fits to what stands at the end: neither start nor end ever fall.
fn answers(end: &End<'_>) -> Result<(), Violation> {
    for entry in end.history.entries() {
        let Op::ListOffset { topic, partition: index, query, answer: Outcome::Ok(Some((offset, timestamp))) } =
            &entry.op
        else {
            continue;
        };
        let Some(partition) = end.state.partition(topic, *index).filter(|_| end.is_strict()) else {
            continue;
        };
        let fits = match *query {
            LATEST => *offset <= partition.end,
            EARLIEST => {
                let before = Offset(offset.0 - 1);
                *offset <= partition.start
                    || removed_by(end.ghost, partition.log, before, entry.ended.unwrap_or(entry.began))
            }
            MAX_TIMESTAMP => true,
            time => timestamp.0 >= time,
        };
        if !fits {
            let text = format!(
                "client {} asked for {} of {topic}-{index} at {} and was told {}; at the end the log holds {} to {}",
                entry.client,
                asked(*query),
                clock(entry.began),
                told(Some((*offset, *timestamp))),
                partition.start,
                partition.end
            );
            return Err(Violation::new("H8", text));
        }
    }
    Ok(())
}

fn asked(query: i64) -> String {
    match query {
        LATEST => "the end".to_owned(),
        EARLIEST => "the start".to_owned(),
        MAX_TIMESTAMP => "the largest timestamp".to_owned(),
        time => format!("the time {time}"),
    }
}

fn told(found: Option<(Offset, Timestamp)>) -> String {
    match found {
        None => "nothing".to_owned(),
        Some((offset, Timestamp::NONE)) => format!("offset {offset}"),
        Some((offset, timestamp)) => format!("offset {offset} of {timestamp}"),
    }
}

#[cfg(test)]
mod tests;
