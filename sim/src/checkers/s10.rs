//! S10: after a restart a log ends no earlier than its last completed sync, and its files hold what was appended.
//! Where a truncation was cut short it may end there as well. Compaction leaves the last batch of each producer, empty
//! or not: whoever learns of producers from the log alone knows them still. Nothing is called lost that was never
//! there.
//!
//! The fold of the log's durable files is made at every restart, and at some syncs. Source: durability.md (S10);
//! KAFKA-10101 (a recovery point beyond what was synced). What recovery makes of indexes, epochs and producers is
//! seen in what clients find (H5, H8).

use super::rules::{self, check};
use super::{Checker, End, Replica, Seen, clock, durable};
use crate::disk::SimDisk;
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_types::{LogId, Offset};
use std::collections::{BTreeMap, BTreeSet};

/// So many syncs of a log pass between two folds.
const SYNCS_PER_FOLD: u64 = 256;

/// See the module.
#[derive(Debug, Default)]
pub struct Recovery {
    ever_synced: BTreeMap<(NodeId, LogId), Offset>,
    syncs: BTreeMap<(NodeId, LogId), u64>,
    /// Logs that were there.
    made: BTreeSet<(NodeId, LogId)>,
    /// Logs whose deletion has begun.
    deleting: BTreeSet<(NodeId, LogId)>,
}

impl Recovery {
    fn proved(&mut self, seen: &Seen<'_>, log: LogId, end: Offset) {
        let known = self.ever_synced.entry((seen.node, log)).or_default();
        *known = (*known).max(end);
    }
}

impl Checker for Recovery {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let checked = match *seen.event {
            Event::Synced { log, end } => {
                self.proved(seen, log, end);
                let syncs = self.syncs.entry((seen.node, log)).or_default();
                *syncs += 1;
                if syncs.is_multiple_of(SYNCS_PER_FOLD) {
                    fold(seen, log, seen.replica().start, end)
                } else {
                    Ok(())
                }
            }
            Event::Truncated { log, end } | Event::Restarted { log, start: end } => {
                self.proved(seen, log, end);
                Ok(())
            }
            Event::Deleting { log } => {
                self.deleting.insert((seen.node, log));
                Ok(())
            }
            Event::Lost { log } => check(self.made.contains(&(seen.node, log)), "S10", || {
                "the log is called lost, and the node never made it".to_owned()
            }),
            Event::Made { log, start } => {
                self.made.insert((seen.node, log));
                let before = self.ever_synced.insert((seen.node, log), start).unwrap_or_default();
                let given_up = self.deleting.remove(&(seen.node, log)) || !seen.is_honest();
                check(before == Offset(0) || given_up, "S10", || {
                    format!("the log is made where there was none, and it was synced up to {before}")
                })
            }
            Event::LogStart { log, start } => producers_kept(seen, log, start),
            // Two generations of them are kept, so that no crash takes both.
            Event::MarksLost => check(!seen.is_honest(), "S10", || {
                "the proven marks cannot be read, and the disk has kept all that was synced".to_owned()
            }),
            Event::Damaged { from, to, .. } => check(!seen.is_honest(), "S10", || {
                format!(
                    "offsets {from} to {to} are reported damaged, and the disk has kept all that was synced"
                )
            }),
            Event::Recovered { log, start, end, proven, .. } => {
                self.made.insert((seen.node, log));
                if self.deleting.remove(&(seen.node, log)) && start == end {
                    // It is gone, and another one was being made in its place.
                    self.ever_synced.insert((seen.node, log), end);
                    return Ok(());
                }
                let ever = self.ever_synced.get(&(seen.node, log)).copied().unwrap_or_default();
                let checked = if seen.is_honest() {
                    let synced = seen.replica().synced;
                    let cutting = seen.replica().cutting;
                    let least = cutting.map_or(synced, |to| to.min(synced));
                    // One that was to begin anew elsewhere may have done so.
                    let ever = if cutting.is_some() && start == end { ever.max(end) } else { ever };
                    rules::recovered(least, ever, (end, proven)).and_then(|()| fold(seen, log, start, end))
                } else {
                    Ok(())
                };
                self.proved(seen, log, end);
                checked
            }
            _ => Ok(()),
        };
        checked.map_err(|violation| seen.place(violation))
    }

    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        let copies = end.ghost.replicas().filter(|(_, log, _)| end.ghost.compacted(*log) > Offset::ZERO);
        copies.filter(|_| end.is_strict()).try_for_each(|(node, log, copy)| {
            let deleted = end.ghost.deleted(log.topic).is_some();
            match end.disks.get(&node).filter(|_| !deleted) {
                Some(disk) => producers_left(end, disk, log, copy),
                None => Ok(()),
            }
        })
    }

    fn node_wiped(&mut self, node: NodeId) {
        self.ever_synced.retain(|(at, _), _| *at != node);
        self.deleting.retain(|(at, _)| *at != node);
        self.made.retain(|(at, _)| *at != node);
    }
}

/// What removed batches told of their producers stands in a snapshot, on disk.
fn producers_kept(seen: &Seen<'_>, log: LogId, start: Offset) -> Result<(), Violation> {
    let mut removed = seen.replica().batches.range(..start);
    if !seen.is_honest() || !removed.any(|(_, batch)| batch.producer.is_some()) {
        return Ok(());
    }
    // A log that is deleted has been renamed.
    let Some(dir) = durable::log_dir(seen.disk, log) else { return Ok(()) };
    check(durable::snapshots(seen.disk, &dir).any(|offset| offset >= start), "S10", || {
        format!(
            "the log starts at {start}; no snapshot on disk tells of the producers of what stood before it"
        )
    })
}

/// The last batch of each producer stands in a compacted log's files, with or without records.
fn producers_left(end: &End<'_>, disk: &SimDisk, log: LogId, copy: &Replica) -> Result<(), Violation> {
    let Some(dir) = durable::log_dir(disk, log) else { return Ok(()) };
    let mut last = BTreeMap::new();
    for (&base, batch) in copy.batches.range(copy.start..) {
        if let Some((id, epoch, sequence)) = batch.producer {
            last.insert(id, (base, epoch, sequence));
        }
    }
    let mut found = BTreeSet::new();
    for segment in durable::segments(disk, &dir) {
        found.extend(durable::batches(disk, &dir, segment).map(|batch| {
            let header = *batch.header();
            (header.producer_id, (header.base_offset, header.producer_epoch, header.base_sequence))
        }));
    }
    let compacted = end.ghost.compacted(log);
    let lost = last.into_iter().find(|&(id, at)| at.0 < compacted && !found.contains(&(id, at)));
    check(lost.is_none(), "S10", || {
        let (id, (base, epoch, sequence)) = lost.unwrap_or_default();
        format!(
            "{}: compaction left nothing of the last batch of producer {id}, epoch {epoch}: sequence {sequence}, at \
             offset {base}",
            end.ghost.name(log)
        )
    })
}

/// Everything from `start` to `end` stands in the log's durable files as it was appended.
fn fold(seen: &Seen<'_>, log: LogId, start: Offset, end: Offset) -> Result<(), Violation> {
    if !seen.is_honest() || seen.ghost.deleted(log.topic).is_some() {
        return Ok(());
    }
    let Some(dir) = durable::log_dir(seen.disk, log) else {
        return check(start == end, "S10", || {
            format!("the log's directory would not survive a power loss, and holds offsets {start} to {end}")
        });
    };
    let mut found = BTreeSet::new();
    for segment in durable::segments(seen.disk, &dir) {
        let batches = durable::batches(seen.disk, &dir, segment);
        found.extend(batches.map(|batch| (batch.header().base_offset, batch.header().crc)));
    }
    let compacted = seen.ghost.compacted(log);
    for (&base, batch) in seen.replica().batches.range(..end) {
        if base < compacted
            || batch.last < start
            || batch.last >= end
            || found.contains(&(base, batch.checksum))
        {
            continue;
        }
        let text = format!(
            "the log says that its offsets {start} to {end} are on disk; those from {base} to {}, appended at {}, are \
             not there as they were written",
            batch.last,
            clock(batch.at)
        );
        return Err(Violation::new("S10", text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kit::{LOG, Stage};
    use super::Recovery;
    use highwater_env::Event;
    use highwater_types::Offset;

    fn stage() -> Stage {
        let mut stage = Stage::new(Recovery::default());
        stage.write(0, 4).write(5, 9).sync_disk().synced(10);
        stage
    }

    #[test]
    fn a_restart_that_finds_what_was_synced_passes() {
        stage().crash().recovered(0, 10, 10).passes();
        stage().write(10, 12).crash().recovered(0, 10, 10).passes();
        stage().log_start(5).crash().recovered(5, 10, 5).passes();
    }

    #[test]
    fn a_restart_that_finds_less_than_was_synced_is_found() {
        stage().crash().recovered(0, 5, 5).finds("S10", "ends at 5 after a restart, and was synced up to 10");
        stage().truncated(5).crash().recovered(0, 5, 5).passes();
        stage().crash().lie().recovered(0, 5, 5).passes();
    }

    #[test]
    fn a_truncation_that_was_cut_short_may_leave_either_end() {
        stage().truncating(5).crash().recovered(0, 5, 5).passes();
        stage().truncating(5).crash().recovered(0, 10, 10).passes();
        let text = "ends at 0 after a restart, and was synced up to 5";
        stage().truncating(5).crash().recovered(0, 0, 0).finds("S10", text);
    }

    #[test]
    fn a_log_that_begins_anew_elsewhere_may_do_so_before_or_after_a_crash() {
        stage().truncating(0).restarted(50).crash().recovered(50, 50, 50).passes();
        stage().truncating(0).crash().recovered(50, 50, 50).passes();
        stage().truncating(0).crash().recovered(0, 10, 10).passes();
        let text = "ends at 0 after a restart, and was synced up to 50";
        stage().truncating(0).restarted(50).crash().recovered(0, 0, 0).finds("S10", text);
    }

    #[test]
    fn a_log_that_was_taken_away_and_given_back_begins_anew() {
        stage().deleting().made().crash().recovered(0, 0, 0).passes();
        // A crash in the middle of the deletion may leave it whole, and no less than that.
        stage().deleting().crash().recovered(0, 10, 10).passes();
        stage().deleting().crash().recovered(0, 0, 0).passes();
        let text = "ends at 5 after a restart, and was synced up to 10";
        stage().deleting().crash().recovered(0, 5, 5).finds("S10", text);
        stage().crash().made().finds("S10", "made where there was none, and it was synced up to 10");
    }

    #[test]
    fn a_mark_that_runs_ahead_of_the_syncs_is_found() {
        stage()
            .write(10, 12)
            .sync_disk()
            .crash()
            .recovered(0, 13, 13)
            .finds("S10", "the proven mark says 13");
    }

    #[test]
    fn a_log_whose_files_do_not_hold_what_it_says_is_found() {
        stage().write(10, 12).crash().recovered(0, 13, 10).finds("S10", "those from 10 to 12");
        let mut stage = Stage::new(Recovery::default());
        stage.append(0, 4).recovered(0, 5, 0).finds("S10", "directory would not survive");
    }

    #[test]
    fn a_sync_that_did_not_happen_is_found_at_a_later_one() {
        let mut stage = stage();
        stage.write(10, 12);
        for _ in 0..super::SYNCS_PER_FOLD {
            stage.synced(13);
        }
        stage.finds("S10", "those from 10 to 12");
    }

    #[test]
    fn removed_batches_of_producers_without_a_snapshot_are_found() {
        let mut stage = Stage::new(Recovery::default());
        stage.write(0, 4).sync_disk().produce(5, 9, (1, 0, 0)).append(10, 12);
        stage.log_start(10).finds("S10", "no snapshot on disk tells of the producers");
        let mut stage = Stage::new(Recovery::default());
        stage.append(0, 4).append(5, 9).log_start(5).passes();
    }

    #[test]
    fn marks_that_an_honest_disk_does_not_have_are_found() {
        stage().crash().marks_lost().finds("S10", "the proven marks cannot be read");
        stage().lie().crash().marks_lost().passes();
    }

    #[test]
    fn a_log_that_is_called_lost_and_was_never_there_is_found() {
        let lost = || Event::Lost { log: LOG };
        Stage::new(Recovery::default())
            .tell(lost())
            .finds("S10", "is called lost, and the node never made it");
        stage().crash().recovered(0, 10, 10).tell(lost()).passes();
        Stage::new(Recovery::default())
            .tell(Event::Made { log: LOG, start: Offset(0) })
            .tell(lost())
            .passes();
    }

    #[test]
    fn damage_on_an_honest_disk_is_found() {
        stage().damaged(3, 5).finds("S10", "reported damaged");
        stage().lie().damaged(3, 5).passes();
    }
}
