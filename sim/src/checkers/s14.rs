//! S14: when a client is told that all in-sync replicas have its batch, the batch lies below the high watermark, the
//! in-sync set is large enough, and the batch is durable on all of it: on disk, or in page caches where that is the
//! promise.
//!
//! The broker's own word for a sync counts nothing: the batch's bytes are looked for in the disks' durable images, from
//! where the last look ended. A page cache that went with its machine is not asked, nor what becomes of it later for
//! what the leader had below its high watermark before that: it may tell so late, or when it leads no more. If the
//! partition was moved off it meanwhile, even with a new log in the place of the one that it led with, another copy has
//! to hold the batch. Source: durability.md (S14); NATS 7564 (an answer before the sync), and the study of failed syncs
//! at ATC 2020.

use super::members::Members;
use super::rules::check;
use super::{Checker, Replica, Seen, Stop, durable};
use crate::disk::SimDisk;
use crate::executor::{NodeId, Violation};
use highwater_env::Event;
use highwater_metadata::METADATA_LOG;
use highwater_records::Batches;
use highwater_types::{BrokerId, LogId, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// See the module.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    scans: BTreeMap<(NodeId, LogId), Scan>,
    members: Members,
    /// Nodes that tell of a topic, and have not told yet of which entry it is.
    changing: BTreeSet<NodeId>,
    /// The last entry that was looked for; restarts tell of old ones again.
    looked_for: Option<u64>,
    /// The high watermarks that processes told.
    watermarks: BTreeMap<(NodeId, LogId), Offset>,
    /// What they were when the second node lost its power.
    before_loss: BTreeMap<(NodeId, LogId, NodeId), Offset>,
    /// What running processes knew of logs when they gave them up.
    given_up: BTreeMap<(NodeId, LogId), GivenUp>,
}

/// A log that a node deleted, because others have the partition.
#[derive(Clone, Debug)]
struct GivenUp {
    replica: Replica,
    watermark: Offset,
}

/// A batch that was acknowledged, perhaps among others.
#[derive(Clone, Copy)]
struct Told {
    log: LogId,
    base: Offset,
    last: Offset,
}

/// Whether a copy has just these offsets in whole batches.
fn has_whole(copy: &Replica, Told { base, last, .. }: Told) -> bool {
    copy.batch_at(base).is_some_and(|(at, _)| at == base)
        && copy.batch_at(last).is_some_and(|(_, batch)| batch.last == last)
}

fn check_appended(copy: &Replica, told: Told) -> Result<(), Violation> {
    let Told { base, last, .. } = told;
    check(has_whole(copy, told), "S14", || {
        format!("a client was told that offsets {base} to {last} are safe; no such batch was appended")
    })
}

impl Acknowledgements {
    fn acknowledged(&mut self, seen: &Seen<'_>, told: Told) -> Result<(), Violation> {
        let Told { log, base, last } = told;
        let replica = seen.replica();
        if seen.ghost.deleted(log.topic).is_some() || base < replica.start || !seen.is_honest() {
            return Ok(());
        }
        let given_up = self.given_up.get(&(seen.node, log)).filter(|_| !replica.leads());
        if let Some(own) = given_up.filter(|own| last < own.watermark).cloned() {
            check_appended(&own.replica, told)?;
            return self.others_hold(seen, &own.replica, told);
        }
        // One that leads no more knows of none, and tells late what it knew while it led.
        let known = replica.high_watermark.max(self.watermarks.get(&(seen.node, log)).copied());
        let watermark = known.unwrap_or_default();
        check(last < watermark, "S14", || {
            format!(
                "a client was told that offsets {base} to {last} are safe; the high watermark is {watermark}"
            )
        })?;
        check_appended(replica, told)?;
        self.holds(seen, replica, seen.node, told, "")?;
        let Some(set) = &replica.in_sync else { return Ok(()) };
        let least = seen.ghost.min_insync(log);
        check(set.committed.len() >= least, "S14", || {
            format!(
                "a client was told that offsets {base} to {last} are safe with {} in-sync replicas, and {least} are \
                 needed",
                set.committed.len()
            )
        })?;
        for &member in &set.committed {
            let node = seen.ghost.node_of(member).filter(|&node| node != seen.node);
            let replaced =
                node.and_then(|node| seen.ghost.machine(node)).is_none_or(|machine| machine.wipes > 0);
            if let Some(node) = node.filter(|&node| !replaced && seen.ghost.is_honest_at(node)) {
                self.holds(seen, replica, node, told, &format!(" of broker {member}, which is in sync,"))?;
            }
        }
        Ok(())
    }

    /// What a node tells late of a log that it has no more is held by another one.
    fn others_hold(&mut self, seen: &Seen<'_>, own: &Replica, told: Told) -> Result<(), Violation> {
        let Told { log, base, last } = told;
        if !seen.ghost.keeps(log) || seen.ghost.was_wiped(log, base) {
            return Ok(());
        }
        let copies = seen.ghost.copies(log).filter(|(node, copy)| *node != seen.node && !copy.deleting);
        let others: Vec<_> = copies.map(|(node, _)| node).collect();
        let held = others.into_iter().any(|node| self.holds(seen, own, node, told, "").is_ok());
        check(held, "S14", || {
            format!(
                "a client was told that offsets {base} to {last} are safe by a node that gave the log up meanwhile, and \
                 nobody else has them"
            )
        })
    }

    /// A node holds the batch as the leader does.
    fn holds(
        &mut self,
        seen: &Seen<'_>,
        leader: &Replica,
        node: NodeId,
        told: Told,
        whose: &str,
    ) -> Result<(), Violation> {
        let Told { log, base, last } = told;
        let empty = Replica::default();
        let copy = seen.ghost.replica(node, log).unwrap_or(&empty);
        // The partition was given to others, who have it, and the answer comes from before that.
        if copy.deleting {
            return Ok(());
        }
        // What its own retention removed, or compaction may have, it does not have to hold.
        let from = base.max(copy.start).max(seen.ghost.compacted(log));
        if seen.ghost.terms().durable {
            let Some(disk) = seen.disks.get(&node) else { return Ok(()) };
            let scan = self.scans.entry((node, log)).or_default();
            let held = from > last || scan.covers(disk, leader, log, from, last);
            return check(held, "S14", || {
                format!(
                    "a client was told that offsets {base} to {last} are safe; a power loss{whose} now would lose them"
                )
            });
        }
        // The page cache went with the power, and nobody knows of it yet: a loss that the promise allows for.
        if seen.ghost.machine(node).is_some_and(|machine| machine.lost_power) {
            return Ok(());
        }
        // The batch was safe before that, and the answer waited for others. Its leader may not know of the loss yet.
        if self.before_loss.get(&(seen.node, log, node)).is_some_and(|&watermark| last < watermark) {
            return Ok(());
        }
        let same = leader.batches.range(from..=last).all(|(at, batch)| {
            copy.batches
                .get(at)
                .is_some_and(|held| (held.epoch, held.checksum) == (batch.epoch, batch.checksum))
        });
        // A process that is down has told nothing of what it still has.
        check(same || copy.end.is_none(), "S14", || {
            format!(
                "a client was told that offsets {base} to {last} are safe; the page cache{whose} does not have them"
            )
        })
    }

    /// A topic came or went on a broker that tells of no quorum: it is one by itself, and makes one change at a time.
    fn changed_alone(seen: &Seen<'_>) -> Result<(), Violation> {
        let Some(log) = seen.ghost.replica(seen.node, METADATA_LOG) else { return Ok(()) };
        let Some((&base, batch)) = log.batches.last_key_value() else { return Ok(()) };
        let last = batch.last;
        check(durable::holds(seen.disk, METADATA_LOG, base, last, batch.checksum), "S14", || {
            format!(
                "a topic came or went; a power loss now would lose offsets {base} to {last} of the metadata, which \
                 say so"
            )
        })
    }

    /// A change of the metadata was carried out for the first time, and carries the same promise: the entry that says
    /// so is on the disks of a majority of its voters.
    fn changed(&self, seen: &Seen<'_>, index: u64, entry: (u64, u32)) -> Result<(), Violation> {
        let base = Offset(i64::try_from(index).unwrap_or(i64::MAX));
        // One that was brought up to date by a snapshot has no such entry.
        let log = seen.ghost.replica(seen.node, METADATA_LOG);
        let Some(batch) = log.and_then(|log| log.batches.get(&base)) else { return Ok(()) };
        let holds = |voter: &BrokerId| {
            let Some(node) = seen.ghost.node_of(*voter) else { return false };
            let copy = seen.ghost.replica(node, METADATA_LOG);
            // A snapshot may stand for it. Each voter writes it down with a time of its own.
            let own = copy.and_then(|copy| copy.batches.get(&base)).filter(|own| own.epoch == batch.epoch);
            copy.is_some_and(|copy| copy.start > base)
                || own.zip(seen.disks.get(&node)).is_some_and(|(own, disk)| {
                    durable::holds(disk, METADATA_LOG, base, own.last, own.checksum)
                })
        };
        let majority =
            |voters: &Vec<BrokerId>| voters.iter().filter(|voter| holds(voter)).count() > voters.len() / 2;
        let safe = self.members.voters_at(index, entry).any(|sets| sets.iter().all(majority));
        check(safe || seen.ghost.was_wiped(METADATA_LOG, base), "S14", || {
            format!(
                "a topic came or went by entry {index} of the metadata, which is on the disks of no majority of the \
                 voters"
            )
        })
    }

    /// A log was cut at its end: what lies there from now on is something else.
    fn cut(&mut self, node: NodeId, log: LogId, end: Offset) {
        if let Some(watermark) = self.watermarks.get_mut(&(node, log)) {
            *watermark = end.min(*watermark);
        }
        for (_, watermark) in self.before_loss.iter_mut().filter(|((at, of, _), _)| (*at, *of) == (node, log))
        {
            *watermark = end.min(*watermark);
        }
    }

    /// Follows what changes the metadata.
    fn hear_of_metadata(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let bound = seen.ghost.terms().durable && seen.ghost.is_honest();
        match *seen.event {
            Event::TopicCreated { .. } | Event::TopicDeleted { .. } => {
                if bound && seen.ghost.quorum().applied(seen.node).is_none() {
                    Self::changed_alone(seen)?;
                }
                self.changing.insert(seen.node);
            }
            Event::QuorumApplied { index, term, checksum } => {
                let changes = self.changing.remove(&seen.node);
                if changes && bound && self.looked_for < Some(index) {
                    self.looked_for = Some(index);
                    self.changed(seen, index, (term, checksum))?;
                }
            }
            _ => {}
        }
        self.members.take(seen.node, seen.event);
        Ok(())
    }
}

impl Checker for Acknowledgements {
    fn hear(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let checked = match *seen.event {
            Event::Acknowledged { log, base, last, acks: -1 } => {
                self.acknowledged(seen, Told { log, base, last })
            }
            Event::Synced { end, .. } => check(!seen.replica().poisoned, "S14", || {
                format!("a log that had failed reports itself synced up to {end}")
            }),
            Event::HighWatermark { log, end } => {
                self.watermarks.insert((seen.node, log), end);
                Ok(())
            }
            Event::Deleting { log } => {
                if let Some(&watermark) = self.watermarks.get(&(seen.node, log)) {
                    let replica = seen.replica().clone();
                    self.given_up.insert((seen.node, log), GivenUp { replica, watermark });
                }
                Ok(())
            }
            Event::Compacting { log, .. } => {
                self.scans.remove(&(seen.node, log));
                Ok(())
            }
            Event::Truncating { log, end } | Event::Truncated { log, end } => {
                self.scans.remove(&(seen.node, log));
                self.cut(seen.node, log, end);
                Ok(())
            }
            Event::Restarted { log, .. } | Event::Recovered { log, .. } => {
                self.scans.remove(&(seen.node, log));
                self.cut(seen.node, log, Offset::ZERO);
                Ok(())
            }
            _ => Ok(()),
        };
        checked.and_then(|()| self.hear_of_metadata(seen)).map_err(|violation| seen.place(violation))
    }

    fn node_stopped(&mut self, node: NodeId, how: Stop) {
        self.watermarks.retain(|&(at, _), _| at != node);
        self.given_up.retain(|&(at, _), _| at != node);
        self.before_loss.retain(|&(at, ..), _| at != node);
        if how == Stop::Power {
            let watermarks = self.watermarks.iter();
            self.before_loss.extend(watermarks.map(|(&(at, log), &offset)| ((at, log, node), offset)));
        }
        self.changing.remove(&node);
        self.members.stopped(node);
        self.scans.retain(|(at, _), _| *at != node);
    }

    fn log_reopened(&mut self, node: NodeId, log: LogId) {
        self.watermarks.remove(&(node, log));
        self.scans.remove(&(node, log));
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
