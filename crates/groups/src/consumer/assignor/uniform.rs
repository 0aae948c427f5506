//! As many partitions for each member as for the others, as far as what they want allows, and as few moved as possible.
//!
//! What a member had it keeps. What nobody has goes to whoever wants it and has the fewest. Then partitions move from
//! those with more to those with at least two fewer, until no
//! such move is left.

use super::{Partitions, Wanting};
use highwater_types::{PartitionIndex, TopicId};
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

type Key = (TopicId, PartitionIndex);

pub(super) fn assign(wanting: &Wanting, before: &BTreeMap<Str, Partitions>) -> BTreeMap<Str, Partitions> {
    let mut shares = Shares::kept(wanting, before);
    shares.hand_out();
    shares.balance();
    shares.gathered()
}

struct Shares<'a> {
    wanting: &'a Wanting,
    owned: BTreeMap<&'a Str, BTreeSet<Key>>,
    free: BTreeSet<Key>,
    /// Who wants each topic.
    wanted: BTreeMap<TopicId, Vec<&'a Str>>,
}

impl<'a> Shares<'a> {
    /// What members had and still want; everything else is free.
    fn kept(wanting: &'a Wanting, before: &BTreeMap<Str, Partitions>) -> Self {
        let mut wanted: BTreeMap<TopicId, Vec<&Str>> = BTreeMap::new();
        for (member, topics) in &wanting.members {
            for topic in topics {
                wanted.entry(*topic).or_default().push(member);
            }
        }
        let mut free: BTreeSet<Key> =
            wanting.partitions().filter(|(topic, _)| wanted.contains_key(topic)).collect();
        let mut owned = BTreeMap::new();
        for member in wanting.members.keys() {
            let had = before.get(member).into_iter().flat_map(super::super::each);
            // One that two had at once, which does not happen, stays with the first.
            let keeps = had.filter(|key| wanting.wants(member, key.0) && free.remove(key)).collect();
            owned.insert(member, keeps);
        }
        Self { wanting, owned, free, wanted }
    }

    fn size(&self, member: &Str) -> usize {
        self.owned.get(member).map_or(0, BTreeSet::len)
    }

    fn hand_out(&mut self) {
        for key in std::mem::take(&mut self.free) {
            let takers = self.wanted.get(&key.0).into_iter().flatten().copied();
            if let Some(member) = takers.min_by_key(|member| (self.size(member), *member)) {
                self.owned.entry(member).or_default().insert(key);
            }
        }
    }

    /// Moves partitions until no move helps. Each move takes one from a member to one that has at least two fewer, so
    /// that the sum of squares falls: this ends.
    fn balance(&mut self) {
        let mut members: Vec<&'a Str> = self.wanting.members.keys().collect();
        loop {
            members.sort_by_key(|member| (std::cmp::Reverse(self.size(member)), *member));
            let found = members.iter().find_map(|giver| Some((*giver, self.best_taker(giver)?)));
            let Some((giver, (taker, key))) = found else { return };
            if let Some(owned) = self.owned.get_mut(giver) {
                owned.remove(&key);
            }
            self.owned.entry(taker).or_default().insert(key);
        }
    }

    /// Who has the fewest of those that a member can give to, if that is at least two fewer; and what it would give,
    /// the last first.
    fn best_taker(&self, giver: &Str) -> Option<(&'a Str, Key)> {
        let own = self.owned.get(giver)?;
        let topics: BTreeSet<TopicId> = own.iter().map(|key| key.0).collect();
        let takers = topics.iter().flat_map(|topic| self.wanted.get(topic).into_iter().flatten().copied());
        let taker = takers.min_by_key(|member| (self.size(member), *member))?;
        if self.size(taker) + 2 > own.len() {
            return None;
        }
        let key = own.iter().rev().find(|key| self.wanting.wants(taker, key.0))?;
        Some((taker, *key))
    }

    fn gathered(self) -> BTreeMap<Str, Partitions> {
        let mut shares = BTreeMap::new();
        for (member, owned) in self.owned {
            let share: &mut Partitions = shares.entry(member.clone()).or_default();
            for (topic, partition) in owned {
                share.entry(topic).or_default().insert(partition);
            }
        }
        shares
    }
}
