//! H5: each (producer id, epoch, sequence) appears once in a log, and each value of an idempotent producer once.
//!
//! Sequences are watched as batches are appended. Source: durability.md (H5); KAFKA-9892 (producer state lost by a
//! crash); "duplicate" of the Jepsen Kafka workload.

use super::index::shown;
use super::rules::check;
use super::{Checker, End, Seen};
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_types::{LogId, Offset, PartitionIndex, ProducerEpoch, ProducerId};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct NothingTwice {
    logs: BTreeMap<(NodeId, LogId), Sequences>,
}

/// The sequence numbers of what stands in a log.
#[derive(Debug, Default)]
struct Sequences {
    /// By first sequence: the last one, and the first offset.
    ranges: BTreeMap<(ProducerId, ProducerEpoch), BTreeMap<i64, (i64, Offset)>>,
}

impl Sequences {
    fn add(
        &mut self,
        producer: (ProducerId, ProducerEpoch),
        first: i64,
        last: i64,
        base: Offset,
    ) -> Option<Offset> {
        let known = self.ranges.entry(producer).or_default();
        let twice =
            known.range(..=last).next_back().filter(|(_, range)| range.0 >= first).map(|(_, range)| range.1);
        known.insert(first, (last, base));
        twice
    }

    fn cut(&mut self, end: Offset) {
        self.keep(|base| base < end);
    }

    fn keep(&mut self, keeps: impl Fn(Offset) -> bool) {
        for known in self.ranges.values_mut() {
            known.retain(|_, &mut (_, base)| keeps(base));
        }
    }
}

impl Checker for NothingTwice {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match *seen.event {
            Event::Appended { log, base, last, producer: Some((id, epoch, first)), .. } => {
                let first = i64::from(first);
                let end = first + (last.0 - base.0);
                let twice = self.logs.entry((seen.node, log)).or_default().add((id, epoch), first, end, base);
                let Some(at) = twice.filter(|_| seen.is_honest()) else { return Ok(()) };
                let text = format!(
                    "sequences {first} to {end} of producer {id}, epoch {epoch}, are written at offset {base}; they \
                     stand already at offset {at}"
                );
                Err(seen.place(Violation::new("H5", text)))
            }
            Event::Truncated { log, end } | Event::Recovered { log, end, .. } => {
                if let Some(known) = self.logs.get_mut(&(seen.node, log)) {
                    known.cut(end);
                }
                Ok(())
            }
            Event::Restarted { log, .. } => {
                self.logs.remove(&(seen.node, log));
                Ok(())
            }
            // A producer of which nothing stands in the log any more may be forgotten.
            Event::LogStart { log, start } => {
                if let Some(known) = self.logs.get_mut(&(seen.node, log)) {
                    known.keep(|base| base >= start);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn node_wiped(&mut self, node: NodeId) {
        self.logs.retain(|(at, _), _| *at != node);
    }

    fn log_reopened(&mut self, node: NodeId, log: LogId) {
        self.logs.remove(&(node, log));
    }

    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        let mut places: BTreeMap<&[u8], (&str, PartitionIndex, Offset)> = BTreeMap::new();
        for ((topic, partition), state) in &end.state.partitions {
            for record in &state.records {
                let Some(value) = record.value.as_deref() else { continue };
                let here = (&**topic, *partition, record.offset);
                let Some((topic, partition, offset)) = places.insert(value, here) else { continue };
                let idempotent = end.index.sent(value).filter(|sent| sent.idempotent);
                let Some(sent) = idempotent.filter(|_| !end.ghost.has_misplaced()) else { continue };
                check(false, "H5", || {
                    format!(
                        "client {} sent {} once, with an idempotent producer; it stands at {topic}-{partition} offset \
                         {offset} and at {}-{} offset {}",
                        sent.client,
                        shown(Some(value)),
                        here.0,
                        here.1,
                        here.2
                    )
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::{Stage, Tale};
    use super::NothingTwice;

    fn stage() -> Stage {
        let mut stage = Stage::new(NothingTwice::default());
        stage.produce(0, 4, (1, 0, 0)).produce(5, 5, (1, 0, 5)).synced(6);
        stage
    }

    #[test]
    fn sequences_that_go_on_pass() {
        stage()
            .produce(6, 6, (1, 0, 6))
            .produce(7, 7, (1, 1, 0))
            .produce(8, 8, (2, 0, 0))
            .append(9, 9)
            .passes();
    }

    #[test]
    fn a_sequence_that_stands_twice_is_found() {
        stage().produce(6, 6, (1, 0, 5)).finds("H5", "they stand already at offset 5");
        stage().produce(6, 7, (1, 0, 4)).finds("H5", "sequences 4 to 5 of producer 1, epoch 0");
        stage().crash().recovered(0, 6, 6).produce(6, 6, (1, 0, 5)).finds("H5", "offset 6");
    }

    #[test]
    fn what_was_cut_off_or_removed_may_come_again() {
        stage().truncated(5).produce(5, 5, (1, 0, 5)).passes();
        stage().crash().recovered(0, 5, 5).produce(5, 5, (1, 0, 5)).passes();
        stage().log_start(6).produce(6, 10, (1, 0, 0)).passes();
        stage().lie().produce(6, 6, (1, 0, 5)).passes();
    }

    #[test]
    fn a_value_that_stands_twice_is_found_for_idempotent_producers() {
        Tale::of_three().passes(NothingTwice::default());
        let told = "it stands at orders-0 offset 1 and at orders-0 offset 3";
        Tale::of_three().stands(3, "v-1").finds(NothingTwice::default(), "H5", told);
        let mut tale = Tale::new();
        tale.acked_by(0, "a", -1, false).stands(0, "a").stands(1, "a").passes(NothingTwice::default());
    }
}
