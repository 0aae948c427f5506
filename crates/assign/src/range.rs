//! Of every topic a run of partitions, so that members that want the same topics have the same numbers of each.
//!
//! Where members say where they are, each first gets what has a replica there, up to as much as it is to have; of
//! topics with as many partitions that the same members want, a number only if it is near for all of them, so that it
//! still stays together. What is left is handed out in runs. Source: Kafka's `RangeAssignor`, KIP-881.

use crate::{Demand, Shares};
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use std::collections::{BTreeMap, BTreeSet};

impl<T: Clone + Ord> Demand<T> {
    /// Runs of each topic, the first members one more where they do not divide evenly.
    pub fn range(&self) -> Shares<T> {
        let mut shares = self.nothing();
        let mut alike: BTreeMap<(Vec<&Str>, i32), Vec<&T>> = BTreeMap::new();
        for (topic, members) in self.wanting() {
            let count = self.topics.get(topic).copied().unwrap_or_default();
            alike.entry((members, count)).or_default().push(topic);
        }
        for ((members, count), topics) in alike {
            for (member, partition) in self.runs(&members, count, &topics) {
                let both = topics.iter().map(|topic| ((*topic).clone(), PartitionIndex(partition)));
                shares.entry(member.clone()).or_default().extend(both);
            }
        }
        shares
    }

    /// Who gets which number of topics that the same members want and that have as many partitions.
    fn runs<'a>(&self, members: &[&'a Str], count: i32, topics: &[&T]) -> Vec<(&'a Str, i32)> {
        let Ok(heads) = i32::try_from(members.len()) else { return Vec::new() };
        let (part, more) = (count / heads.max(1), count % heads.max(1));
        // How many each may have still.
        let quotas = (0..heads).map(|place| part + i32::from(place < more));
        let mut quotas: Vec<(&Str, i32)> = members.iter().copied().zip(quotas).collect();
        let mut given = Vec::new();
        let mut left: BTreeSet<i32> = (0..count).collect();
        if members.iter().any(|member| self.members.get(*member).is_some_and(|it| it.rack.is_some())) {
            for number in 0..count {
                let near =
                    |member| topics.iter().all(|topic| self.is_near(member, topic, PartitionIndex(number)));
                let taker = quotas.iter_mut().find(|(member, quota)| *quota > 0 && near(member));
                if let Some((member, quota)) = taker {
                    *quota -= 1;
                    left.remove(&number);
                    given.push((*member, number));
                }
            }
        }
        let mut left = left.into_iter();
        for (member, quota) in quotas {
            let run = left.by_ref().take(usize::try_from(quota).unwrap_or_default());
            given.extend(run.map(|number| (member, number)));
        }
        given
    }
}

#[cfg(test)]
mod tests;
