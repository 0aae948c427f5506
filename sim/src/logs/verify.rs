//! Reads a whole log through the store's interface and holds it against the record.

use super::checks::{Batch, Detail};
use super::ghost::{Fate, Ghost};
use super::history::{DIR, Shared};
use super::producer::Context;
use crate::executor::{SimEnv, Violation};
use bytes::Bytes;
use highwater_env::{Env, File, sleep};
use highwater_log::{Log, ReadError, ReadSlice, verify_store};
use highwater_records::Batches;
use highwater_types::{LeaderEpoch, LogId, Offset, ProducerEpoch, ProducerId, Timestamp};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// A disk whose reads fail so often in a row is broken for good.
const READ_ATTEMPTS: usize = 200;

/// What a log showed of itself.
#[derive(Debug, Default)]
pub struct Observed {
    /// The batches by first offset.
    pub batches: BTreeMap<Offset, Batch>,
    /// Ranges that the log refused as damaged, or whose sectors cannot be read.
    pub missing: Vec<Range<Offset>>,
}

/// How a read of a range ended.
pub enum Read {
    /// These batches.
    Batches(Observed),
    /// The log ended the reading: it is closed, or its start moved.
    Gone,
}

/// Reads everything from `from` up to `up_to`.
pub async fn read_range(
    context: &Context,
    log: &Log<SimEnv>,
    from: Offset,
    up_to: Offset,
) -> Result<Read, Violation> {
    let mut observed = Observed::default();
    let mut at = from;
    let mut failures = 0;
    while at < up_to {
        let size = *super::plan::pick(
            &mut context.env.entropy(highwater_env::Purpose::User(1)),
            &[1, 300, 4_096, 1 << 20],
        );
        match log.read(at, up_to, size, true).await {
            Ok(slice) => match take_slice(context, log.id(), slice, at, up_to, &mut observed).await? {
                Some(next) => (at, failures) = (next, 0),
                None => failures += 1,
            },
            Err(ReadError::Damaged { from, to }) => {
                let strict = context.ghost().strict();
                if strict || to <= at {
                    let text = format!("{}: a read at {at} finds {from} to {to} damaged", log.id());
                    return Err(Violation::new("H1", text));
                }
                observed.missing.push(from.max(at)..to);
                at = to;
            }
            Err(ReadError::OutOfRange { start, .. }) if at < start => return Ok(Read::Gone),
            Err(ReadError::OutOfRange { start, end }) => {
                let text =
                    format!("{}: a read at {at} below {up_to}: the log says {start} to {end}", log.id());
                return Err(Violation::new("H1", text));
            }
            Err(ReadError::Io(_)) => failures += 1,
            Err(_) => return Ok(Read::Gone),
        }
        if failures > READ_ATTEMPTS {
            if context.ghost().strict() {
                let text = format!("{}: {at} cannot be read in {READ_ATTEMPTS} attempts", log.id());
                return Err(Violation::new("H1", text));
            }
            // A dead sector: everything behind it in the segment is out of reach for this reader.
            observed.missing.push(at..up_to);
            return Ok(Read::Batches(observed));
        }
        if failures > 0 {
            sleep(context.env.clock(), Duration::from_millis(1)).await;
        }
    }
    Ok(Read::Batches(observed))
}

/// Takes in what a read returned; None if it has to be tried again.
async fn take_slice(
    context: &Context,
    log: LogId,
    slice: ReadSlice<crate::disk::SimFile>,
    at: Offset,
    up_to: Offset,
    observed: &mut Observed,
) -> Result<Option<Offset>, Violation> {
    let bytes = match slice {
        ReadSlice::Checked(bytes) => bytes,
        ReadSlice::Verified { file, position, length } => {
            let Ok(bytes) = file.read_at(position, length).await else { return Ok(None) };
            // Bytes of the recent window are sent unchecked: what rots there meanwhile is for the reader to find.
            if !context.ghost().strict() && parse(log, bytes.clone()).is_err() {
                return Ok(None);
            }
            bytes
        }
    };
    let mut next = at;
    for (base, batch) in parse(log, bytes)? {
        if batch.last < at {
            let text = format!("{log}: a read at {at} returned {base}..={}", batch.last);
            return Err(Violation::new("H2", text));
        }
        if (next > at && base != next) || base > next || batch.last >= up_to {
            let text = format!(
                "{log}: a read from {at} to {up_to} continued at {next} with {base}..={}",
                batch.last
            );
            return Err(Violation::new("H2", text));
        }
        compare(&context.ghost(), log, base, &batch)?;
        next = batch.last.next();
        observed.batches.insert(base, batch);
    }
    if next == at && context.ghost().misplaced {
        return Ok(None);
    }
    if next == at {
        return Err(Violation::new("H1", format!("{log}: a read at {at}, below {up_to}, returned nothing")));
    }
    Ok(Some(next))
}

fn parse(log: LogId, bytes: Bytes) -> Result<Vec<(Offset, Batch)>, Violation> {
    let bad = |error: highwater_records::BatchError| {
        Violation::new("H2", format!("{log}: a read served bytes that are no batch: {error}"))
    };
    let mut batches = Vec::new();
    for batch in Batches::new(bytes) {
        let batch = batch.map_err(bad)?;
        let header = *batch.header();
        let mut records = Vec::new();
        for record in batch.records().map_err(bad)? {
            let record = record.map_err(bad)?;
            let value =
                record.value.as_deref().and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
            let none = || {
                Violation::new(
                    "H3",
                    format!("{log}: offset {} has a value that was never sent", record.offset),
                )
            };
            records.push((record.offset, record.timestamp, value.ok_or_else(none)?));
        }
        let producer = header.has_producer().then_some((
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        ));
        let detail = Detail { bytes: header.size_bytes(), records };
        batches.push((
            header.base_offset,
            Batch {
                last: header.last_offset(),
                epoch: header.leader_epoch,
                checksum: header.crc,
                producer,
                firm: true,
                detail: Some(detail),
            },
        ));
    }
    Ok(batches)
}

/// One batch against what is known of it.
fn compare(ghost: &Ghost, log: LogId, base: Offset, batch: &Batch) -> Result<(), Violation> {
    if let Some(known) = ghost.logs.get(&log)
        && let Some((at, expected)) = known.batch_at(base).filter(|(_, expected)| expected.firm)
        && (at, expected.last, expected.checksum) != (base, batch.last, batch.checksum)
        && !ghost.misplaced
    {
        let text = format!(
            "{log}: {base}..={} ({:08x}) was read where {at}..={} ({:08x}) was synced",
            batch.last, batch.checksum, expected.last, expected.checksum
        );
        return Err(Violation::new("H2", text));
    }
    for (offset, _, value) in batch.detail.iter().flat_map(|detail| &detail.records) {
        let sent = ghost.sent.get(value).filter(|sent| sent.log == log || ghost.misplaced);
        match sent.map(|sent| sent.fate) {
            Some(Fate::Open | Fate::Acknowledged) => {}
            Some(Fate::Refused) => {
                return Err(Violation::new(
                    "H3",
                    format!("{log}: offset {offset} holds value {value}, which was refused"),
                ));
            }
            None => {
                return Err(Violation::new(
                    "H3",
                    format!("{log}: offset {offset} holds value {value}, which was never sent"),
                ));
            }
        }
    }
    Ok(())
}

/// What an honest disk holds when the node is gone must check out, whatever the node was doing.
pub async fn verify_offline(shared: &Shared, env: &SimEnv) -> Result<(), Violation> {
    match verify_store(env.disk(), Path::new(DIR)).await {
        Ok(verdict) if shared.ghost().strict() && !verdict.is_sound() && !verdict.logs.is_empty() => {
            Err(Violation::new("S10", format!("damage is found on a disk that is honest: {verdict:?}")))
        }
        _ => Ok(()),
    }
}

/// Reads all of a log that was just opened, checks it against the record, and takes what it holds for the truth.
pub async fn verify_all(context: &Context, log: &Log<SimEnv>) -> Result<(), Violation> {
    let (start, end) = (log.start_offset(), log.end_offset());
    let Read::Batches(observed) = read_range(context, log, start, end).await? else {
        return Err(Violation::new(
            "S8",
            format!("{}: the log start moved while nothing happened", log.id()),
        ));
    };
    let epochs = observed.batches.clone();
    if take_over(&mut context.ghost(), log.id(), start, end, observed)? {
        check_epochs(log, &epochs)?;
        check_times(context, log, &epochs, end).await?;
    }
    Ok(())
}

/// Checks what a log holds and takes it for the truth; whether its indexes and caches must be right, too.
fn take_over(
    ghost: &mut Ghost,
    log: LogId,
    start: Offset,
    end: Offset,
    observed: Observed,
) -> Result<bool, Violation> {
    check_kept(ghost, log, start, end, &observed)?;
    check_order(ghost, log, &observed)?;
    ghost.compared += observed.batches.len() as u64;
    if let Some(known) = ghost.logs.get_mut(&log) {
        let is_missing =
            |base: Offset| observed.missing.iter().any(|missing| missing.start <= base && base < missing.end);
        let gone = std::mem::take(&mut known.batches).into_iter();
        known.rotten.extend(gone.filter(|(base, batch)| {
            batch.firm
                && !observed.batches.contains_key(base)
                && (is_missing(*base) || is_missing(batch.last))
        }));
        known.rotten.retain(|base, _| !observed.batches.contains_key(base));
        known.damaged.extend(observed.missing);
        known.batches = observed.batches;
    }
    Ok(ghost.strict())
}

/// Every batch that was synced is there, unless it was removed, or reported.
fn check_kept(
    ghost: &Ghost,
    log: LogId,
    start: Offset,
    end: Offset,
    observed: &Observed,
) -> Result<(), Violation> {
    let Some(known) = ghost.logs.get(&log) else { return Ok(()) };
    for (&base, batch) in known.batches.iter().filter(|(_, batch)| batch.firm && batch.last >= start) {
        if observed.batches.contains_key(&base) {
            continue;
        }
        let range = base.max(start)..batch.last.next();
        let reported = known.reported_damaged(&range)
            || observed
                .missing
                .iter()
                .any(|missing| missing.start <= range.start && range.end <= missing.end);
        // What no mark had proven looks like the torn tail of a power loss.
        let unproven = range.end > known.opened_from;
        // An intact batch that does not belong there can stand in its place.
        let replaced = ghost.misplaced
            && observed.batches.range(..range.end).next_back().is_some_and(|(_, other)| other.last >= base);
        if ghost.strict() || !(reported || unproven || known.alarmed || replaced) {
            let text = format!(
                "{log}: the synced batch {base}..={} is gone; the log has {start} to {end}, proven was {}",
                batch.last, known.opened_from
            );
            return Err(Violation::new("H1", text));
        }
    }
    Ok(())
}

/// Epochs never fall, a producer's order is the offset order, and nothing stands there twice.
fn check_order(ghost: &Ghost, log: LogId, observed: &Observed) -> Result<(), Violation> {
    let mut epoch = LeaderEpoch::NONE;
    let mut sequences: BTreeMap<(ProducerId, ProducerEpoch, i32), Offset> = BTreeMap::new();
    let mut newest: BTreeMap<usize, u64> = BTreeMap::new();
    let mut values: BTreeMap<u64, Offset> = BTreeMap::new();
    // While what was sent first was damaged nobody knew that it stood there, and it was taken again.
    let was_damaged = |first: Offset| {
        let known = ghost.logs.get(&log);
        known.is_some_and(|known| known.repaired.iter().any(|range| range.contains(&first)))
    };
    for (&base, batch) in &observed.batches {
        if batch.epoch < epoch && ghost.strict() {
            return Err(Violation::new(
                "S9",
                format!("{log}: at {base} the epoch falls from {epoch} to {}", batch.epoch),
            ));
        }
        epoch = batch.epoch;
        if let Some(producer) = batch.producer
            && let Some(first) = sequences.insert(producer, base)
            && !was_damaged(first)
        {
            return Err(Violation::new("H5", format!("{log}: at {base} {producer:?} stands a second time")));
        }
        for &(offset, _, value) in batch.detail.iter().flat_map(|detail| &detail.records) {
            if let Some(first) = values.insert(value, offset) {
                if was_damaged(first) {
                    continue;
                }
                return Err(Violation::new(
                    "H5",
                    format!("{log}: at {offset} value {value} stands a second time"),
                ));
            }
            let Some(sent) = ghost.sent.get(&value) else { continue };
            let before = newest.insert(sent.producer, value);
            if before.is_some_and(|before| before > value) {
                let text =
                    format!("{log}: at {offset} producer {} has {value} behind {before:?}", sent.producer);
                return Err(Violation::new("H4", text));
            }
        }
    }
    Ok(())
}

/// The epoch cache says what the batches say.
fn check_epochs(log: &Log<SimEnv>, batches: &BTreeMap<Offset, Batch>) -> Result<(), Violation> {
    let epochs: BTreeSet<LeaderEpoch> = batches.values().map(|batch| batch.epoch).collect();
    for epoch in epochs {
        let later = batches.iter().find(|(_, batch)| batch.epoch > epoch);
        let expected = (epoch, later.map_or(log.end_offset(), |(&base, _)| base));
        let found = log.epoch_end_offset(epoch);
        if found != expected {
            let text = format!("{}: epoch {epoch} ends at {found:?}; its batches say {expected:?}", log.id());
            return Err(Violation::new("S10", text));
        }
    }
    Ok(())
}

/// Lookups by time find what a linear scan finds.
async fn check_times(
    context: &Context,
    log: &Log<SimEnv>,
    batches: &BTreeMap<Offset, Batch>,
    up_to: Offset,
) -> Result<(), Violation> {
    let start = log.start_offset();
    let records: Vec<(Offset, Timestamp)> = batches
        .values()
        .flat_map(|batch| batch.detail.iter().flat_map(|detail| &detail.records))
        .map(|&(offset, timestamp, _)| (offset, timestamp))
        .filter(|&(offset, _)| offset >= start)
        .collect();
    if records.is_empty() {
        return Ok(());
    }
    let mut rng = context.env.entropy(highwater_env::Purpose::User(2));
    for _ in 0..3 {
        let (_, timestamp) = records[rng.random_range(0..records.len())];
        let wanted = Timestamp(timestamp.0 + rng.random_range(-1..=1));
        let expected =
            records.iter().find(|(_, timestamp)| *timestamp >= wanted).map(|&(offset, time)| (time, offset));
        let mut found = Err(());
        for _ in 0..READ_ATTEMPTS {
            match log.offset_for_time(wanted, up_to).await {
                Ok(result) => {
                    found = Ok(result.map(|found| (found.timestamp, found.offset)));
                    break;
                }
                Err(ReadError::Io(_)) => {}
                Err(error) => {
                    return Err(Violation::new("H8", format!("{}: lookup of {wanted}: {error}", log.id())));
                }
            }
        }
        if found != Ok(expected) {
            let text =
                format!("{}: lookup of time {wanted} finds {found:?}; a scan finds {expected:?}", log.id());
            return Err(Violation::new("H8", text));
        }
    }
    Ok(())
}
