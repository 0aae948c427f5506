//! What a log knows of idempotent producers (KIP-98): enough to append each of their batches once and in order.

use crate::error::AppendError;
use crate::frame::FrameKind;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_records::BatchHeader;
use highwater_types::{HashMap, Offset, ProducerEpoch, ProducerId, Timestamp, mutant};
use std::collections::{BTreeSet, VecDeque};

/// How many batches are remembered per producer: what a producer may have in flight.
const BATCHES: usize = 5;
/// How many producers a log remembers; beyond that the ones idle for longest are forgotten.
const MOST_PRODUCERS: usize = 1 << 18;

const KIND: FrameKind = FrameKind { magic: b"HWPRODS\0", version: 1, limit_bytes: 64 << 20 };
const HEAD_BYTES: usize = 12;
const PRODUCER_BYTES: usize = 19;
const BATCH_BYTES: usize = 28;

/// The producers of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers(HashMap<ProducerId, Producer>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    /// The last batches, oldest first. Empty after a batch without sequence numbers opened the epoch.
    batches: VecDeque<ProducedBatch>,
    /// When the producer was last heard of, on the broker's clock.
    last_active: Timestamp,
}

/// A batch as its producer numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducedBatch {
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub base: Offset,
    pub end: Offset,
    pub timestamp: Timestamp,
}

impl ProducedBatch {
    fn of(header: &BatchHeader) -> Self {
        Self {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base: header.base_offset,
            end: header.next_offset(),
            timestamp: header.max_timestamp,
        }
    }
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// It was appended before.
    Duplicate(ProducedBatch),
}

impl Producers {
    /// Decides over a batch. Changes nothing.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Verdict, AppendError> {
        if !has_sequence(header) {
            return Ok(Verdict::Append);
        }
        let Some(known) = self.0.get(&header.producer_id) else { return Ok(Verdict::Append) };
        let (found, epoch) = (header.base_sequence, header.producer_epoch);
        if epoch < known.epoch {
            return Err(AppendError::StaleProducerEpoch { current: known.epoch, found: epoch });
        }
        let newest = known.batches.back().filter(|_| epoch == known.epoch);
        let expected = newest.map_or(0, |batch| next_sequence(batch.last_sequence));
        if epoch == known.epoch && !mutant!("pid-dup-as-error") {
            let last = header.last_sequence();
            let repeated =
                |batch: &&ProducedBatch| batch.first_sequence == found && batch.last_sequence == last;
            if let Some(batch) = known.batches.iter().find(repeated) {
                return Ok(Verdict::Duplicate(*batch));
            }
        }
        if found != expected {
            return Err(AppendError::OutOfOrderSequence { expected, found });
        }
        Ok(Verdict::Append)
    }

    /// Whether a batch of a producer is the next one after another batch of it.
    pub(crate) fn follows(before: &BatchHeader, header: &BatchHeader) -> bool {
        has_sequence(before)
            && has_sequence(header)
            && before.producer_epoch == header.producer_epoch
            && next_sequence(before.last_sequence()) == header.base_sequence
    }

    /// Takes in a batch that stands in the log. `now` is the broker's clock.
    pub(crate) fn record(&mut self, header: &BatchHeader, now: Timestamp) {
        if !header.has_producer() {
            return;
        }
        if self.0.len() >= MOST_PRODUCERS && !self.0.contains_key(&header.producer_id) {
            self.forget_idlest();
        }
        let producer = self.0.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            last_active: now,
        });
        if header.producer_epoch != producer.epoch {
            producer.batches.clear();
            producer.epoch = header.producer_epoch;
        }
        producer.last_active = producer.last_active.max(now);
        if has_sequence(header) {
            if producer.batches.len() == BATCHES {
                producer.batches.pop_front();
            }
            producer.batches.push_back(ProducedBatch::of(header));
        }
    }

    /// Takes in a batch that was missing from the log, and may have later ones behind it.
    pub(crate) fn restore(&mut self, header: &BatchHeader, now: Timestamp) {
        let known = self.0.get_mut(&header.producer_id).filter(|known| header.producer_epoch <= known.epoch);
        let Some(known) = known else { return self.record(header, now) };
        let at = known.batches.partition_point(|batch| batch.base < header.base_offset);
        let is_new = known.batches.get(at).is_none_or(|batch| batch.base != header.base_offset);
        if is_new && has_sequence(header) && header.producer_epoch == known.epoch {
            known.batches.insert(at, ProducedBatch::of(header));
            if known.batches.len() > BATCHES {
                known.batches.pop_front();
            }
        }
    }

    /// Where the batches begin that tell what is known.
    pub(crate) fn batch_starts(&self) -> BTreeSet<Offset> {
        self.0.values().flat_map(|producer| &producer.batches).map(|batch| batch.base).collect()
    }

    /// Forgets producers that were last heard of before `horizon`.
    pub(crate) fn expire(&mut self, horizon: Timestamp) {
        self.0.retain(|_, producer| producer.last_active >= horizon);
    }

    /// Forgets the eighth of the producers that were idle for longest.
    fn forget_idlest(&mut self) {
        let mut times: Vec<Timestamp> = self.0.values().map(|producer| producer.last_active).collect();
        let eighth = times.len() / 8;
        let (_, &mut horizon, _) = times.select_nth_unstable(eighth);
        let mut left = eighth + 1;
        self.0.retain(|_, producer| {
            let forget = producer.last_active <= horizon && left > 0;
            left -= usize::from(forget);
            !forget
        });
    }

    /// A snapshot of the state as of an end offset.
    pub(crate) fn encode(&self, end: Offset) -> Bytes {
        let mut producers: Vec<_> = self.0.iter().collect();
        producers.sort_unstable_by_key(|(id, _)| **id);
        let mut payload =
            BytesMut::with_capacity(HEAD_BYTES + producers.len() * (PRODUCER_BYTES + BATCHES * BATCH_BYTES));
        payload.put_i64(end.0);
        payload.put_u32(u32::try_from(producers.len()).expect("the number of producers is bounded"));
        for (id, producer) in producers {
            payload.put_i64(id.0);
            payload.put_i16(producer.epoch.0);
            payload.put_i64(producer.last_active.0);
            payload.put_u8(producer.batches.len() as u8);
            for batch in &producer.batches {
                payload.put_i32(batch.first_sequence);
                payload.put_i32(batch.last_sequence);
                payload.put_i64(batch.base.0);
                // The last offset is at most i32::MAX above the first.
                let count =
                    u32::try_from(batch.end.0 - batch.base.0).expect("a batch has 2^31 offsets at most");
                payload.put_u32(count);
                payload.put_i64(batch.timestamp.0);
            }
        }
        KIND.encode(&payload)
    }

    /// The state in a snapshot file, and the end offset it belongs to.
    pub(crate) fn decode(bytes: &Bytes) -> Option<(Offset, Self)> {
        let (_, payload) = KIND.decode(bytes).ok()?;
        let mut rest = &payload[..];
        if rest.len() < HEAD_BYTES {
            return None;
        }
        let end = Offset(rest.get_i64());
        let count = usize::try_from(rest.get_u32()).ok()?;
        if count > rest.len() / PRODUCER_BYTES {
            return None;
        }
        let mut producers = HashMap::default();
        for _ in 0..count {
            let (id, producer) = take_producer(&mut rest)?;
            producers.insert(id, producer);
        }
        (rest.is_empty() && end.0 >= 0).then_some((end, Self(producers)))
    }

    /// The largest snapshot that is read.
    pub(crate) const SNAPSHOT_LIMIT_BYTES: u64 = KIND.limit_bytes;
}

fn take_producer(rest: &mut &[u8]) -> Option<(ProducerId, Producer)> {
    if rest.len() < PRODUCER_BYTES {
        return None;
    }
    let id = ProducerId(rest.get_i64());
    let epoch = ProducerEpoch(rest.get_i16());
    let last_active = Timestamp(rest.get_i64());
    let count = usize::from(rest.get_u8());
    if count > BATCHES || rest.len() < count * BATCH_BYTES {
        return None;
    }
    let mut batches = VecDeque::with_capacity(count);
    for _ in 0..count {
        let first_sequence = rest.get_i32();
        let last_sequence = rest.get_i32();
        let base = Offset(rest.get_i64());
        let end = Offset(base.0.checked_add(i64::from(rest.get_u32()))?);
        let timestamp = Timestamp(rest.get_i64());
        if base.0 < 0 || end <= base {
            return None;
        }
        batches.push_back(ProducedBatch { first_sequence, last_sequence, base, end, timestamp });
    }
    Some((id, Producer { epoch, batches, last_active }))
}

fn has_sequence(header: &BatchHeader) -> bool {
    header.has_producer() && header.base_sequence >= 0 && !header.attributes.is_control()
}

/// Sequence numbers go from `i32::MAX` to 0.
fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests;
