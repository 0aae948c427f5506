//! Who is to have which partitions.

mod range;
mod uniform;

use super::Partitions;
use highwater_types::{PartitionIndex, TopicId};
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

/// A way to share partitions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignor {
    /// As many for each, whichever topic they are of, and as few moved as possible.
    Uniform,
    /// Of every topic a run, so that members that want the same topics have the same numbers of each.
    Range,
}

impl Assignor {
    /// The one that is taken if nobody wants another.
    pub(super) const DEFAULT: Self = Self::Uniform;

    pub(super) fn of_name(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Shares the partitions of topics among those who want them. Each partition gets one owner, if anybody wants it.
    pub(super) fn assign(
        self,
        wanting: &Wanting,
        before: &BTreeMap<Str, Partitions>,
    ) -> BTreeMap<Str, Partitions> {
        let mut shares = match self {
            Self::Uniform => uniform::assign(wanting, before),
            Self::Range => range::assign(wanting),
        };
        for member in wanting.members.keys() {
            shares.entry(member.clone()).or_default();
        }
        shares
    }
}

/// What there is, and who wants what of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanting {
    /// The topics that each member wants, of those that there are.
    pub(super) members: BTreeMap<Str, BTreeSet<TopicId>>,
    /// How many partitions each has.
    pub(super) topics: BTreeMap<TopicId, i32>,
}

impl Wanting {
    fn partitions(&self) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
        self.topics
            .iter()
            .flat_map(|(topic, count)| (0..*count).map(move |index| (*topic, PartitionIndex(index))))
    }

    fn wants(&self, member: &Str, topic: TopicId) -> bool {
        self.members.get(member).is_some_and(|topics| topics.contains(&topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::Uuid;
    use proptest::prelude::*;

    fn topic(number: u8) -> TopicId {
        TopicId(Uuid([number; 16]))
    }

    fn wanting(members: &[(&str, &[u8])], topics: &[(u8, i32)]) -> Wanting {
        let members = members
            .iter()
            .map(|(member, topics)| ((*member).into(), topics.iter().map(|number| topic(*number)).collect()));
        let topics = topics.iter().map(|(number, count)| (topic(*number), *count));
        Wanting { members: members.collect(), topics: topics.collect() }
    }

    fn shown(shares: &BTreeMap<Str, Partitions>) -> String {
        let part = |(topic, partitions): (&TopicId, &BTreeSet<PartitionIndex>)| {
            let numbers: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            format!("{}:{}", topic.0.0[0], numbers.join(","))
        };
        let line = |(member, share): (&Str, &Partitions)| {
            format!("{member} {}", share.iter().map(part).collect::<Vec<_>>().join(" "))
        };
        shares.iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn range_gives_runs() {
        let wanting = wanting(&[("a", &[1, 2]), ("b", &[1, 2]), ("c", &[2])], &[(1, 3), (2, 3)]);
        let shares = Assignor::Range.assign(&wanting, &BTreeMap::new());
        assert_eq!(shown(&shares), "a 1:0,1 2:0; b 1:2 2:1; c 2:2");
    }

    #[test]
    fn uniform_moves_no_more_than_it_must() {
        let two = wanting(&[("a", &[1]), ("b", &[1])], &[(1, 6)]);
        let first = Assignor::Uniform.assign(&two, &BTreeMap::new());
        assert_eq!(shown(&first), "a 1:0,2,4; b 1:1,3,5");
        let three = wanting(&[("a", &[1]), ("b", &[1]), ("c", &[1])], &[(1, 6)]);
        let second = Assignor::Uniform.assign(&three, &first);
        assert_eq!(shown(&second), "a 1:0,2; b 1:1,3; c 1:4,5");
        let gone = wanting(&[("a", &[1]), ("c", &[1])], &[(1, 6)]);
        assert_eq!(shown(&Assignor::Uniform.assign(&gone, &second)), "a 1:0,1,2; c 1:3,4,5");
    }

    #[test]
    fn uniform_balances_members_that_want_different_topics() {
        let wanting = wanting(&[("a", &[1]), ("b", &[1, 2]), ("c", &[2])], &[(1, 4), (2, 2)]);
        let shares = Assignor::Uniform.assign(&wanting, &BTreeMap::new());
        let sizes: Vec<usize> =
            shares.values().map(|share| share.values().map(BTreeSet::len).sum()).collect();
        assert_eq!(sizes, [2, 2, 2], "{}", shown(&shares));
    }

    proptest! {
        #[test]
        fn every_wanted_partition_has_one_owner_who_wants_it(
            wants in proptest::collection::vec(proptest::collection::btree_set(0..4u8, 0..4), 1..8),
            counts in proptest::collection::vec(0..9i32, 4),
            leaving in 0..8usize,
            range in any::<bool>(),
        ) {
            let assignor = if range { Assignor::Range } else { Assignor::Uniform };
            let topics: BTreeMap<TopicId, i32> =
                counts.iter().enumerate().map(|(number, count)| (topic(number as u8), *count)).collect();
            let mut members: BTreeMap<Str, BTreeSet<TopicId>> = wants
                .iter()
                .enumerate()
                .map(|(number, wants)| (format!("m{number}").into(), wants.iter().map(|it| topic(*it)).collect()))
                .collect();
            let before = Wanting { members: members.clone(), topics: topics.clone() };
            let first = assignor.assign(&before, &BTreeMap::new());
            if members.len() > 1 {
                members.remove(format!("m{leaving}").as_str());
            }
            let wanting = Wanting { members, topics };
            let shares = assignor.assign(&wanting, &first);
            let mut owners = BTreeMap::new();
            for (member, share) in &shares {
                for key in super::super::each(share) {
                    prop_assert!(wanting.wants(member, key.0));
                    prop_assert!(owners.insert(key, member.clone()).is_none());
                }
            }
            for key in wanting.partitions() {
                let wanted = wanting.members.values().any(|topics| topics.contains(&key.0));
                prop_assert_eq!(owners.contains_key(&key), wanted);
            }
            // Nobody could take one from another and both be nearer to each other.
            if !range {
                let size = |member: &Str| owners.values().filter(|owner| *owner == member).count();
                for (key, owner) in &owners {
                    for other in wanting.members.keys().filter(|member| wanting.wants(member, key.0)) {
                        prop_assert!(size(owner) <= size(other) + 1, "{} {}", owner, other);
                    }
                }
            }
            // The same again gives the same.
            prop_assert_eq!(&assignor.assign(&wanting, &shares), &shares);
        }
    }
}
