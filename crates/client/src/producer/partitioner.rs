//! Which partition a record goes to: what Kafka's own producer does.
//!
//! A record with a key goes to the partition of its key's hash, so that every client agrees on it. Records without
//! one stay with a partition until a batch's worth of bytes has gone there and move on to a random one (KIP-794).

use highwater_env::Rng;
use highwater_types::PartitionIndex;
use rand::RngExt;

/// The partition of a key, in a topic of `count` partitions.
pub fn partition_of_key(key: &[u8], count: usize) -> PartitionIndex {
    let positive = murmur2(key) & 0x7fff_ffff;
    let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    PartitionIndex(i32::try_from(positive % count).expect("31 bits remain"))
}

/// MurmurHash2 in 32 bits with the seed that Kafka uses.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;
    // Kafka takes the length as a 32-bit number.
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition that records without a key go to, of one topic.
#[derive(Debug, Default)]
pub(crate) struct Sticky {
    current: Option<PartitionIndex>,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of that size. `available` are the partitions that have a leader, never none;
    /// `batch_bytes` is what goes to one partition before the next is chosen.
    pub(crate) fn choose(
        &mut self,
        available: &[PartitionIndex],
        size: usize,
        batch_bytes: usize,
        rng: &mut Rng,
    ) -> PartitionIndex {
        let stays = self.current.filter(|current| self.bytes < batch_bytes && available.contains(current));
        let chosen = stays.unwrap_or_else(|| {
            self.bytes = 0;
            let others: Vec<_> =
                available.iter().copied().filter(|index| Some(*index) != self.current).collect();
            let from = if others.is_empty() { available } else { &others };
            from[rng.random_range(0..from.len())]
        });
        self.current = Some(chosen);
        self.bytes = self.bytes.saturating_add(size);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn hashes_are_those_of_kafka() {
        // From the tests of Kafka's clients.
        let vectors: [(&str, i32); 10] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("1", -1_993_445_489),
            ("12", 126_087_238),
            ("123", -267_702_483),
            ("1234", -1_614_185_708),
        ];
        for (key, expected) in vectors {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }

    #[test]
    fn keys_keep_their_partition() {
        // -973,932,308 without its sign bit is 1,173,551,340.
        assert_eq!(partition_of_key(b"21", 7), PartitionIndex(1_173_551_340 % 7));
        assert_eq!(partition_of_key(b"abc", 10), PartitionIndex(7));
        assert_eq!(partition_of_key(b"anything", 1), PartitionIndex(0));
    }

    #[test]
    fn records_without_a_key_stay_for_a_batch_and_then_move() {
        let available: Vec<_> = (0..4).map(PartitionIndex).collect();
        let mut rng = Rng::from_stream(1, 1);
        let mut sticky = Sticky::default();
        let mut counts = BTreeMap::<_, usize>::new();
        let mut previous = None;
        for _ in 0..400 {
            let run: Vec<_> = (0..10).map(|_| sticky.choose(&available, 100, 1_000, &mut rng)).collect();
            assert!(run.iter().all(|index| *index == run[0]), "{run:?}");
            assert_ne!(Some(run[0]), previous);
            previous = Some(run[0]);
            *counts.entry(run[0]).or_default() += 1;
        }
        assert!(counts.len() == 4 && counts.values().all(|count| *count > 60), "{counts:?}");
    }

    #[test]
    fn a_partition_without_a_leader_is_left() {
        let mut rng = Rng::from_stream(1, 2);
        let mut sticky = Sticky::default();
        let first = sticky.choose(&[PartitionIndex(3)], 1, 1_000, &mut rng);
        assert_eq!(first, PartitionIndex(3));
        assert_eq!(sticky.choose(&[PartitionIndex(1)], 1, 1_000, &mut rng), PartitionIndex(1));
    }
}
