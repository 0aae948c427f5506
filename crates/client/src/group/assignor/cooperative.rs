//! As many partitions for each member as for the others, as few moved as possible, and none handed out that another
//! member has to give up first: its owner loses it in this round, and the next one, which the owner asks for when it
//! has given it up, brings it to its new owner.
//!
//! Source: KIP-429, and Kafka's `CooperativeStickyAssignor`, whose members may be in the same group.

use super::Wanting;
use highwater_assign::{Demand, Shares};
use highwater_types::{PartitionIndex, mutant};
use highwater_wire::Str;
use std::collections::BTreeMap;

type Key = (Str, PartitionIndex);

pub(super) fn assign(members: &[Wanting], demand: &Demand<Str>) -> Shares<Str> {
    let claims = Claims::of(members);
    let mut shares = demand.sticky(|key| claims.owner(key).cloned());
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
                let new = Claim { generation: member.generation, owner: Some(&member.id) };
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

#[cfg(test)]
mod tests;
