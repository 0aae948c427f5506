//! Of every topic a run of partitions.

use super::{Partitions, Shares, Wanting};
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

/// What each member gets: of every topic a run of partitions, the first members one more where they do not divide
/// evenly. Topics without known partitions are left out.
pub(super) fn assign(members: &[Wanting], partitions: &BTreeMap<Str, i32>) -> Shares {
    let mut shares: Shares =
        members.iter().map(|member| (member.member.clone(), Partitions::new())).collect();
    for (topic, &count) in partitions {
        let wanting: BTreeSet<&Str> = members
            .iter()
            .filter(|member| member.topics.contains(topic))
            .map(|member| &member.member)
            .collect();
        let Ok(heads) = i32::try_from(wanting.len()) else { continue };
        if heads == 0 {
            continue;
        }
        let (each, more) = (count / heads, count % heads);
        let mut next = 0;
        for (index, member) in (0..).zip(wanting) {
            let end = next + each + i32::from(index < more);
            if let Some(share) = shares.get_mut(member) {
                share.extend((next..end).map(|partition| (topic.clone(), PartitionIndex(partition))));
            }
            next = end;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::super::kit::{shown, wanting};
    use super::*;

    #[test]
    fn every_partition_has_one_owner() {
        let both: &[&str] = &["t", "u"];
        let check = |members: &[(&str, &[&str])], topics: &[(&str, i32)], expected: &str| {
            let members: Vec<Wanting> = members.iter().map(|(id, topics)| wanting(id, topics)).collect();
            let partitions = topics.iter().map(|(topic, count)| ((*topic).into(), *count)).collect();
            assert_eq!(shown(&assign(&members, &partitions)), expected);
        };
        check(&[("a", both), ("b", both)], &[("t", 5), ("u", 2)], "a t-0 t-1 t-2 u-0; b t-3 t-4 u-1");
        check(&[("a", &["t"]), ("b", both)], &[("t", 1), ("u", 2)], "a t-0; b u-0 u-1");
        check(&[("a", &["t"]), ("b", &["t"])], &[("t", 1)], "a t-0; b");
        check(&[("a", &["missing"])], &[], "a");
    }
}
