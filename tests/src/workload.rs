//! The records that a client is given to send: a real text, with keys, headers and timestamps.

use crate::clients::{Headers, Profile};
use crate::record::{Header, Record};
use std::collections::BTreeMap;

/// The partitions of every topic here.
pub const PARTITIONS: i32 = 4;
/// Every so manyth record has no key, or no value, where the client can say so. None lacks both: kafka-python refuses.
const NO_KEY_EVERY: usize = 10;
const NO_VALUE_EVERY: usize = 997;
/// How far apart records are in time, and how far out of order, in milliseconds.
const STEP_MS: i64 = 7;
const JITTER_MS: i64 = 100;
/// How far back the text begins, in milliseconds: old enough not to be the present, young enough to be retained.
pub const AGE_MS: i64 = 30 * 60 * 1000;

/// The headers of every record of a client that cannot set them one by one.
pub const CONSTANT_HEADERS: &[(&str, Option<&str>)] =
    &[("order", Some("1")), ("none", None), ("order", Some("2")), ("empty", Some(""))];

/// Records `from..from + lines.len()` of a workload that began at `start_ms`.
pub fn records(lines: &[String], from: usize, start_ms: i64, profile: &Profile) -> Vec<Record> {
    let numbered = (from..).zip(lines);
    numbered.map(|(number, line)| record(number, line, start_ms, profile)).collect()
}

fn record(number: usize, line: &str, start_ms: i64, profile: &Profile) -> Record {
    let mixed = number.wrapping_mul(2_654_435_761) >> 7;
    let key = format!("record {number}").into_bytes();
    let at = start_ms + STEP_MS * number as i64 + (mixed as i64 % JITTER_MS);
    let no_key = profile.nulls && number.is_multiple_of(NO_KEY_EVERY);
    let no_value = profile.nulls && number % NO_VALUE_EVERY == 1 && !no_key;
    Record {
        // Runs of one partition, of uneven lengths.
        partition: ((number / 5 + mixed % 3) % PARTITIONS as usize) as i32,
        offset: -1,
        timestamp: at,
        key: (!no_key).then_some(key),
        value: (!no_value).then(|| line.as_bytes().to_vec()),
        headers: headers(number, profile.headers),
    }
}

fn headers(number: usize, style: Headers) -> Vec<Header> {
    let header =
        |key: &str, value: Option<&str>| (key.to_owned(), value.map(|value| value.as_bytes().to_vec()));
    let line = format!("{number}");
    match (style, number % 3) {
        (Headers::Constant, _) => CONSTANT_HEADERS.iter().map(|(key, value)| header(key, *value)).collect(),
        (_, 0) => Vec::new(),
        (_, 1) => vec![header("line", Some(&line)), header("grüße", Some(""))],
        (Headers::Any, _) => {
            vec![header("b", Some(&line)), header("a", None), header("b", Some("")), header("b", Some("2"))]
        }
        (Headers::NoNulls, _) => {
            vec![header("b", Some(&line)), header("a", Some("")), header("b", Some("2"))]
        }
        (Headers::Grouped, _) => {
            vec![header("b", Some(&line)), header("b", Some("2")), header("a", Some(""))]
        }
    }
}

/// The offsets that the records get when each partition takes them in this order.
pub fn placed(mut records: Vec<Record>) -> Vec<Record> {
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    for record in &mut records {
        let end = ends.entry(record.partition).or_insert(0);
        record.offset = *end;
        *end += 1;
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients;

    #[test]
    fn a_workload_has_everything_that_can_go_wrong() {
        let lines: Vec<String> = (0..3000).map(|number| format!("line {number}")).collect();
        let profile = clients::profile("java").unwrap();
        let records = records(&lines, 0, 1_000_000, profile);
        for partition in 0..PARTITIONS {
            let here: Vec<_> = records.iter().filter(|record| record.partition == partition).collect();
            assert!(here.len() > 400, "partition {partition} has {}", here.len());
            assert!(here.iter().any(|record| record.key.is_none()));
            assert!(!here.is_sorted_by_key(|record| record.timestamp), "time runs straight");
        }
        assert!(records.iter().any(|record| record.value.is_none()));
        assert!(records.iter().any(|record| record.headers.len() == 4 && record.headers[1].1.is_none()));
        assert_eq!(records[..100], super::records(&lines[..100], 0, 1_000_000, profile)[..]);
    }
}
