//! Sharing partitions among members: the leader's part.

use super::protocol::TopicPartitions;
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

/// A member and the topics that it wants.
#[derive(Clone, Debug)]
pub(super) struct Wanting {
    pub(super) member: Str,
    pub(super) topics: BTreeSet<Str>,
}

/// What each member gets: of every topic a run of partitions, the first members one more where they do not divide
/// evenly. Topics without known partitions are left out.
pub(super) fn range(
    members: &[Wanting],
    partitions: &BTreeMap<Str, i32>,
) -> BTreeMap<Str, Vec<TopicPartitions>> {
    let mut shares: BTreeMap<Str, Vec<TopicPartitions>> =
        members.iter().map(|member| (member.member.clone(), Vec::new())).collect();
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
            if end > next
                && let Some(share) = shares.get_mut(member)
            {
                let partitions = (next..end).map(PartitionIndex).collect();
                share.push(TopicPartitions { topic: topic.clone(), partitions });
            }
            next = end;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(members: &[(&str, &[&str])], topics: &[(&str, i32)]) -> Vec<String> {
        let members: Vec<Wanting> = members
            .iter()
            .map(|(member, topics)| Wanting {
                member: (*member).into(),
                topics: topics.iter().map(|topic| (*topic).into()).collect(),
            })
            .collect();
        let partitions = topics.iter().map(|(topic, count)| ((*topic).into(), *count)).collect();
        range(&members, &partitions)
            .into_iter()
            .map(|(member, share)| {
                let part = |part: &TopicPartitions| {
                    let numbers: Vec<_> = part.partitions.iter().map(|index| index.0.to_string()).collect();
                    format!("{}:{}", part.topic, numbers.join(","))
                };
                format!("{member} {}", share.iter().map(part).collect::<Vec<_>>().join(" "))
            })
            .collect()
    }

    #[test]
    fn every_partition_has_one_owner() {
        let both: &[&str] = &["t", "u"];
        assert_eq!(
            shown(&[("a", both), ("b", both)], &[("t", 5), ("u", 2)]),
            ["a t:0,1,2 u:0", "b t:3,4 u:1"]
        );
        assert_eq!(shown(&[("a", &["t"]), ("b", both)], &[("t", 1), ("u", 2)]), ["a t:0", "b u:0,1"]);
        assert_eq!(shown(&[("a", &["t"]), ("b", &["t"])], &[("t", 1)]), ["a t:0", "b "]);
        assert_eq!(shown(&[("a", &["missing"])], &[]), ["a "]);
    }
}
