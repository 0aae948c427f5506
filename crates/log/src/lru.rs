//! A cache bounded by weight that drops what was not used for longest.

use highwater_types::HashMap;

/// Values by number. The least recently used ones go when their weights exceed the bound; a value heavier than the
/// bound is kept alone.
#[derive(Debug)]
pub(crate) struct Lru<V> {
    entries: HashMap<u64, Entry<V>>,
    weight: usize,
    bound: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<V: Clone> Lru<V> {
    pub(crate) fn new(bound: usize) -> Self {
        Self { entries: HashMap::default(), weight: 0, bound, clock: 0 }
    }

    pub(crate) fn get(&mut self, key: u64) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(&key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    pub(crate) fn insert(&mut self, key: u64, value: V, weight: usize) {
        self.remove(key);
        // Looks at every entry, but only when something is loaded from disk, which costs more.
        while self.weight + weight > self.bound && !self.entries.is_empty() {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(&key, _)| key);
            self.remove(oldest.expect("there are entries"));
        }
        self.clock += 1;
        self.weight += weight;
        self.entries.insert(key, Entry { value, weight, used: self.clock });
    }

    pub(crate) fn remove(&mut self, key: u64) {
        if let Some(entry) = self.entries.remove(&key) {
            self.weight -= entry.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_go_first() {
        let mut lru = Lru::new(10);
        lru.insert(1, 'a', 4);
        lru.insert(2, 'b', 4);
        assert_eq!(lru.get(1), Some('a'));
        lru.insert(3, 'c', 4);
        assert_eq!((lru.get(1), lru.get(2), lru.get(3)), (Some('a'), None, Some('c')));
        lru.insert(4, 'd', 11);
        assert_eq!((lru.get(1), lru.get(3), lru.get(4)), (None, None, Some('d')));
        lru.insert(4, 'e', 1);
        lru.insert(5, 'f', 9);
        assert_eq!((lru.get(4), lru.get(5)), (Some('e'), Some('f')));
        lru.remove(5);
        assert_eq!((lru.get(5), lru.weight), (None, 1));
    }
}
