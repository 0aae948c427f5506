//! What the tests of the assignors share.

use crate::{Demand, Member, Share, Shares};
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Members, each with its topics and its rack ("" for none), and topics, each with the racks of its partitions: of
/// each partition as many letters as it has replicas.
pub(crate) fn demand(members: &[(&str, &[&str], &str)], topics: &[(&str, &[&str])]) -> Demand<Str> {
    let mut demand = Demand::default();
    for (id, wants, rack) in members {
        let topics = wants.iter().map(|topic| (*topic).into()).collect();
        let rack = Some(*rack).filter(|rack| !rack.is_empty()).map(Str::from);
        demand.members.insert((*id).into(), Member { topics, rack });
    }
    for (topic, partitions) in topics {
        demand.topics.insert((*topic).into(), i32::try_from(partitions.len()).expect("few partitions"));
        let racks =
            partitions.iter().map(|racks| racks.chars().map(|rack| rack.to_string().into()).collect());
        demand.racks.insert((*topic).into(), racks.collect());
    }
    demand
}

/// Shares in one line.
pub(crate) fn shown(shares: &Shares<Str>) -> String {
    let line = |(member, share): (&Str, &Share<Str>)| {
        let names = share.iter().map(|(topic, partition)| format!(" {topic}-{partition}"));
        format!("{member}{}", names.collect::<String>())
    };
    shares.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Who has each partition.
pub(crate) fn owners(shares: &Shares<Str>) -> BTreeMap<(Str, PartitionIndex), Str> {
    shares.iter().flat_map(|(member, share)| share.iter().map(|key| (key.clone(), member.clone()))).collect()
}

/// Whether every partition that is wanted has one owner, who wants it, and no other.
pub(crate) fn all_have_owners(demand: &Demand<Str>, shares: &Shares<Str>) -> Result<(), TestCaseError> {
    let owners = owners(shares);
    prop_assert_eq!(owners.len(), shares.values().map(Share::len).sum::<usize>());
    prop_assert_eq!(shares.len(), demand.members.len());
    for (key, owner) in &owners {
        prop_assert!(demand.wants(owner, &key.0));
    }
    for key in demand.partitions() {
        let wanted = demand.members.keys().any(|member| demand.wants(member, &key.0));
        prop_assert_eq!(owners.contains_key(&key), wanted);
    }
    Ok(())
}

prop_compose! {
    /// A group of up to seven members over four topics, in up to three racks, some of them telling theirs.
    pub(crate) fn any_demand()(
        members in proptest::collection::vec((proptest::collection::btree_set(0..4u8, 0..4), 0..4u8), 1..8),
        topics in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::btree_set(1..4u8, 0..3), 0..9), 4),
        same in any::<bool>(),
    ) -> Demand<Str> {
        let mut demand = Demand::default();
        let rack = |rack: u8| -> Str { format!("r{rack}").into() };
        for (number, (wants, place)) in members.iter().enumerate() {
            let wants = if same { &members[0].0 } else { wants };
            let topics = wants.iter().map(|topic| format!("t{topic}").into()).collect();
            let rack = Some(*place).filter(|place| *place > 0).map(rack);
            demand.members.insert(format!("m{number}").into(), Member { topics, rack });
        }
        for (number, partitions) in topics.iter().enumerate() {
            let topic = Str::from(format!("t{number}"));
            demand.topics.insert(topic.clone(), i32::try_from(partitions.len()).expect("few"));
            let racks = partitions.iter().map(|racks| racks.iter().copied().map(rack).collect());
            demand.racks.insert(topic, racks.collect());
        }
        demand
    }
}
