//! What takes the place of a record that compaction removed: a later one of its key.

use super::End;
use super::index::Place;
use crate::history::{FinalRecord, is_tombstone};
use highwater_types::Offset;
use std::collections::{BTreeMap, BTreeSet};

type Key<'a> = (Place<'a>, &'a [u8]);

/// The keys of all partitions.
pub struct Keyed<'a> {
    /// The last record of each key in the final read.
    last: BTreeMap<Key<'a>, Offset>,
    /// The last tombstone of each key that was sent, as far as it is known where; it may be gone.
    deleted: BTreeMap<Key<'a>, Offset>,
    /// The keys of topics of which a tombstone was sent that may be in any partition: its sender was never told.
    deleted_somewhere: BTreeSet<(&'a str, &'a [u8])>,
}

impl<'a> Keyed<'a> {
    pub fn new(end: &'a End<'_>) -> Self {
        let mut last = BTreeMap::new();
        let compacted = |log| end.ghost.compacted(log) > Offset::ZERO;
        for ((topic, partition), state) in
            end.state.partitions.iter().filter(|(_, state)| compacted(state.log))
        {
            for record in &state.records {
                if let Some(key) = &record.key {
                    last.insert(((&**topic, *partition), &**key), record.offset);
                }
            }
        }
        let mut deleted: BTreeMap<Key<'a>, Offset> = BTreeMap::new();
        let mut deleted_somewhere = BTreeSet::new();
        for sent in end.index.sends.iter().filter(|sent| is_tombstone(sent.value)) {
            let Some(key) = sent.key.as_deref().filter(|_| sent.outcome.is_possible()) else { continue };
            let Some(partition) = sent.partition else {
                deleted_somewhere.insert((sent.topic, key));
                continue;
            };
            // One of which nobody knows where it is may be anywhere.
            let at = sent.outcome.ok().map_or(Offset(i64::MAX), |&(_, offset, _)| offset);
            let known = deleted.entry(((sent.topic, partition), key)).or_insert(at);
            *known = at.max(*known);
        }
        Self { last, deleted, deleted_somewhere }
    }

    /// Whether another record of the key stands behind an offset.
    pub fn is_followed(&self, place: Place<'_>, key: Option<&[u8]>, offset: Offset) -> bool {
        key.is_some_and(|key| self.last.get(&(place, key)).is_some_and(|last| *last > offset))
    }

    /// Whether a record of the final read may have been gone from another replica: a later one of its key follows,
    /// or it only deletes the key.
    pub fn may_be_gone(&self, end: &End<'_>, place: Place<'_>, record: &FinalRecord) -> bool {
        let log = end.state.partition(place.0, place.1).map(|partition| partition.log);
        let reached = log.is_some_and(|log| record.offset < end.ghost.compacted(log));
        let only_deletes = record.value.as_deref().is_some_and(is_tombstone);
        reached && (only_deletes || self.replaced(place, record.key.as_deref(), record.offset).is_ok())
    }

    /// Fails with a sentence unless another record of the key stands behind an offset, or one deleted it.
    pub fn replaced(&self, place: Place<'_>, key: Option<&[u8]>, offset: Offset) -> Result<(), String> {
        let is_deleted = |key: &[u8]| {
            self.deleted_somewhere.contains(&(place.0, key))
                || self.deleted.get(&(place, key)).is_some_and(|at| *at > offset)
        };
        if self.is_followed(place, key, offset) || key.is_some_and(is_deleted) {
            return Ok(());
        }
        let key = key.map_or_else(|| "nothing".to_owned(), |key| String::from_utf8_lossy(key).into_owned());
        Err(format!("compaction removed it, and no later record of its key, {key}, is there or deleted it"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::h1::NothingLost;
    use super::super::kit::{LOG, Tale};
    use crate::history::{Op, Outcome, tombstone};
    use bytes::Bytes;
    use highwater_env::Event;
    use highwater_types::{Offset, PartitionIndex, Timestamp};

    const P0: PartitionIndex = PartitionIndex(0);

    /// A value that begins with "!" is a tombstone, and with "?" one of which nobody knows what became of it.
    fn keyed(tale: &mut Tale, offset: i64, value: &str) {
        let answer = Outcome::Ok((P0, Offset(offset), Timestamp(1_000)));
        let mut op = tale.send(value, answer);
        if let Op::Send { key, value, partition, outcome, .. } = &mut op {
            *key = Some(Bytes::from_static(b"k"));
            if value.starts_with(b"?") {
                (*partition, *outcome) = (None, Outcome::Unknown("timeout".into()));
            }
            if value.starts_with(b"!") || value.starts_with(b"?") {
                *value = tombstone(value);
            }
        }
        tale.op(op);
    }

    fn stands(tale: &mut Tale, offset: i64, value: &str) {
        tale.stands(offset, value);
        let record = tale.partition().records.last_mut().expect("it was just put there");
        record.key = Some(Bytes::from_static(b"k"));
    }

    /// Offsets 0 and 1 of one key, the log compacted up to 2, and what is left.
    fn check(second: &str, left: &[i64], expected: Option<&str>) {
        let mut tale = Tale::new();
        tale.op(Op::CreateTopic {
            topic: "orders".into(),
            partitions: 1,
            configs: vec![("cleanup.policy".into(), "compact".into())],
            answer: Outcome::Ok(LOG.topic),
        });
        keyed(&mut tale, 0, "v-0");
        keyed(&mut tale, 1, second);
        tale.tell(Event::Compacting { log: LOG, up_to: Offset(2) });
        for &offset in left {
            stands(&mut tale, offset, if offset == 0 { "v-0" } else { second });
        }
        tale.partition().end = Offset(2);
        match expected {
            None => tale.passes(NothingLost),
            Some(part) => tale.finds(NothingLost, "H1", part),
        }
    }

    #[test]
    fn the_last_record_of_a_key_takes_the_place_of_others() {
        check("v-1", &[0, 1], None);
        check("v-1", &[1], None);
        check("v-1", &[0], Some("no later record of its key, k"));
        // A tombstone may be gone itself; how long it stays is asked elsewhere.
        check("!1", &[], None);
        check("?1", &[], None);
    }
}
