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
use highwater_metadata::METADATA_LOG;
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

impl Acknowledgements {
    /// A change of the metadata was carried out, and carries the same promise: changes follow each other, so it is the
    /// newest batch of their log.
    fn changed(&self, seen: &Seen<'_>) -> Result<(), Violation> {
        let log = seen.ghost.replica(seen.node, METADATA_LOG).filter(|_| self.durable && seen.is_honest());
        let Some((&base, batch)) = log.and_then(|log| log.batches.last_key_value()) else { return Ok(()) };
        let last = batch.last;
        check(durable::holds(seen.disk, METADATA_LOG, base, last, batch.checksum), "S14", || {
            format!(
                "a topic came or went; a power loss now would lose offsets {base} to {last} of the metadata, which say so"
            )
        })
    }
}

impl Checker for Acknowledgements {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let checked = match *seen.event {
            Event::Acknowledged { log, base, last, acks: -1 } => self.acknowledged(seen, log, base, last),
            Event::TopicCreated { .. } | Event::TopicDeleted { .. } => self.changed(seen),
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
            let mut below = durable::segments(disk, &dir).into_iter().filter(|&segment| segment <= base);
            let Some(segment) = below.next_back() else { return false };
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
mod tests;
