//! The coordinator's ways to share partitions out.

use super::{Partitions, each};
use highwater_assign::{Demand, Share};
use highwater_types::{PartitionIndex, TopicId};
use highwater_wire::Str;
use std::collections::BTreeMap;

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
        demand: &Demand<TopicId>,
        before: &BTreeMap<Str, Partitions>,
    ) -> BTreeMap<Str, Partitions> {
        let shares = match self {
            Self::Uniform => {
                let mut owners: BTreeMap<(TopicId, PartitionIndex), &Str> = BTreeMap::new();
                for (member, share) in before {
                    owners.extend(each(share).map(|key| (key, member)));
                }
                demand.sticky(|key| owners.get(key).copied().cloned())
            }
            Self::Range => demand.range(),
        };
        shares.into_iter().map(|(member, share)| (member, by_topic(share))).collect()
    }
}

fn by_topic(share: Share<TopicId>) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic, partition) in share {
        partitions.entry(topic).or_default().insert(partition);
    }
    partitions
}
