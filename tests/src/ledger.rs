//! What producers were told, against what the log holds.

use crate::record::Record;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

/// What one stream of records was told (`clients/README.md` says how it writes that down).
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The stream's name, with which its records begin.
    pub stream: String,
    /// Whether it had sequence numbers: each of its records may be there once at most.
    pub idempotent: bool,
    /// How many records it sent.
    pub sent: i64,
    /// Acknowledged records.
    pub acknowledged: Vec<Acknowledged>,
    /// How many records failed, and why the first of them did.
    pub failed: (usize, Option<String>),
}

/// A record that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its partition.
    pub partition: i32,
    /// Its number among the stream's records of that partition.
    pub sequence: i64,
    /// Its offset, if the producer was told.
    pub offset: Option<i64>,
}

/// A broken promise, or something that makes the test worthless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An acknowledged record is nowhere.
    Lost(String, Acknowledged),
    /// Another record is where an acknowledged one should be.
    Displaced(String, Acknowledged, String),
    /// A record of an idempotent stream is there twice.
    Repeated(String, i32, i64, [i64; 2]),
    /// A record is there after a later one of the same stream.
    OutOfOrder(String, i32, i64, i64),
    /// A record is there that nobody sent.
    Unsent(i32, i64, String),
    /// Offsets are missing or are there twice.
    Gap(i32, i64, i64),
    /// A producer gave up on records, although the broker came back each time.
    GaveUp(String, usize, String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |f: &mut fmt::Formatter<'_>, ack: &Acknowledged| match ack.offset {
            Some(offset) => write!(f, "partition {} at offset {offset}", ack.partition),
            None => write!(f, "partition {}", ack.partition),
        };
        match self {
            Self::Lost(stream, ack) => {
                write!(f, "LOST: {stream}'s record {} was acknowledged in ", ack.sequence)?;
                place(f, ack)?;
                f.write_str(" and is nowhere")
            }
            Self::Displaced(stream, ack, found) => {
                write!(f, "DISPLACED: {stream}'s record {} was acknowledged in ", ack.sequence)?;
                place(f, ack)?;
                write!(f, ", where {found} is")
            }
            Self::Repeated(stream, partition, sequence, [first, second]) => write!(
                f,
                "REPEATED: {stream}'s record {sequence} is in partition {partition} at {first} and at {second}"
            ),
            Self::OutOfOrder(stream, partition, sequence, offset) => write!(
                f,
                "OUT OF ORDER: {stream}'s record {sequence} is in partition {partition} at {offset}, after later ones"
            ),
            Self::Unsent(partition, offset, value) => {
                write!(f, "UNSENT: partition {partition} holds {value:?} at {offset}, which nobody sent")
            }
            Self::Gap(partition, expected, found) => {
                write!(f, "GAP: partition {partition} goes on at {found} where {expected} is next")
            }
            Self::GaveUp(stream, count, reason) => {
                write!(f, "GAVE UP: {stream} was refused {count} records, first: {reason}")
            }
        }
    }
}

/// Reads a stream's outcomes.
pub fn read(path: &Path, stream: &str, idempotent: bool, sent: i64) -> Result<Ledger> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut ledger =
        Ledger { stream: stream.to_owned(), idempotent, sent, acknowledged: Vec::new(), failed: (0, None) };
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().with_context(|| format!("{}: {line:?}", path.display()));
        match word()? {
            "ack" => {
                let (partition, sequence) = (word()?.parse()?, word()?.parse()?);
                let offset: i64 = word()?.parse()?;
                ledger.acknowledged.push(Acknowledged {
                    partition,
                    sequence,
                    offset: (offset >= 0).then_some(offset),
                });
            }
            "fail" => {
                ledger.failed.0 += 1;
                ledger.failed.1.get_or_insert(line.to_owned());
            }
            _ => bail!("{}: {line:?}", path.display()),
        }
    }
    Ok(ledger)
}

/// Checks every promise.
pub fn verify(ledgers: &[Ledger], log: &[Record]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let found = index(ledgers, log, &mut violations);
    for ledger in ledgers {
        if let (count @ 1.., reason) = &ledger.failed {
            violations.push(Violation::GaveUp(
                ledger.stream.clone(),
                *count,
                reason.clone().unwrap_or_default(),
            ));
        }
        check_order(ledger, &found, &mut violations);
        check_acknowledged(ledger, log, &found, &mut violations);
    }
    violations
}

/// (stream, partition) to the sequences that lie there, with their offsets, in the order of the log.
type Found<'a> = BTreeMap<(&'a str, i32), Vec<(i64, i64)>>;

fn index<'a>(ledgers: &'a [Ledger], log: &[Record], violations: &mut Vec<Violation>) -> Found<'a> {
    let mut found = Found::new();
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for record in log {
        let expected = next.entry(record.partition).or_insert(0);
        if record.offset != *expected {
            violations.push(Violation::Gap(record.partition, *expected, record.offset));
        }
        *expected = record.offset + 1;
        let value = value_of(record);
        match identify(ledgers, record.partition, &value) {
            Some((ledger, sequence)) => {
                let place = found.entry((ledger.stream.as_str(), record.partition)).or_default();
                place.push((sequence, record.offset));
            }
            None => violations.push(Violation::Unsent(record.partition, record.offset, value)),
        }
    }
    found
}

fn value_of(record: &Record) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

fn identify<'a>(ledgers: &'a [Ledger], partition: i32, value: &str) -> Option<(&'a Ledger, i64)> {
    let mut parts = value.split(':');
    let stream = parts.next()?;
    let ledger = ledgers.iter().find(|ledger| ledger.stream == stream)?;
    let own: i32 = parts.next()?.parse().ok()?;
    let sequence: i64 = parts.next()?.parse().ok()?;
    let possible = own == partition && (0..ledger.sent).contains(&sequence) && parts.next().is_none();
    possible.then_some((ledger, sequence))
}

/// The first places of a stream's records are in order; an idempotent stream's only places.
fn check_order(ledger: &Ledger, found: &Found<'_>, violations: &mut Vec<Violation>) {
    for ((_, partition), places) in found.iter().filter(|((stream, _), _)| *stream == ledger.stream) {
        let mut firsts: BTreeMap<i64, i64> = BTreeMap::new();
        for (sequence, offset) in places {
            if let Some(first) = firsts.get(sequence) {
                if ledger.idempotent {
                    let stream = ledger.stream.clone();
                    violations.push(Violation::Repeated(stream, *partition, *sequence, [*first, *offset]));
                }
                continue;
            }
            if firsts.last_key_value().is_some_and(|(latest, _)| latest > sequence) {
                violations.push(Violation::OutOfOrder(ledger.stream.clone(), *partition, *sequence, *offset));
            }
            firsts.insert(*sequence, *offset);
        }
    }
}

fn check_acknowledged(ledger: &Ledger, log: &[Record], found: &Found<'_>, violations: &mut Vec<Violation>) {
    let mut offsets: BTreeMap<(i32, i64), Vec<i64>> = BTreeMap::new();
    for ((stream, partition), places) in found {
        if *stream == ledger.stream {
            for (sequence, offset) in places {
                offsets.entry((*partition, *sequence)).or_default().push(*offset);
            }
        }
    }
    for ack in &ledger.acknowledged {
        let there = offsets.get(&(ack.partition, ack.sequence)).map_or(&[][..], Vec::as_slice);
        match ack.offset {
            _ if there.is_empty() => violations.push(Violation::Lost(ledger.stream.clone(), *ack)),
            Some(offset) if !there.contains(&offset) => {
                let other =
                    log.iter().find(|record| record.partition == ack.partition && record.offset == offset);
                let other = other.map_or("nothing".to_owned(), value_of);
                violations.push(Violation::Displaced(ledger.stream.clone(), *ack, other));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64, value: &str) -> Record {
        let value = Some(value.as_bytes().to_vec());
        Record { partition, offset, timestamp: 0, key: None, value, headers: vec![] }
    }

    fn ack(sequence: i64, offset: i64) -> Acknowledged {
        Acknowledged { partition: 0, sequence, offset: (offset >= 0).then_some(offset) }
    }

    fn ledgers() -> Vec<Ledger> {
        let ledger = |stream: &str, idempotent, acknowledged| Ledger {
            stream: stream.to_owned(),
            idempotent,
            sent: 10,
            acknowledged,
            failed: (0, None),
        };
        vec![
            ledger("once", true, vec![ack(0, 0), ack(1, 2)]),
            ledger("plain", false, vec![ack(0, 1), ack(1, -1)]),
        ]
    }

    /// Two streams' records between each other, a repeated one of the plain stream, and another partition.
    fn log() -> Vec<Record> {
        let mut log: Vec<Record> =
            ["once:0:0", "plain:0:0", "once:0:1", "plain:0:0", "plain:0:1", "once:0:2"]
                .iter()
                .zip(0..)
                .map(|(value, offset)| record(0, offset, value))
                .collect();
        log.push(record(1, 0, "once:1:0"));
        log
    }

    fn check(change: impl FnOnce(&mut Vec<Ledger>, &mut Vec<Record>), expected: &[&str]) {
        let (mut ledgers, mut log) = (ledgers(), log());
        change(&mut ledgers, &mut log);
        let violations: Vec<String> = verify(&ledgers, &log).iter().map(ToString::to_string).collect();
        assert_eq!(violations.len(), expected.len(), "{violations:#?}");
        for (violation, expected) in violations.iter().zip(expected) {
            assert!(violation.starts_with(expected), "{violation}");
        }
    }

    #[test]
    fn kept_promises_are_fine() {
        check(|_, _| {}, &[]);
    }

    #[test]
    fn every_broken_promise_is_found() {
        check(
            |_, log| drop(log.remove(4)),
            &["GAP: partition 0 goes on at 5 where 4", "LOST: plain's record 1"],
        );
        check(
            |ledgers, _| ledgers[0].acknowledged.push(ack(3, 6)),
            &["LOST: once's record 3 was acknowledged"],
        );
        check(
            |ledgers, _| ledgers[1].acknowledged[1].offset = Some(2),
            &["DISPLACED: plain's record 1 was acknowledged in partition 0 at offset 2, where once:0:1 is"],
        );
        check(
            |_, log| log.push(record(1, 1, "once:1:0")),
            &["REPEATED: once's record 0 is in partition 1 at 0"],
        );
        check(|_, log| log.push(record(1, 1, "plain:1:2")), &[]);
        check(
            |_, log| log.extend([record(1, 1, "plain:1:2"), record(1, 2, "plain:1:1")]),
            &["OUT OF ORDER: plain's record 1 is in partition 1 at 2"],
        );
        check(|_, log| log.push(record(1, 1, "once:0:5")), &["UNSENT: partition 1 holds \"once:0:5\" at 1"]);
        check(|_, log| log.push(record(1, 1, "once:1:10")), &["UNSENT"]);
        check(
            |ledgers, _| ledgers[0].failed = (2, Some("why".into())),
            &["GAVE UP: once was refused 2 records"],
        );
    }
}
