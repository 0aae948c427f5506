//! H4: a producer's order is the offset order per partition; a consumer neither skips nor goes back in a session.
//!
//! The order of sends is promised to idempotent producers. Source: durability.md (H4); "nonmonotonic send", "poll skip"
//! and "nonmonotonic poll" of the Jepsen Kafka workload.

use super::index::{Got, Place, Sent, shown};
use super::licence::loss_reported;
use super::{Checker, End, clock};
use crate::executor::Violation;
use crate::history::FinalPartition;
use highwater_types::{LogId, Offset};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct Order;

impl Checker for Order {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        sends(end)?;
        reads(end)?;
        final_read(end)
    }
}

fn sends(end: &End<'_>) -> Result<(), Violation> {
    let mut newest: BTreeMap<(u32, Place<'_>), (&Sent<'_>, Offset)> = BTreeMap::new();
    let mut sends: Vec<&Sent<'_>> = end.index.sends.iter().filter(|sent| sent.idempotent).collect();
    sends.sort_by_key(|sent| (sent.client, sent.number));
    for sent in sends {
        let Some((partition, offset, _)) = sent.promised().filter(|(_, offset, _)| offset.0 >= 0) else {
            continue;
        };
        let place = (sent.topic, partition);
        let Some((before, known)) = newest.insert((sent.client, place), (sent, offset)) else { continue };
        // After a loss that was reported, offsets begin again further down.
        if known < offset || lost(end, place, known) {
            continue;
        }
        let text = format!(
            "client {} sent {} before {}, and was told that they stand at {}-{partition} offsets {known} and {offset}",
            sent.client,
            shown(Some(before.value)),
            shown(Some(sent.value)),
            sent.topic
        );
        return Err(Violation::new("H4", text));
    }
    Ok(())
}

fn reads(end: &End<'_>) -> Result<(), Violation> {
    let mut newest: BTreeMap<(u32, u32, Place<'_>), &Got<'_>> = BTreeMap::new();
    for read in &end.index.reads {
        let place = (read.topic, read.partition);
        let Some(before) = newest.insert((read.client, read.session, place), read) else { continue };
        let told = || {
            format!(
                "client {} read {}-{} offset {} at {}, and then offset {} at {}",
                read.client,
                read.topic,
                read.partition,
                before.offset,
                clock(before.at),
                read.offset,
                clock(read.at)
            )
        };
        if read.offset <= before.offset && !lost(end, place, before.offset) {
            return Err(Violation::new("H4", format!("{}: it went back", told())));
        }
        let Some(partition) = end.state.partition(read.topic, read.partition) else { continue };
        if let Some(skipped) = between(partition, before.offset.next(), read.offset)
            .find(|&offset| !is_damaged(end, partition.log, offset))
        {
            let text = format!("{}: it passed over offset {skipped}, which is still there", told());
            return Err(Violation::new("H4", text));
        }
    }
    Ok(())
}

/// Offsets of the final read from one offset to another.
fn between(partition: &FinalPartition, from: Offset, to: Offset) -> impl Iterator<Item = Offset> {
    let first = partition.records.partition_point(|record| record.offset < from);
    partition.records[first..].iter().map(|record| record.offset).take_while(move |&offset| offset < to)
}

/// The fresh consumer of the final read finds every offset, once and in order. Compaction leaves gaps.
fn final_read(end: &End<'_>) -> Result<(), Violation> {
    for ((topic, index), partition) in &end.state.partitions {
        let mut expected = partition.start;
        let policy = partition.config.get("cleanup.policy").map(String::as_str).unwrap_or_default();
        let offsets = partition.records.iter().map(|record| record.offset).chain([partition.end]);
        for offset in offsets {
            if offset < expected {
                let text = format!(
                    "the final read of {topic}-{index} found offset {offset} where {expected} is next: it went back"
                );
                return Err(Violation::new("H4", text));
            }
            let skipped = (expected.0..offset.0).map(Offset).find(|&skipped| {
                !is_damaged(end, partition.log, skipped) && !lost(end, (topic, *index), skipped)
            });
            if let Some(skipped) = skipped.filter(|_| !policy.contains("compact")) {
                let text = format!(
                    "the final read of {topic}-{index} passed over offset {skipped}: the log says it holds {} to {}",
                    partition.start, partition.end
                );
                return Err(Violation::new("H4", text));
            }
            expected = if offset == partition.end { offset } else { offset.next() };
        }
    }
    Ok(())
}

fn is_damaged(end: &End<'_>, log: LogId, offset: Offset) -> bool {
    let misplaced = end.ghost.has_misplaced();
    !end.is_strict() && (misplaced || loss_reported(end.ghost, log, offset))
}

fn lost(end: &End<'_>, (topic, partition): Place<'_>, offset: Offset) -> bool {
    let log = end.state.partition(topic, partition).map(|partition| partition.log);
    let log = log.or_else(|| Some(LogId { topic: end.ghost.topic(topic)?, partition }));
    log.is_some_and(|log| is_damaged(end, log, offset))
}
