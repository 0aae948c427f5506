//! Sharing partitions among members: the leader's part.

mod cooperative;
mod range;

use super::Partitions;
use super::config::ClassicAssignor;
use super::protocol::{Subscription, each};
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

/// What each member is to have.
pub(super) type Shares = BTreeMap<Str, Partitions>;

/// A member, the topics that it wants, and what it says that it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanting {
    member: Str,
    topics: BTreeSet<Str>,
    owned: Partitions,
    /// The generation that it has that of.
    generation: i32,
}

impl Wanting {
    pub(super) fn new(member: Str, subscription: Subscription) -> Self {
        let generation = subscription.generation();
        let owned = each(subscription.owned_partitions).collect();
        Self { member, topics: subscription.topics.into_iter().collect(), owned, generation }
    }

    pub(super) fn topics(&self) -> &BTreeSet<Str> {
        &self.topics
    }
}

impl ClassicAssignor {
    /// Shares out the partitions of topics, of which it is told how many each has.
    pub(super) fn assign(self, members: &[Wanting], partitions: &BTreeMap<Str, i32>) -> Shares {
        match self {
            Self::Range => range::assign(members, partitions),
            Self::CooperativeSticky => cooperative::assign(members, partitions),
        }
    }
}

#[cfg(test)]
mod kit {
    use super::*;

    pub(super) fn wanting(member: &str, topics: &[&str]) -> Wanting {
        let topics = topics.iter().map(|topic| (*topic).into()).collect();
        Wanting { member: member.into(), topics, ..Wanting::default() }
    }

    pub(super) fn shown(shares: &Shares) -> String {
        let line = |(member, share): (&Str, &Partitions)| {
            let names = share.iter().map(|(topic, partition)| format!(" {topic}-{partition}"));
            format!("{member}{}", names.collect::<String>())
        };
        shares.iter().map(line).collect::<Vec<_>>().join("; ")
    }
}
