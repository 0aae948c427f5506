//! Partitions by the names of their topics, as the classic protocol has them.

use super::Partitions;
use crate::topics::Topics;
use highwater_assign::protocol::NamedPartitions;
use highwater_types::{PartitionIndex, TopicId};
use std::collections::BTreeSet;

/// Those of topics that there are. Who shared them out may know of more partitions than are known here: what there is
/// not is in no target, and given up again.
pub(super) fn identified(named: &[NamedPartitions], topics: &dyn Topics) -> Partitions {
    let mut partitions = Partitions::new();
    for NamedPartitions { topic, partitions: indexes } in named {
        let Some((id, _)) = topics.topic(topic) else { continue };
        let there = indexes.iter().copied().filter(|index| index.0 >= 0);
        let there: Vec<PartitionIndex> = there.collect();
        if !there.is_empty() {
            partitions.entry(id).or_default().extend(there);
        }
    }
    partitions
}

/// The other way round. Topics that are gone have no name, and are left out.
pub(super) fn named(partitions: &Partitions, topics: &dyn Topics) -> Vec<NamedPartitions> {
    let of_topic = |(id, partitions): (&TopicId, &BTreeSet<PartitionIndex>)| {
        let (topic, _) = topics.by_id(*id)?;
        Some(NamedPartitions { topic, partitions: partitions.iter().copied().collect() })
    };
    partitions.iter().filter_map(of_topic).collect()
}
