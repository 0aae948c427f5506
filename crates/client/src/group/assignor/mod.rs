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
    placed(&mut demand, metadata);
    demand
}

/// Says how many partitions there are of the topics that members want; and where, if any member asks for that.
pub(super) fn placed(demand: &mut Demand<Str>, metadata: &ClusterMetadata) {
    let names: BTreeSet<&Str> = demand.members.values().flat_map(|member| &member.topics).collect();
    let there = names.into_iter().filter_map(|name| metadata.topics.get_key_value(name));
    let there: Vec<(&Str, &TopicMetadata)> = there.collect();
    if demand.asks_for_racks() {
        demand.racks = there.iter().map(|(name, topic)| ((*name).clone(), racks(topic, metadata))).collect();
    }
    let count = |topic: &TopicMetadata| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    demand.topics = there.iter().map(|(name, topic)| ((*name).clone(), count(topic))).collect();
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
