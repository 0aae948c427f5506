//! S14: when a client is told that all in-sync replicas have its batch, the batch lies below the high watermark and is
//! durable on the disk.
//!
//! The broker's own word for a sync counts nothing: the batch's bytes are looked for in the disk's durable image, from
//! where the last look ended. Source: durability.md (S14); NATS 7564 (an answer before the sync), and the study of
//! failed syncs at ATC 2020.

use super::rules::check;
use super::{Checker, Replica, Seen, durable};
use crate::disk::SimDisk;
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_records::Batches;
use highwater_types::{LogId, Offset};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// See the module.
#[derive(Debug)]
pub struct Acknowledgements {
    /// Whether a success promises the disk, or the page cache alone.
    durable: bool,
    scans: BTreeMap<(NodeId, LogId), Scan>,
}

impl Acknowledgements {
    /// A checker for successes that promise the disk (or else the page cache alone).
    pub fn new(durable: bool) -> Self {
        Self { durable, scans: BTreeMap::new() }
    }

    fn acknowledged(
        &mut self,
        seen: &Seen<'_>,
        log: LogId,
        base: Offset,
        last: Offset,
    ) -> Result<(), Violation> {
        let replica = seen.replica();
        if seen.ghost.deleted(log.topic).is_some() || base < replica.start || !seen.is_honest() {
            return Ok(());
        }
        let watermark = replica.high_watermark.unwrap_or_default();
        check(last < watermark, "S14", || {
            format!(
                "a client was told that offsets {base} to {last} are safe; the high watermark is {watermark}"
            )
        })?;
        let whole = replica.batch_at(base).is_some_and(|(at, _)| at == base)
            && replica.batch_at(last).is_some_and(|(_, batch)| batch.last == last);
        check(whole, "S14", || {
            format!("a client was told that offsets {base} to {last} are safe; no such batch was appended")
        })?;
        if !self.durable {
            return Ok(());
        }
        let scan = self.scans.entry((seen.node, log)).or_default();
        check(scan.covers(seen.disk, replica, log, base, last), "S14", || {
            format!(
                "a client was told that offsets {base} to {last} are safe; a power loss now would lose them"
            )
        })
    }
}

impl Checker for Acknowledgements {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let checked = match *seen.event {
            Event::Acknowledged { log, base, last, acks: -1 } => self.acknowledged(seen, log, base, last),
            Event::Synced { end, .. } => check(!seen.replica().poisoned, "S14", || {
                format!("a log that had failed reports itself synced up to {end}")
            }),
            Event::Truncated { log, .. } | Event::Recovered { log, .. } => {
                self.scans.remove(&(seen.node, log));
                Ok(())
            }
            _ => Ok(()),
        };
        checked.map_err(|violation| seen.place(violation))
    }

    fn node_stopped(&mut self, node: NodeId, _power_loss: bool) {
        self.scans.retain(|(at, _), _| *at != node);
    }
}

/// How far the durable image of a log was looked through.
#[derive(Debug, Default)]
struct Scan {
    place: Option<Place>,
    /// Everything from here to `to` was found as it was appended.
    from: Offset,
    to: Offset,
}

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    segment: Offset,
    position: u64,
}

impl Scan {
    fn covers(&mut self, disk: &SimDisk, replica: &Replica, log: LogId, base: Offset, last: Offset) -> bool {
        if self.place.is_none() {
            let Some(dir) = durable::log_dir(disk, log) else { return false };
            let below = durable::segments(disk, &dir).into_iter().filter(|&segment| segment <= base);
            let Some(segment) = below.last() else { return false };
            (self.from, self.to) = (segment, segment);
            self.place = Some(Place { dir, segment, position: durable::SEGMENT_HEADER_BYTES });
        }
        if base >= self.from && last >= self.to {
            self.go_on(disk, replica);
        }
        if base >= self.from && last < self.to {
            return true;
        }
        // An answer to a repeat of something old, or a gap that the walk does not pass.
        replica
            .batches
            .range(base..=last)
            .all(|(&at, batch)| durable::holds(disk, log, at, batch.last, batch.checksum))
    }

    /// Looks through what has become durable since.
    fn go_on(&mut self, disk: &SimDisk, replica: &Replica) {
        let Some(place) = &mut self.place else { return };
        loop {
            let path = durable::segment_path(&place.dir, place.segment);
            let bytes = disk.durable_tail(&path, place.position).unwrap_or_default();
            for batch in Batches::with_partial_tail(bytes).map_while(Result::ok) {
                let header = batch.header();
                let expected = replica.batches.get(&header.base_offset);
                if header.base_offset < self.to || expected.is_none_or(|known| known.checksum != header.crc) {
                    return;
                }
                place.position += header.size_bytes() as u64;
                self.to = header.next_offset();
            }
            let next = durable::segment_path(&place.dir, self.to);
            if self.to == place.segment || disk.durable_tail(&next, u64::MAX).is_none() {
                return;
            }
            (place.segment, place.position) = (self.to, durable::SEGMENT_HEADER_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kit::Stage;
    use super::Acknowledgements;

    fn stage() -> Stage {
        let mut stage = Stage::new(Acknowledgements::new(true));
        stage.write(0, 4).sync_disk().synced(5).watermark(5);
        stage
    }

    #[test]
    fn what_is_on_disk_may_be_acknowledged() {
        let mut stage = stage();
        stage.acknowledged(0, 4).write(5, 5).write(6, 8).sync_disk().synced(9).watermark(9);
        stage.acknowledged(6, 8).acknowledged(5, 5).acknowledged(0, 4);
        stage.roll(9).write(9, 9).sync_disk().synced(10).watermark(10).acknowledged(9, 9);
        stage.crash().recovered(0, 10, 10).acknowledged(9, 9).acknowledged(0, 4).passes();
    }

    #[test]
    fn what_lies_above_the_watermark_is_found() {
        stage().write(5, 6).sync_disk().synced(7).acknowledged(5, 6).finds("S14", "the high watermark is 5");
    }

    #[test]
    fn what_was_not_appended_is_found() {
        stage().acknowledged(0, 3).finds("S14", "no such batch was appended");
        stage().acknowledged(1, 4).finds("S14", "no such batch was appended");
    }

    #[test]
    fn a_sync_that_is_told_and_did_not_happen_is_found() {
        let lost = "a power loss now would lose them";
        stage().write(5, 6).synced(7).watermark(7).acknowledged(5, 6).finds("S14", lost);
        stage().acknowledged(0, 4).write(5, 6).synced(7).watermark(7).acknowledged(5, 6).finds("S14", lost);
        let mut stage = Stage::new(Acknowledgements::new(true));
        stage.write(0, 4).synced(5).watermark(5).acknowledged(0, 4).finds("S14", lost);
    }

    #[test]
    fn a_new_segment_without_a_durable_name_is_found() {
        let mut stage = stage();
        stage.acknowledged(0, 4).roll(5).write(5, 6).sync_data().synced(7).watermark(7).acknowledged(5, 6);
        stage.finds("S14", "a power loss now would lose them");
    }

    #[test]
    fn other_bytes_than_those_that_were_appended_are_found() {
        let mut stage = stage();
        stage.write_otherwise(5, 6).sync_disk().synced(7).watermark(7).acknowledged(5, 6);
        stage.finds("S14", "a power loss now would lose them");
    }

    #[test]
    fn a_sync_of_a_failed_log_is_found() {
        stage().write(5, 6).poisoned().sync_disk().synced(7).finds("S14", "a log that had failed");
        stage().write(5, 6).poisoned().crash().recovered(0, 5, 5).write(5, 6).sync_disk().synced(7).passes();
    }

    #[test]
    fn what_is_not_promised_is_not_asked_for() {
        stage().write(5, 6).lie().synced(7).watermark(7).acknowledged(5, 6).passes();
        stage().topic_deleted().acknowledged(5, 6).passes();
        stage().write(5, 6).acknowledged_by_one(5, 6).passes();
        stage().log_start(5).acknowledged(0, 4).passes();
        let mut cached = Stage::new(Acknowledgements::new(false));
        cached.write(0, 4).watermark(5).acknowledged(0, 4).passes();
    }
}
