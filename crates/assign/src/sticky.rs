//! As many partitions for each member as for the others, as far as what they want allows; as many as possible near to
//! their members; and as few moved as possible: in this order.
//!
//! What a member has it keeps. What nobody has goes to whoever wants it and has the fewest. Then partitions move from
//! those with more to those with at least two fewer, until no such move is left; and then to members that they are near
//! to, without making anybody's share uneven (`near`).

mod near;
mod ranks;

use crate::{Demand, Share, Shares};
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use ranks::Ranks;
use std::collections::BTreeMap;

type Key<T> = (T, PartitionIndex);

impl<T: Clone + Ord> Demand<T> {
    /// Even shares, as near and as much as they were as can be. `has` tells who has a partition.
    pub fn sticky(&self, has: impl Fn(&(T, PartitionIndex)) -> Option<Str>) -> Shares<T> {
        let mut sharing = Sharing::kept(self, has);
        sharing.hand_out();
        loop {
            sharing.balance();
            if !sharing.bring_near() {
                return sharing.owned;
            }
        }
    }
}

struct Sharing<'a, T> {
    demand: &'a Demand<T>,
    /// Who wants each topic.
    wanting: BTreeMap<&'a T, Vec<&'a Str>>,
    ranks: Ranks<'a, T>,
    owned: Shares<T>,
    free: Vec<Key<T>>,
}

impl<'a, T: Clone + Ord> Sharing<'a, T> {
    /// What members have and still want; everything else that anybody wants is free.
    fn kept(demand: &'a Demand<T>, has: impl Fn(&Key<T>) -> Option<Str>) -> Self {
        let (wanting, mut owned) = (demand.wanting(), demand.nothing());
        let mut free = Vec::new();
        for key in demand.partitions().filter(|key| wanting.contains_key(&key.0)) {
            match has(&key).filter(|owner| demand.wants(owner, &key.0)) {
                Some(owner) => drop(owned.entry(owner).or_default().insert(key)),
                None => free.push(key),
            }
        }
        let mut ranks = Ranks::new(demand, &wanting);
        for (member, share) in &owned {
            ranks.change(member, 0, share.len());
        }
        Self { demand, wanting, ranks, owned, free }
    }

    fn size(&self, member: &Str) -> usize {
        self.owned.get(member).map_or(0, Share::len)
    }

    fn is_near(&self, member: &Str, key: &Key<T>) -> bool {
        self.demand.is_near(member, &key.0, key.1)
    }

    /// Who wants a topic.
    fn takers(&self, topic: &T) -> impl Iterator<Item = &'a Str> {
        self.wanting.get(topic).into_iter().flatten().copied()
    }

    /// Who has the fewest of those that a partition is near to, and how many.
    fn poorest_near(&self, key: &Key<T>) -> Option<(usize, &'a Str)> {
        self.ranks.poorest_near(&key.0, self.demand.racks_of(&key.0, key.1)?)
    }

    /// What is free goes to whoever wants it and has the fewest; first that which the fewest want.
    fn hand_out(&mut self) {
        let mut free = std::mem::take(&mut self.free);
        free.sort_by_key(|(topic, _)| self.wanting.get(topic).map_or(0, Vec::len));
        for key in free {
            let Some((least, poorest)) = self.ranks.poorest(&key.0) else { continue };
            let near = self.poorest_near(&key).filter(|(size, _)| *size == least);
            self.add(near.map_or(poorest, |(_, member)| member), key);
        }
    }

    /// Moves partitions until no move makes shares more even. The sum of their squares falls with each: this ends.
    fn balance(&mut self) {
        while let Some((giver, key, taker)) = self.next_move() {
            self.give(&giver, &key, &taker);
        }
    }

    fn give(&mut self, giver: &Str, key: &Key<T>, taker: &Str) {
        if let Some(share) = self.owned.get_mut(giver)
            && let Some(key) = share.take(key)
        {
            self.ranks.change(giver, share.len() + 1, share.len());
            self.add(taker, key);
        }
    }

    fn add(&mut self, taker: &Str, key: Key<T>) {
        let share = self.owned.entry(taker.clone()).or_default();
        share.insert(key);
        self.ranks.change(taker, share.len() - 1, share.len());
    }

    /// From whom to move which partition to whom, if that makes their shares more even.
    fn next_move(&self) -> Option<(Str, Key<T>, Str)> {
        self.ranks.richest().find_map(|giver| {
            let share = self.owned.get(giver)?;
            let mut topics: Vec<&T> = share.iter().map(|key| &key.0).collect();
            topics.dedup();
            let poorest = |topic| {
                let (size, taker) = self.ranks.poorest(topic)?;
                Some((size, taker, topic)).filter(|_| size + 1 < share.len())
            };
            let found = topics.into_iter().rev().filter_map(poorest);
            let (_, taker, topic) = found.min_by_key(|(size, ..)| *size)?;
            // The last, so that those that stay are the first ones; but what is nearer to its taker before that.
            let gain =
                |key: &Key<T>| u8::from(self.is_near(taker, key)) + u8::from(!self.is_near(giver, key));
            let own = share.iter().filter(|key| key.0 == *topic);
            let key = own.max_by_key(|key| gain(key))?;
            Some((giver.clone(), key.clone(), taker.clone()))
        })
    }
}

#[cfg(test)]
mod tests;
