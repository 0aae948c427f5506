//! Appends as a follower makes them: batches of other leaders, each with its place.

use super::history::{Opened, Shared};
use super::producer::{Made, Patience, SharedProducer, acknowledge, keep_for_repair, lock};
use crate::executor::{SimEnv, Violation};
use bytes::Bytes;
use highwater_env::{Env, Rng};
use highwater_log::{AppendError, Appended, Log};
use highwater_types::{LeaderEpoch, Offset};
use rand::RngExt;
use std::collections::VecDeque;

/// What another replica has.
struct Batches {
    made: Vec<(SharedProducer, Made, Appended)>,
    bytes: Vec<u8>,
    /// Where the last batch begins, in bytes.
    last_at: usize,
}

/// Appends what clients sent to other leaders, `count` batches of it. Nobody appends meanwhile, and the clients'
/// sequences begin anew.
pub async fn replicate(
    shared: &Shared,
    opened: &mut Opened,
    log: &Log<SimEnv>,
    rng: &mut Rng,
    count: usize,
    patience: Patience,
) -> Result<(), Violation> {
    let Some(producers) = shared.silence(log.id()) else { return Ok(()) };
    let result = append(shared, opened, log, &producers, rng, count, patience).await;
    producers.iter().for_each(|producer| lock(producer).restart());
    result
}

async fn append(
    shared: &Shared,
    opened: &mut Opened,
    log: &Log<SimEnv>,
    producers: &[SharedProducer],
    rng: &mut Rng,
    count: usize,
    patience: Patience,
) -> Result<(), Violation> {
    let Some(batches) = make(shared, opened, log, producers, rng, count) else { return Ok(()) };
    if rng.random_bool(0.4) {
        refuse(opened, log, rng, &batches).await?;
    }
    let context = &opened.context;
    let now = context.env.clock().wall();
    let bytes = Bytes::from(batches.bytes);
    match log.append_replica(bytes.clone(), now).await {
        Ok(_) => {
            for batch in highwater_records::Batches::new(bytes).flatten() {
                keep_for_repair(context, log.id(), batch.into_bytes());
            }
        }
        Err(error) if !is_disks(&error) => {
            return Err(Violation::new("S9", format!("{}: what follows is refused: {error}", log.id())));
        }
        // What came to the log is found there when the clients try again.
        Err(_) => return Ok(()),
    }
    if patience != Patience::Never {
        for (producer, made, appended) in batches.made {
            acknowledge(context, log, &producer, &mut VecDeque::from([(made, appended)])).await?;
        }
    }
    Ok(())
}

/// Whether it is not the batches that an append failed for.
fn is_disks(error: &AppendError) -> bool {
    matches!(
        error,
        AppendError::StorageFull | AppendError::Poisoned | AppendError::Closed | AppendError::Io(_)
    )
}

/// Batches that follow the log, of one or more epochs.
fn make(
    shared: &Shared,
    opened: &mut Opened,
    log: &Log<SimEnv>,
    producers: &[SharedProducer],
    rng: &mut Rng,
    count: usize,
) -> Option<Batches> {
    let mut batches = Batches { made: Vec::new(), bytes: Vec::new(), last_at: 0 };
    let mut at = log.end_offset();
    let mut epoch = free_epoch(shared, opened, log, rng, latest_epoch(shared, log), at);
    for _ in 0..count {
        if rng.random_bool(0.2) {
            epoch = free_epoch(shared, opened, log, rng, LeaderEpoch(epoch.0 + 1), at);
        }
        let producer = producers.get(rng.random_range(0..producers.len().max(1)))?;
        if !lock(producer).has_room() {
            break;
        }
        let now = opened.context.env.true_time();
        let made = lock(producer).open(&mut opened.context.ghost(), rng, now);
        let assigned = made.batch.assigned(at, epoch, None);
        let end_offset = assigned.header().next_offset();
        batches.last_at = batches.bytes.len();
        assigned.copy_to(&mut batches.bytes);
        let appended = Appended { base_offset: at, end_offset, duplicate: false, append_time: None };
        batches.made.push((producer.clone(), made, appended));
        at = end_offset;
    }
    Some(batches)
}

/// The epoch that the history has reached. A log whose records are all deleted may not know it any more.
fn latest_epoch(shared: &Shared, log: &Log<SimEnv>) -> LeaderEpoch {
    let ghost = shared.ghost();
    let batches = ghost.logs.get(&log.id()).map(|log| &log.batches);
    let written = batches.and_then(|batches| batches.last_key_value()).map(|(_, batch)| batch.epoch);
    log.latest_epoch().max(written).unwrap_or(LeaderEpoch(0))
}

/// An epoch from `least` on in which nobody has written what could stand from `at` on.
fn free_epoch(
    shared: &Shared,
    opened: &mut Opened,
    log: &Log<SimEnv>,
    rng: &mut Rng,
    least: LeaderEpoch,
    at: Offset,
) -> LeaderEpoch {
    let ghost = shared.ghost();
    let written = ghost.logs.get(&log.id()).map(|log| &log.written);
    let known = (least.0..=opened.context.epoch.0).map(LeaderEpoch);
    let mut free = known.filter(|&epoch| written.is_none_or(|written| !written.reaches(epoch, at)));
    let found = if rng.random_bool(0.7) { free.next() } else { free.next_back() };
    found.unwrap_or_else(|| {
        opened.context.epoch = shared.next_epoch().max(LeaderEpoch(least.0 + 1));
        opened.context.epoch
    })
}

/// Offers a variant that does not check out: nothing of it may come to the log.
async fn refuse(
    opened: &Opened,
    log: &Log<SimEnv>,
    rng: &mut Rng,
    batches: &Batches,
) -> Result<(), Violation> {
    let mut bytes = batches.bytes.clone();
    let last = batches.last_at;
    let Some(room) = bytes.len().checked_sub(last).filter(|&room| room > 61) else { return Ok(()) };
    let what = match rng.random_range(0..5u32) {
        0 => {
            bytes[last + 7] ^= 1 << rng.random_range(0..8u32);
            "another offset"
        }
        1 => {
            bytes[last + 12..last + 16].copy_from_slice(&(-1i32).to_be_bytes());
            "an epoch that falls"
        }
        2 => {
            bytes[last + rng.random_range(21..room)] ^= 1 << rng.random_range(0..8u32);
            "a wrong checksum"
        }
        3 => {
            bytes.truncate(last + rng.random_range(1..room));
            "a batch that is not whole"
        }
        _ => {
            bytes.extend_from_slice(&batches.bytes[last..]);
            "a batch twice"
        }
    };
    let before = (log.end_offset(), log.latest_epoch());
    let now = opened.context.env.clock().wall();
    let appended = log.append_replica(Bytes::from(bytes), now).await;
    let after = (log.end_offset(), log.latest_epoch());
    if appended.is_ok() || before != after {
        let text = format!("{}: {what} is taken: {appended:?}, from {before:?} to {after:?}", log.id());
        return Err(Violation::new("S9", text));
    }
    Ok(())
}
