//! What there is to share, and who wants what of it.

use crate::Share;
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

/// The racks of each partition's replicas, in the order of the partitions.
pub type Racks = Vec<BTreeSet<Str>>;

/// One who wants partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<T> {
    /// The topics that it wants.
    pub topics: BTreeSet<T>,
    /// The rack that it is in, if it says so.
    pub rack: Option<Str>,
}

// Not derived, which would ask it of the topics.
impl<T> Default for Member<T> {
    fn default() -> Self {
        Self { topics: BTreeSet::new(), rack: None }
    }
}

/// What there is, and who wants what of it.
#[derive(Clone, Debug)]
pub struct Demand<T> {
    /// The members, by their ids.
    pub members: BTreeMap<Str, Member<T>>,
    /// How many partitions each topic has. Others are left out, whoever wants them.
    pub topics: BTreeMap<T, i32>,
    /// Where the partitions of topics are, as far as it is known and anybody asks for it.
    pub racks: BTreeMap<T, Racks>,
}

impl<T> Default for Demand<T> {
    fn default() -> Self {
        Self { members: BTreeMap::new(), topics: BTreeMap::new(), racks: BTreeMap::new() }
    }
}

impl<T: Clone + Ord> Demand<T> {
    /// Whether any member says where it is, so that it matters where partitions are.
    pub fn asks_for_racks(&self) -> bool {
        self.members.values().any(|member| member.rack.is_some())
    }

    /// All partitions that there are.
    pub fn partitions(&self) -> impl Iterator<Item = (T, PartitionIndex)> {
        self.topics
            .iter()
            .flat_map(|(topic, count)| (0..*count).map(move |index| (topic.clone(), PartitionIndex(index))))
    }

    /// Whether a member wants a topic.
    pub fn wants(&self, member: &Str, topic: &T) -> bool {
        self.members.get(member).is_some_and(|member| member.topics.contains(topic))
    }

    /// Whether a partition has a replica in a member's rack.
    pub fn is_near(&self, member: &Str, topic: &T, partition: PartitionIndex) -> bool {
        let rack = self.members.get(member).and_then(|member| member.rack.as_ref());
        let racks = self.racks_of(topic, partition);
        rack.zip(racks).is_some_and(|(rack, racks)| racks.contains(rack))
    }

    /// The racks that a partition has replicas in, if they are known.
    pub(crate) fn racks_of(&self, topic: &T, partition: PartitionIndex) -> Option<&BTreeSet<Str>> {
        self.racks.get(topic)?.get(usize::try_from(partition.0).ok()?)
    }

    /// Who wants each topic, of those that there are.
    pub(crate) fn wanting(&self) -> BTreeMap<&T, Vec<&Str>> {
        let mut wanting: BTreeMap<&T, Vec<&Str>> = BTreeMap::new();
        for (id, member) in &self.members {
            for topic in &member.topics {
                if let Some((topic, _)) = self.topics.get_key_value(topic) {
                    wanting.entry(topic).or_default().push(id);
                }
            }
        }
        wanting
    }

    /// A share of nothing for each member.
    pub(crate) fn nothing(&self) -> BTreeMap<Str, Share<T>> {
        self.members.keys().map(|member| (member.clone(), Share::new())).collect()
    }
}
