//! Mends damage as replication would: with what another replica has.

use super::history::Shared;
use super::producer::Context;
use super::verify::{Read, read_range};
use crate::executor::{SimEnv, Violation};
use bytes::{Bytes, BytesMut};
use highwater_env::Rng;
use highwater_log::{Log, LogError, Scrubbed};
use highwater_types::Offset;
use rand::RngExt;
use std::ops::Range;

/// Goes over all of a log, in small steps.
pub async fn scrub(log: &Log<SimEnv>, rng: &mut Rng) {
    let mut at = log.start_offset();
    let bytes = rng.random_range(1..4_000);
    while let Ok(Scrubbed { next: Some(next), .. }) = log.scrub(at, bytes).await {
        at = next;
    }
}

/// Mends all that is damaged of some logs, as far as it can be.
pub async fn repair_all(
    shared: &Shared,
    context: &Context,
    logs: &[Log<SimEnv>],
    rng: &mut Rng,
) -> Result<(), Violation> {
    for log in logs {
        let ranges = log.damaged().len();
        for _ in 0..3 * ranges {
            repair(shared, context, log, rng).await?;
        }
    }
    Ok(())
}

/// Mends a damaged range of a log, or a part of it, and reads it back; also offers what must be refused.
pub async fn repair(
    shared: &Shared,
    context: &Context,
    log: &Log<SimEnv>,
    rng: &mut Rng,
) -> Result<(), Violation> {
    let damaged = log.damaged();
    if damaged.is_empty() || rng.random_bool(0.1) {
        return refuse(shared, log, &damaged, rng).await;
    }
    let range = damaged[rng.random_range(0..damaged.len())].clone();
    let Some((range, batches)) = batches_of(shared, log, range, rng) else { return Ok(()) };
    let range = match log.repair(batches).await {
        // What belongs into another segment is left out.
        Ok(repaired) if repaired.start == range.start && repaired.end <= range.end => repaired,
        Ok(repaired) => {
            let text = format!("{}: {range:?} was to be repaired, and {repaired:?} was", log.id());
            return Err(Violation::new("H2", text));
        }
        // The noted epochs may be damaged as well.
        Err(_) => return Ok(()),
    };
    let Read::Batches(observed) =
        read_range(context, log, range.start.max(log.start_offset()), range.end).await?
    else {
        return Ok(());
    };
    // A write that was lost, or went elsewhere, may have been one of the repair's: then it is damage anew.
    let is_missing = |at: Offset| observed.missing.iter().any(|missing| missing.contains(&at));
    let is_there =
        |at: Offset| observed.batches.range(..=at).next_back().is_some_and(|(_, batch)| at <= batch.last);
    let mut at = range.start.max(log.start_offset());
    while at < range.end {
        if !is_there(at) && !is_missing(at) {
            return Err(Violation::new("H1", format!("{}: {at} was repaired and is not served", log.id())));
        }
        at = at.next();
    }
    Ok(())
}

/// Some of the batches of a damaged range, from one of its ends.
fn batches_of(
    shared: &Shared,
    log: &Log<SimEnv>,
    damaged: Range<Offset>,
    rng: &mut Rng,
) -> Option<(Range<Offset>, Bytes)> {
    let ghost = shared.ghost();
    let known = ghost.logs.get(&log.id())?;
    let mut batches: Vec<(Range<Offset>, Bytes)> = Vec::new();
    let mut at = damaged.start;
    if at == log.start_offset() {
        // The batch that holds the log's start may begin before it.
        at = known.base_of(at);
    }
    while at < damaged.end {
        let (end, bytes) = known.replica_at(at)?;
        batches.push((at..end, bytes.clone()));
        at = end;
    }
    if at > damaged.end {
        return None;
    }
    if rng.random_bool(0.4) {
        let count = rng.random_range(1..=batches.len());
        match rng.random_bool(0.5) {
            true => batches.truncate(count),
            false => drop(batches.drain(..batches.len() - count)),
        }
    }
    let range = batches.first()?.0.start..batches.last()?.0.end;
    let mut bytes = BytesMut::new();
    batches.iter().for_each(|(_, batch)| bytes.extend_from_slice(batch));
    Some((range, bytes.freeze()))
}

/// Offers a batch that is not damaged.
async fn refuse(
    shared: &Shared,
    log: &Log<SimEnv>,
    damaged: &[Range<Offset>],
    rng: &mut Rng,
) -> Result<(), Violation> {
    let sound = {
        let ghost = shared.ghost();
        let Some(known) = ghost.logs.get(&log.id()) else { return Ok(()) };
        let bases: Vec<Offset> = known.batches.keys().copied().collect();
        if bases.is_empty() {
            return Ok(());
        }
        let base = bases[rng.random_range(0..bases.len())];
        match known.replica_at(base) {
            Some((_, bytes)) if !damaged.iter().any(|range| range.contains(&base)) => bytes.clone(),
            _ => return Ok(()),
        }
    };
    let before = log.end_offset();
    match log.repair(sound).await {
        Err(LogError::DoesNotFit(_) | LogError::Poisoned | LogError::Closed)
            if log.end_offset() == before =>
        {
            Ok(())
        }
        // Damage may have been found meanwhile, by another reader.
        _ if log.damaged() != damaged => Ok(()),
        other => Err(Violation::new("H2", format!("{}: a sound batch is repaired: {other:?}", log.id()))),
    }
}
