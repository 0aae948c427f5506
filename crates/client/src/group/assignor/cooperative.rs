//! As many partitions for each member as for the others, as few moved as possible, and none handed out that another
//! member has to give up first: its owner loses it in this round, and the next one, which the owner asks for when it
//! has given it up, brings it to its new owner.
//!
//! Source: KIP-429, and Kafka's `CooperativeStickyAssignor`, whose members may be in the same group.

use super::{Partitions, Shares, Wanting};
use highwater_types::{PartitionIndex, mutant};
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

type Key = (Str, PartitionIndex);

pub(super) fn assign(members: &[Wanting], partitions: &BTreeMap<Str, i32>) -> Shares {
    let claims = Claims::of(members);
    let mut shares = Sharing::kept(members, partitions, &claims);
    shares.hand_out();
    shares.balance();
    let mut shares = shares.owned;
    if !mutant!("coop-no-withhold") {
        for (member, share) in &mut shares {
            share.retain(|key| claims.allow(key, member));
        }
    }
    shares
}

/// Who says that it has which partition. A claim of a later generation is the better one.
struct Claims<'a>(BTreeMap<&'a Key, Claim<'a>>);

struct Claim<'a> {
    generation: i32,
    /// None: two say so of the same generation, and both must give it up.
    owner: Option<&'a Str>,
}

impl<'a> Claims<'a> {
    fn of(members: &'a [Wanting]) -> Self {
        let mut claims: BTreeMap<&Key, Claim<'_>> = BTreeMap::new();
        for member in members {
            for key in &member.owned {
                let new = Claim { generation: member.generation, owner: Some(&member.member) };
                match claims.get_mut(key) {
                    Some(known) if known.generation > new.generation => {}
                    Some(known) if known.generation == new.generation => known.owner = None,
                    _ => {
                        claims.insert(key, new);
                    }
                }
            }
        }
        Self(claims)
    }

    fn owner(&self, key: &Key) -> Option<&'a Str> {
        self.0.get(key)?.owner
    }

    /// Whether a member may be given a partition now.
    fn allow(&self, key: &Key, member: &Str) -> bool {
        self.0.get(key).is_none_or(|claim| claim.owner == Some(member))
    }
}

struct Sharing<'a> {
    /// Who wants each topic.
    wanted: BTreeMap<&'a Str, BTreeSet<&'a Str>>,
    owned: Shares,
    free: Vec<Key>,
}

impl<'a> Sharing<'a> {
    /// What members have and still want; everything else that anybody wants is free.
    fn kept(members: &'a [Wanting], partitions: &BTreeMap<Str, i32>, claims: &Claims<'_>) -> Self {
        let mut wanted: BTreeMap<&Str, BTreeSet<&Str>> = BTreeMap::new();
        let mut owned = Shares::new();
        for member in members {
            owned.insert(member.member.clone(), Partitions::new());
            for topic in &member.topics {
                wanted.entry(topic).or_default().insert(&member.member);
            }
        }
        let mut free = Vec::new();
        for (topic, count) in partitions {
            let Some(wanting) = wanted.get(topic) else { continue };
            for key in (0..*count).map(|index| (topic.clone(), PartitionIndex(index))) {
                match claims.owner(&key).filter(|owner| wanting.contains(owner)) {
                    Some(owner) => owned.entry(owner.clone()).or_default().insert(key),
                    None => {
                        free.push(key);
                        continue;
                    }
                };
            }
        }
        Self { wanted, owned, free }
    }

    fn size(&self, member: &Str) -> usize {
        self.owned.get(member).map_or(0, Partitions::len)
    }

    /// Whoever wants a partition and has the fewest.
    fn poorest(&self, topic: &Str) -> Option<&'a Str> {
        self.wanted.get(topic)?.iter().copied().min_by_key(|member| self.size(member))
    }

    /// What is free goes to whoever wants it and has the fewest; first that which the fewest want.
    fn hand_out(&mut self) {
        let mut free = std::mem::take(&mut self.free);
        free.sort_by_key(|(topic, _)| self.wanted.get(topic).map_or(0, BTreeSet::len));
        for key in free {
            if let Some(member) = self.poorest(&key.0) {
                self.owned.entry(member.clone()).or_default().insert(key);
            }
        }
    }

    /// Partitions move to members with at least two fewer, until no such move is left. Each move brings the sizes
    /// nearer to each other, so that this ends.
    fn balance(&mut self) {
        while let Some((from, key, to)) = self.next_move() {
            self.owned.entry(from).or_default().remove(&key);
            self.owned.entry(to).or_default().insert(key);
        }
    }

    fn next_move(&self) -> Option<(Str, Key, Str)> {
        let mut richest: Vec<(&Str, &Partitions)> = self.owned.iter().collect();
        richest.sort_by_key(|(_, share)| std::cmp::Reverse(share.len()));
        richest.into_iter().find_map(|(from, share)| {
            // The last of each topic, so that what stays are the first ones.
            let mut last: Option<&Key> = None;
            let mut best: Option<(&Key, &Str)> = None;
            for key in share.iter().rev().filter(|key| last.replace(*key).is_none_or(|last| last.0 != key.0))
            {
                if let Some(to) = self.poorest(&key.0)
                    && self.size(to) + 1 < share.len()
                    && best.is_none_or(|(_, known)| self.size(to) < self.size(known))
                {
                    best = Some((key, to));
                }
            }
            best.map(|(key, to)| (from.clone(), key.clone(), to.clone()))
        })
    }
}

#[cfg(test)]
mod tests;
