//! H1: every acknowledged record is at its offset in the final read, and on every replica once repair is done, unless a
//! licensed removal took it.
//!
//! What a consumer was given counts as well: it lay below the high watermark. Replicas are not asked: their files are
//! held against what was committed, which is what the final read comes from. Source: durability.md (H1); "lost write"
//! and "unseen" of the Jepsen Kafka workload.

use super::index::{Place, shown};
use super::keyed::Keyed;
use super::licence::{Licence, Licences, loss_reported};
use super::{Checker, End, PartitionState, clock, durable};
use crate::executor::Violation;
use crate::history::{FinalPartition, is_tombstone};
use highwater_types::{LogId, Offset, Timestamp};

/// See the module.
#[derive(Debug, Default)]
pub struct NothingLost;

/// What somebody was told of a record.
struct Promise<'a> {
    place: Place<'a>,
    /// None where the broker had the record and no longer knew where.
    offset: Option<Offset>,
    timestamp: Timestamp,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl Checker for NothingLost {
    fn finish(&mut self, end: &End<'_>) -> Result<(), Violation> {
        let licences = Licences::new(end);
        let keyed = Keyed::new(end);
        for sent in &end.index.sends {
            let Some((partition, offset, timestamp)) = sent.promised() else { continue };
            let promise = Promise {
                place: (sent.topic, partition),
                offset: Some(offset).filter(|offset| offset.0 >= 0),
                timestamp,
                key: sent.key.as_deref(),
                value: Some(sent.value),
            };
            keep(end, (&licences, &keyed), &promise).map_err(|found| {
                let at = sent.ended.map(clock).unwrap_or_default();
                let holds = match promise.offset {
                    Some(offset) => format!("offset {offset} holds"),
                    None => "has".to_owned(),
                };
                let text = format!(
                    "client {} was told at {at} that {}-{partition} {holds} {}; {found}",
                    sent.client,
                    sent.topic,
                    shown(promise.value)
                );
                Violation::new("H1", text)
            })?;
        }
        for read in &end.index.reads {
            let promise = Promise {
                place: (read.topic, read.partition),
                offset: Some(read.offset),
                timestamp: read.timestamp,
                key: read.key.as_deref(),
                value: read.value.as_deref(),
            };
            keep(end, (&licences, &keyed), &promise).map_err(|found| {
                let text = format!(
                    "client {} read {} at {} from {}-{} offset {}; {found}",
                    read.client,
                    shown(promise.value),
                    clock(read.at),
                    read.topic,
                    read.partition,
                    read.offset
                );
                Violation::new("H1", text)
            })?;
        }
        for (log, state) in end.ghost.controlled().partitions() {
            let deleted = end.ghost.deleted(log.topic).is_some();
            if end.is_strict() && state.replicas.len() > 1 && !deleted {
                on_every_replica(end, log, state)?;
            }
        }
        Ok(())
    }
}

/// Every replica's files hold what is committed.
fn on_every_replica(end: &End<'_>, log: LogId, state: &PartitionState) -> Result<(), Violation> {
    let Some(committed) = end.ghost.committed(log) else { return Ok(()) };
    for &replica in &state.replicas {
        let Some(node) = end.ghost.node_of(replica) else { continue };
        let Some(disk) = end.disks.get(&node) else { continue };
        let found = durable::all(disk, log, !end.ghost.terms().durable);
        let start = end.ghost.replica(node, log).map(|copy| copy.start).unwrap_or_default();
        let lost = committed
            .batches()
            .filter(|(base, _)| *base >= start && *base >= end.ghost.compacted(log))
            .find(|(base, batch)| !found.contains(&(*base, batch.checksum)));
        if let Some((base, batch)) = lost {
            let text = format!(
                "replica {replica} of {} does not hold offsets {base} to {} in its files, which are committed; its log \
                 starts at {start}",
                end.ghost.name(log),
                batch.last
            );
            return Err(Violation::new("H1", text));
        }
    }
    Ok(())
}

/// What is wrong with a promise in the final read.
fn keep(
    end: &End<'_>,
    (licences, keyed): (&Licences<'_>, &Keyed<'_>),
    promise: &Promise<'_>,
) -> Result<(), String> {
    let (topic, index) = promise.place;
    if licences.topic_deleted(topic) {
        return Ok(());
    }
    let Some(partition) = end.state.partition(topic, index) else {
        return match end.state.unreadable.get(&(topic.into(), index)) {
            Some(_) if !end.is_strict() => Ok(()),
            Some(reason) => Err(format!("the final read of the partition failed: {reason}")),
            None => Err("the partition is no longer there, and nobody deleted the topic".to_owned()),
        };
    };
    let Some(offset) = promise.offset else {
        let there = partition.records.iter().any(|record| record.value.as_deref() == promise.value);
        // It may stand where records were removed since.
        let compacted = end.ghost.compacted(partition.log) > Offset::ZERO;
        return if there || compacted || partition.start > Offset::ZERO || !end.is_strict() {
            Ok(())
        } else {
            Err(format!("the final read has it nowhere; {}", reach(partition)))
        };
    };
    if offset < partition.start {
        return match licences.of(promise.place, partition.log, offset, promise.timestamp) {
            // A removal that came too early is the concern of H8.
            Licence::Granted | Licence::TooEarly(_) => Ok(()),
            Licence::None if !end.is_strict() && loss_reported(end.ghost, partition.log, offset) => Ok(()),
            Licence::None => {
                Err(format!("the log starts at {} now, and nothing allowed its removal", partition.start))
            }
        };
    }
    // What stands there instead is the concern of H2.
    if partition.at(offset).is_some() {
        return Ok(());
    }
    if !end.is_strict() && (loss_reported(end.ghost, partition.log, offset) || end.ghost.has_misplaced()) {
        return Ok(());
    }
    if offset < end.ghost.compacted(partition.log) && licences.compacts(topic) {
        // A tombstone that went too early is the concern of H8.
        return match promise.value.is_some_and(is_tombstone) {
            true => Ok(()),
            false => keyed.replaced(promise.place, promise.key, offset),
        };
    }
    Err(format!("the final read has offset {offset} = nothing, {}", reach(partition)))
}

fn reach(partition: &FinalPartition) -> String {
    format!("the log holds {} to {}", partition.start, partition.end)
}

#[cfg(test)]
mod tests;
