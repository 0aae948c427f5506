//! Where keys stand last.

use super::Work;
use super::read::Chunks;
use crate::error::LogError;
use crate::log::Log;
use bytes::Bytes;
use highwater_env::{Env, Purpose};
use highwater_records::{Batches, MAX_DECOMPRESSED_BYTES};
use highwater_types::Offset;
use rand::RngExt as _;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::sync::Arc;

const SLOT_BYTES: usize = size_of::<Slot>();
/// The fewest slots, whatever the bound on memory.
const FEWEST_SLOTS: usize = 64;

/// Where keys stand last: offsets by a hash of the key, within a bound of memory.
///
/// The hash has 128 bits and a key of its own in each pass, so that nobody can choose two keys with the same one.
#[derive(Clone, Debug)]
pub(super) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    hasher: SipHasher13,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: (u64, u64),
    /// Negative: the slot is free.
    offset: i64,
}

impl OffsetMap {
    /// A map for up to `keys` keys, which takes `max_bytes` at most.
    pub(super) fn new(keys: u64, max_bytes: usize, seed: [u8; 16]) -> Self {
        let wanted = usize::try_from(keys.saturating_mul(3) / 2).unwrap_or(usize::MAX);
        let count = wanted.min(max_bytes / SLOT_BYTES).max(FEWEST_SLOTS);
        let slots = vec![Slot { hash: (0, 0), offset: -1 }; count];
        Self { slots, used: 0, hasher: SipHasher13::new_with_key(&seed) }
    }

    /// Notes that a key stands at an offset, behind all that was noted before; false if there is no room for it.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        if self.slots[at].offset < 0 {
            // A quarter stays free, so that searches are short.
            if self.used + 1 > self.slots.len() - self.slots.len() / 4 {
                return false;
            }
            self.used += 1;
        }
        self.slots[at] = Slot { hash, offset: offset.0 };
        true
    }

    /// Where a key stands last.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots[self.find(self.hash(key))];
        (slot.offset >= 0).then_some(Offset(slot.offset))
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = self.hasher;
        hasher.write(key);
        hasher.finish128().as_u64()
    }

    /// The slot of a hash, or the free one where it belongs.
    fn find(&self, hash: (u64, u64)) -> usize {
        let mut at = (hash.0 % self.slots.len() as u64) as usize;
        while self.slots[at].offset >= 0 && self.slots[at].hash != hash {
            at = (at + 1) % self.slots.len();
        }
        at
    }
}

impl<E: Env> Log<E> {
    /// Takes down the keys of what is not compacted yet, as many as fit; also returns up to where that is. None if
    /// `stops` said so.
    pub(super) async fn map_keys(
        &self,
        work: &Work,
        max_bytes: usize,
        stops: &(impl Fn() -> bool + Sync),
    ) -> Result<Option<(OffsetMap, Offset)>, LogError> {
        let mut end = work.cleaned;
        let dirty = work.segments.iter().filter(|segment| segment.summary.end > work.cleaned);
        let last = work.segments.last().map_or(end, |segment| segment.summary.end);
        let seed = self.0.core.env.entropy(Purpose::Ids).random();
        let keys = u64::try_from(last.0 - end.0).unwrap_or(0);
        let mut map = OffsetMap::new(keys, max_bytes, seed);
        for segment in dirty {
            let mut chunks = Chunks::open(self, Arc::clone(segment)).await?;
            while let Some(chunk) = chunks.next().await? {
                if stops() {
                    return Ok(None);
                }
                let from = work.cleaned;
                let (taken, full) = self.0.core.env.compute(move || take_keys(map, chunk, from)).await;
                map = taken;
                if let Some(full) = full {
                    return Ok(Some((map, full)));
                }
            }
            end = segment.summary.end;
        }
        Ok(Some((map, end)))
    }
}

/// Takes down the keys of some batches, from an offset on; also returns the first offset whose key finds no room.
fn take_keys(mut map: OffsetMap, batches: Bytes, from: Offset) -> (OffsetMap, Option<Offset>) {
    for batch in Batches::new(batches).map_while(Result::ok) {
        let header = batch.header();
        if header.attributes.is_control()
            || header.attributes.is_transactional()
            || header.next_offset() <= from
        {
            continue;
        }
        let mut full = None;
        let taken = batch.for_each_key(MAX_DECOMPRESSED_BYTES, |record| {
            if let Some(key) = record.key
                && record.offset >= from
                && full.is_none()
                && !map.put(key, record.offset)
            {
                full = Some(record.offset);
            }
        });
        if let Err(error) = taken {
            // Nobody can read its records: what they stand for is unknown, and it stays as it is.
            tracing::debug!(offset = %header.base_offset, %error, "the records of a batch cannot be read");
        }
        if full.is_some() {
            return (map, full);
        }
    }
    (map, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_knows_the_last_offset_of_each_key_and_ends_where_its_memory_does() {
        let mut map = OffsetMap::new(1_000, 64 * SLOT_BYTES, [3; 16]);
        let mut taken = 0;
        while map.put(format!("key-{taken}").as_bytes(), Offset(taken)) {
            taken += 1;
        }
        assert_eq!(taken, 48);
        assert!(map.put(b"key-5", Offset(99)));
        for number in 0..taken {
            let expected = if number == 5 { 99 } else { number };
            assert_eq!(map.get(format!("key-{number}").as_bytes()), Some(Offset(expected)));
        }
        assert_eq!(map.get(b"key-48"), None);
    }
}
