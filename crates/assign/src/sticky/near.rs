//! Moving partitions to members that have a replica of them in their rack, without making shares less even: to a member
//! that has one fewer, or in exchange for another that is no worse off where it goes. Source: KIP-881, and what KIP-848
//! asks of assignors.

use super::{Key, Sharing};
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

/// Partitions whose owners cannot be told apart by what they want and where they are, and which cannot be told apart by
/// their topic and where their replicas are.
type Class<'a, T> = (usize, T, Option<&'a BTreeSet<Str>>);

impl<'a, T: Clone + Ord> Sharing<'a, T> {
    /// Moves partitions until no move and no exchange brings any nearer. Each brings more near than it takes away: this
    /// ends. Whether anything moved.
    pub(super) fn bring_near(&mut self) -> bool {
        if !self.demand.asks_for_racks() {
            return false;
        }
        let kinds = self.kinds();
        let mut moved = false;
        while self.round(&kinds) {
            moved = true;
        }
        moved
    }

    /// Members that want the same in the same rack have the same number.
    fn kinds(&self) -> BTreeMap<&'a Str, usize> {
        let mut known = BTreeMap::new();
        let members = self.demand.members.iter();
        members
            .map(|(id, member)| {
                let next = known.len();
                (id, *known.entry((&member.rack, &member.topics)).or_insert(next))
            })
            .collect()
    }

    /// Tries it with each partition that is not near to its owner.
    fn round(&mut self, kinds: &BTreeMap<&Str, usize>) -> bool {
        let each = |(owner, share): (&Str, &super::Share<T>)| {
            let far = share.iter().filter(|key| !self.is_near(owner, key));
            far.map(|key| (owner.clone(), key.clone())).collect::<Vec<_>>()
        };
        let far: Vec<(Str, Key<T>)> = self.owned.iter().flat_map(each).collect();
        let mut hopeless: BTreeSet<Class<'a, T>> = BTreeSet::new();
        let mut moved = false;
        for (owner, key) in far {
            // It may have been given in exchange meanwhile.
            if !self.owned.get(&owner).is_some_and(|share| share.contains(&key)) {
                continue;
            }
            if let Some(taker) = self.lighter(&owner, &key) {
                self.give(&owner, &key, taker);
                moved = true;
                continue;
            }
            let kind = kinds.get(&owner).copied().unwrap_or_default();
            let class = (kind, key.0.clone(), self.demand.racks_of(&key.0, key.1));
            if hopeless.contains(&class) {
                continue;
            }
            if let Some((taker, back)) = self.exchange(&owner, &key) {
                self.give(&owner, &key, taker);
                self.give(taker, &back, &owner);
                moved = true;
            } else {
                hopeless.insert(class);
            }
        }
        moved
    }

    /// One that a partition is near to and that has fewer than its owner.
    fn lighter(&self, owner: &Str, key: &Key<T>) -> Option<&'a Str> {
        let (size, taker) = self.poorest_near(key)?;
        (size < self.size(owner)).then_some(taker)
    }

    /// One that a partition is near to, and what it can give for it: something that comes nearer, too, or that it does
    /// not have near either.
    fn exchange(&self, owner: &Str, key: &Key<T>) -> Option<(&'a Str, Key<T>)> {
        let near = self.takers(&key.0).filter(|taker| self.is_near(taker, key));
        near.filter_map(|taker| Some((taker, self.owned.get(taker)?))).find_map(|(taker, share)| {
            let fits = |back: &&Key<T>| {
                self.demand.wants(owner, &back.0) && (self.is_near(owner, back) || !self.is_near(taker, back))
            };
            Some((taker, share.iter().find(fits)?.clone()))
        })
    }
}
