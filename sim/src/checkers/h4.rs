//! H4: a producer's order is the offset order per partition; a consumer neither skips nor goes back in a session.
//!
//! The order of sends is promised to idempotent producers. Source: durability.md (H4); "nonmonotonic send", "poll skip"
//! and "nonmonotonic poll" of the Jepsen Kafka workload.

use super::index::{Got, Place, Sent, shown};
use super::keyed::Keyed;
use super::licence::{loss_reported, removed_by};
use super::{Checker, End, clock};
use crate::executor::Violation;
use crate::history::{FinalPartition, FinalRecord};
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
    let keyed = Keyed::new(end);
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
        if let Some(skipped) = between(partition, before.offset.next(), read.offset).find(|record| {
            let offset = record.offset;
            !is_damaged(end, partition.log, offset)
                && !removed_by(end.ghost, partition.log, offset, read.at)
                && !keyed.may_be_gone(end, place, record)
        }) {
            let skipped = skipped.offset;
            let text = format!("{}: it passed over offset {skipped}, which is still there", told());
            return Err(Violation::new("H4", text));
        }
    }
    Ok(())
}

/// Records of the final read from one offset to another.
fn between(partition: &FinalPartition, from: Offset, to: Offset) -> impl Iterator<Item = &FinalRecord> {
    let first = partition.records.partition_point(|record| record.offset < from);
    partition.records[first..].iter().take_while(move |record| record.offset < to)
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

#[cfg(test)]
mod tests {
    use super::super::kit::{LOG, Tale};
    use super::Order;
    use crate::history::Outcome;
    use highwater_env::Event;
    use highwater_types::Offset;

    #[test]
    fn order_passes() {
        let mut tale = Tale::of_three();
        tale.read(1, 0, "v-0").read(1, 1, "v-1").read(1, 2, "v-2").read(2, 1, "v-1").read(2, 2, "v-2");
        tale.passes(Order);
    }

    #[test]
    fn sends_out_of_order_are_found_for_idempotent_producers() {
        let mut tale = Tale::new();
        tale.stands(0, "b").stands(1, "a").acked(1, "a").acked(0, "b");
        tale.finds(
            Order,
            "H4",
            "client 3 sent \"a\" before \"b\", and was told that they stand at orders-0 offsets 1 and 0",
        );
        let mut tale = Tale::new();
        tale.stands(0, "b").stands(1, "a").acked_by(1, "a", -1, false).acked_by(0, "b", -1, false);
        tale.passes(Order);
    }

    #[test]
    fn a_consumer_that_goes_back_is_found() {
        let mut tale = Tale::of_three();
        tale.read(1, 1, "v-1").read(1, 1, "v-1");
        tale.finds(Order, "H4", "it went back");
    }

    #[test]
    fn a_consumer_that_skips_is_found() {
        let mut tale = Tale::of_three();
        tale.read(1, 0, "v-0").read(1, 2, "v-2");
        tale.finds(Order, "H4", "it passed over offset 1, which is still there");
        // What was removed before it came there cannot be read.
        tale.starts(2).passes(Order);
        // Nor can what its leader had removed, though another one has it still.
        let mut tale = Tale::of_three();
        tale.read(1, 0, "v-0").log_start(2).read(1, 2, "v-2").passes(Order);
        let mut tale = Tale::of_three();
        tale.read(1, 0, "v-0").read(1, 2, "v-2").log_start(2);
        tale.finds(Order, "H4", "it passed over offset 1");
    }

    #[test]
    fn a_final_read_with_a_gap_or_a_step_back_is_found() {
        Tale::of_three().without(1).finds(Order, "H4", "the final read of orders-0 passed over offset 1");
        let mut tale = Tale::of_three();
        tale.stands(2, "v-2");
        tale.finds(Order, "H4", "found offset 2 where 3 is next");
        let mut tale = Tale::of_three();
        tale.partition().config.insert("cleanup.policy".into(), "compact".into());
        tale.without(1).passes(Order);
        let mut tale = Tale::of_three();
        tale.partition().end = Offset(4);
        tale.finds(Order, "H4", "passed over offset 3");
    }

    #[test]
    fn what_a_lying_disk_lost_may_be_passed_over() {
        let mut tale = Tale::of_three();
        tale.read(1, 0, "v-0").read(1, 2, "v-2").without(1).lie();
        tale.finds(Order, "H4", "passed over offset 1");
        tale.tell(Event::Damaged { log: LOG, from: Offset(1), to: Offset(2) }).passes(Order);
        let mut tale = Tale::of_three();
        tale.acked(1, "again").lie().finds(Order, "H4", "offsets 2 and 1");
        tale.tell(Event::Damaged { log: LOG, from: Offset(1), to: Offset(3) }).passes(Order);
        tale.sent("open", Outcome::Unknown("timeout".into())).passes(Order);
    }
}
