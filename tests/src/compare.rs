//! What was read against what was sent.

use crate::record::Record;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How much of a key or value is shown.
const SHOWN_BYTES: usize = 80;

/// What timestamps must be.
#[derive(Clone, Debug)]
pub enum Timestamps {
    /// Those that were sent.
    Sent,
    /// The client made them, in this time.
    Within(RangeInclusive<i64>),
}

/// Checks that every partition holds exactly what was sent to it from offset `starts[partition]` on (0 if not given),
/// in order, whole, and at consecutive offsets.
pub fn same(
    sent: &[Record],
    read: &[Record],
    starts: &BTreeMap<i32, i64>,
    timestamps: &Timestamps,
) -> Result<(), String> {
    let sent = by_partition(sent);
    let read = by_partition(read);
    for (partition, sent) in &sent {
        let start = starts.get(partition).copied().unwrap_or(0);
        let skipped =
            usize::try_from(start).map_err(|_| format!("partition {partition} starts at {start}"))?;
        let sent = sent.get(skipped..).unwrap_or_default();
        let read = read.get(partition).map_or(&[][..], Vec::as_slice);
        for (offset, (sent, read)) in (start..).zip(sent.iter().zip(read)) {
            check(sent, read, offset, timestamps)
                .map_err(|difference| format!("partition {partition}, offset {offset}: {difference}"))?;
        }
        if sent.len() != read.len() {
            let (expected, found) = (sent.len(), read.len());
            return Err(format!(
                "partition {partition}: {expected} records expected from {start} on, {found} read"
            ));
        }
    }
    match read.keys().find(|partition| !sent.contains_key(partition)) {
        Some(partition) => Err(format!("partition {partition} holds records; none was sent there")),
        None => Ok(()),
    }
}

fn by_partition(records: &[Record]) -> BTreeMap<i32, Vec<&Record>> {
    let mut partitions: BTreeMap<i32, Vec<&Record>> = BTreeMap::new();
    for record in records {
        partitions.entry(record.partition).or_default().push(record);
    }
    partitions
}

fn check(sent: &Record, read: &Record, offset: i64, timestamps: &Timestamps) -> Result<(), String> {
    if read.offset != offset {
        return Err(format!("the record read there has offset {}", read.offset));
    }
    if read.key != sent.key {
        return Err(format!("key {} read as {}", shown(sent.key.as_ref()), shown(read.key.as_ref())));
    }
    if read.value != sent.value {
        return Err(format!("value {} read as {}", shown(sent.value.as_ref()), shown(read.value.as_ref())));
    }
    if read.headers != sent.headers {
        return Err(format!("headers {:?} read as {:?}", sent.headers, read.headers));
    }
    let fits = match timestamps {
        Timestamps::Sent => read.timestamp == sent.timestamp,
        Timestamps::Within(range) => range.contains(&read.timestamp),
    };
    if !fits {
        return Err(format!("timestamp {} read as {} ({timestamps:?})", sent.timestamp, read.timestamp));
    }
    Ok(())
}

fn shown(bytes: Option<&Vec<u8>>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) => {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned();
            format!("{text:?}{}", if bytes.len() > SHOWN_BYTES { "..." } else { "" })
        }
    }
}

/// The offset that ListOffsets owes for a time: the first record at or after it, found by looking at each; -1 for
/// none.
pub fn offset_for_time(records: &[Record], partition: i32, time: i64) -> i64 {
    let mut here: Vec<&Record> = records.iter().filter(|record| record.partition == partition).collect();
    here.sort_by_key(|record| record.offset);
    here.iter().find(|record| record.timestamp >= time).map_or(-1, |record| record.offset)
}

/// The offset of the first of the records with the highest timestamp; -1 for none.
pub fn offset_of_highest_time(records: &[Record], partition: i32) -> i64 {
    let here = records.iter().filter(|record| record.partition == partition);
    here.max_by_key(|record| (record.timestamp, -record.offset)).map_or(-1, |record| record.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64, value: &str) -> Record {
        let value = Some(value.as_bytes().to_vec());
        let headers = vec![("a".to_owned(), None), ("a".to_owned(), Some(vec![1]))];
        Record { partition, offset, timestamp: 1000 + offset, key: None, value, headers }
    }

    fn log() -> Vec<Record> {
        vec![record(0, 0, "one"), record(1, 0, "two"), record(0, 1, "three")]
    }

    fn check(change: impl FnOnce(&mut Vec<Record>), expected: Option<&str>) {
        let mut read = log();
        change(&mut read);
        let outcome = same(&log(), &read, &BTreeMap::new(), &Timestamps::Sent);
        match expected {
            None => outcome.unwrap(),
            Some(part) => {
                let error = outcome.unwrap_err();
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn every_difference_is_found() {
        check(|_| {}, None);
        check(|read| read.swap(0, 1), None);
        check(|read| read.swap(0, 2), Some("partition 0, offset 0: the record read there has offset 1"));
        check(|read| drop(read.pop()), Some("partition 0: 2 records expected from 0 on, 1 read"));
        check(
            |read| read.push(record(0, 2, "four")),
            Some("partition 0: 2 records expected from 0 on, 3 read"),
        );
        check(|read| read.push(record(2, 0, "four")), Some("partition 2 holds records"));
        check(|read| read[0].value = None, Some("value \"one\" read as null"));
        check(|read| read[0].key = Some(vec![]), Some("key null read as \"\""));
        check(|read| read[1].headers.reverse(), Some("partition 1, offset 0: headers"));
        check(|read| read[2].timestamp += 1, Some("timestamp 1001 read as 1002"));
        check(|read| read[2].offset += 1, Some("offset 1: the record read there has offset 2"));
    }

    #[test]
    fn deleted_records_are_not_expected() {
        let read = &log()[1..];
        same(&log(), read, &BTreeMap::from([(0, 1)]), &Timestamps::Sent).unwrap();
        same(&log(), read, &BTreeMap::new(), &Timestamps::Sent).unwrap_err();
    }

    #[test]
    fn times_are_found_by_looking_at_each() {
        let mut log = log();
        log.push(Record { timestamp: 1, ..record(0, 2, "early") });
        assert_eq!(offset_for_time(&log, 0, 0), 0);
        assert_eq!(offset_for_time(&log, 0, 1001), 1);
        assert_eq!(offset_for_time(&log, 0, 1002), -1);
        assert_eq!(offset_of_highest_time(&log, 0), 1);
        assert_eq!(offset_of_highest_time(&log, 7), -1);
    }
}
