//! S9: (log, epoch, offset) to checksum is written once, whatever replica writes it; epochs never fall along a log;
//! appends are contiguous.
//!
//! What recovery cut off the only copy was never promised to anybody: a broker without followers goes on in the same
//! epoch there. Source: durability.md (S9); KAFKA-10778, where an offset was used again after a failed append.

use super::rules::{self, Written};
use super::{Checker, Seen};
use crate::executor::Violation;
use highwater_env::Event;
use highwater_metadata::METADATA_LOG;
use highwater_types::LogId;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct WrittenOnce {
    logs: BTreeMap<LogId, Written>,
}

impl Checker for WrittenOnce {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match *seen.event {
            Event::Appended { log, base, last, epoch, checksum, .. } => {
                let replica = seen.replica();
                let previous = replica.batches.range(..base).next_back().map(|(_, batch)| batch.epoch);
                let checked = rules::appended((base, last), replica.end, previous, epoch);
                // Each member of the quorum writes entries down with a time of its own: what is in them is S3.
                let once = |()| match log {
                    METADATA_LOG => Ok(()),
                    // A follower writes what its leader's compaction has left.
                    log if base < seen.ghost.compacted(log) => Ok(()),
                    log => self.logs.entry(log).or_default().once(epoch, base, checksum),
                };
                checked.and_then(once).map_err(|violation| seen.place(violation))
            }
            Event::Recovered { log, end, .. } => {
                let elsewhere = seen.ghost.copies(log).any(|(node, copy)| {
                    node != seen.node
                        && copy.batches.last_key_value().is_some_and(|(_, batch)| batch.last >= end)
                });
                if let Some(written) = self.logs.get_mut(&log).filter(|_| !elsewhere) {
                    written.forget_from(end);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::Stage;
    use super::WrittenOnce;

    fn stage() -> Stage {
        let mut stage = Stage::new(WrittenOnce::default());
        stage.append_as(0, 4, 1, 0xaa).append_as(5, 9, 2, 0xbb);
        stage
    }

    #[test]
    fn appends_in_order_pass_also_where_an_unsynced_tail_was_cut_off() {
        let mut stage = stage();
        stage.append_as(10, 10, 2, 0xcc).synced(10).crash().recovered(0, 10, 10).append_as(10, 11, 2, 0xdd);
        stage.passes();
    }

    #[test]
    fn a_gap_and_an_overlap_are_found() {
        stage().append_as(11, 11, 2, 1).finds("S9", "appended at 11, and the log ended at 10");
        stage().append_as(9, 11, 2, 1).finds("S9", "appended at 9, and the log ended at 10");
        stage().append_as(10, 8, 2, 1).finds("S9", "a batch at 10 ends at 8");
    }

    #[test]
    fn an_epoch_that_falls_is_found() {
        stage().append_as(10, 10, 1, 1).finds("S9", "at 10 the epoch falls from 2 to 1");
    }

    #[test]
    fn an_offset_that_is_written_twice_is_found() {
        stage().truncated(5).append_as(5, 9, 2, 0xbb).passes();
        stage().truncated(5).append_as(5, 9, 3, 0xcc).passes();
        stage().truncated(5).append_as(5, 9, 2, 0xcc).finds("S9", "offset 5 was written twice in epoch 2");
    }

    #[test]
    fn replicas_that_write_different_things_are_found() {
        let mut stage = stage();
        stage.on(1).append_as(0, 4, 1, 0xaa).append_as(5, 9, 1, 0xcc).passes();
        stage
            .append_as(10, 10, 2, 0xdd)
            .on(0)
            .append_as(10, 10, 2, 0xee)
            .finds("S9", "offset 10 was written twice");
    }

    #[test]
    fn what_another_copy_holds_is_not_forgotten() {
        let mut stage = stage();
        stage.on(1).append_as(0, 4, 1, 0xaa).append_as(5, 9, 2, 0xbb).on(0);
        stage.crash().recovered(0, 5, 5).append_as(5, 9, 2, 0xcc).finds("S9", "written twice in epoch 2");
    }
}
