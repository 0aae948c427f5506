//! Of every topic a run of partitions.

use super::{Partitions, Wanting};
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use std::collections::BTreeMap;

pub(super) fn assign(wanting: &Wanting) -> BTreeMap<Str, Partitions> {
    let mut shares: BTreeMap<Str, Partitions> = BTreeMap::new();
    for (topic, &count) in &wanting.topics {
        let members: Vec<&Str> =
            wanting.members.keys().filter(|member| wanting.wants(member, *topic)).collect();
        let Ok(heads) = i32::try_from(members.len()) else { continue };
        if heads == 0 {
            continue;
        }
        let (part, more) = (count / heads, count % heads);
        let mut next = 0;
        for (place, member) in (0..).zip(members) {
            let end = next + part + i32::from(place < more);
            if end > next {
                let run = (next..end).map(PartitionIndex).collect();
                shares.entry(member.clone()).or_default().insert(*topic, run);
            }
            next = end;
        }
    }
    shares
}
