//! Sharing partitions among members: the leader's part.

mod cooperative;

use super::Partitions;
use super::config::ClassicAssignor;
use crate::metadata::{ClusterMetadata, PartitionMetadata, TopicMetadata};
use highwater_assign::protocol::{Subscription, each};
use highwater_assign::{Demand, Member, Racks, Shares};
use highwater_wire::Str;
use std::collections::BTreeSet;

/// A member: what it wants, and what it says that it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanting {
    id: Str,
    member: Member<Str>,
    owned: Partitions,
    /// The generation that it has that of.
    generation: i32,
}

impl Wanting {
    pub(super) fn new(id: Str, subscription: Subscription) -> Self {
        let (generation, owned) = (subscription.generation(), each(&subscription.owned).collect());
        let (topics, rack) = (subscription.topics.into_iter().collect(), subscription.rack);
        Self { id, member: Member { topics, rack }, owned, generation }
    }

    pub(super) fn topics(&self) -> &BTreeSet<Str> {
        &self.member.topics
    }
}

/// What members want of the topics that there are.
pub(super) fn demand(members: &[Wanting], metadata: &ClusterMetadata) -> Demand<Str> {
    let mut demand = Demand::default();
    for wanting in members {
        demand.members.insert(wanting.id.clone(), wanting.member.clone());
    }
    let asks_for_racks = demand.asks_for_racks();
    for name in members.iter().flat_map(Wanting::topics) {
        if let Some((count, racks)) = placed(name, asks_for_racks, metadata) {
            demand.topics.insert(name.clone(), count);
            demand.racks.extend(racks.map(|racks| (name.clone(), racks)));
        }
    }
    demand
}

/// How many partitions a topic has, if it is known; and where, if that is asked for.
pub(super) fn placed(
    name: &Str,
    asks_for_racks: bool,
    metadata: &ClusterMetadata,
) -> Option<(i32, Option<Racks>)> {
    let topic = metadata.topics.get(name)?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    Some((count, asks_for_racks.then(|| racks(topic, metadata))))
}

fn racks(topic: &TopicMetadata, metadata: &ClusterMetadata) -> Racks {
    let of = |partition: &PartitionMetadata| {
        partition.replicas.iter().filter_map(|broker| metadata.racks.get(broker)).cloned().collect()
    };
    topic.partitions.iter().map(of).collect()
}

impl ClassicAssignor {
    /// Shares out what there is.
    pub(super) fn assign(self, members: &[Wanting], demand: &Demand<Str>) -> Shares<Str> {
        match self {
            Self::Range => demand.range(),
            Self::CooperativeSticky => cooperative::assign(members, demand),
        }
    }
}
