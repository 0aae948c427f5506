//! Who is to have which partitions in a new epoch.

use super::assignor::Assignor;
use super::heartbeat::Draft;
use super::{Consumers, listed};
use crate::Record;
use crate::records::{TargetEpochValue, TargetMemberValue};
use crate::topics::Topics;
use highwater_wire::Str;
use std::collections::BTreeMap;

impl Consumers {
    /// The assignor that most members want.
    pub(super) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.members.values().filter_map(|member| member.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(name, count)| (*count, *name));
        most.and_then(|(name, _)| Assignor::of_name(name)).unwrap_or(Assignor::DEFAULT)
    }
}

impl Draft<'_> {
    /// Makes the target of the group's epoch, if that is another than the last target's.
    pub(super) fn retarget(&mut self, topics: &dyn Topics) {
        if self.consumers.target_epoch >= self.consumers.epoch {
            return;
        }
        let demand = self.consumers.demand(topics);
        let shares = self.consumers.assignor().assign(&demand, &self.consumers.targets);
        let gone: Vec<Str> =
            self.consumers.targets.keys().filter(|member| !shares.contains_key(*member)).cloned().collect();
        for member in gone {
            self.add(Record::TargetMember(self.group.clone(), member, None));
        }
        for (member, share) in shares {
            if self.consumers.targets.get(&member) != Some(&share) {
                let value = TargetMemberValue { topic_partitions: listed(&share) };
                self.add(Record::TargetMember(self.group.clone(), member, Some(value)));
            }
        }
        let value = TargetEpochValue { assignment_epoch: self.consumers.epoch };
        self.add(Record::TargetEpoch(self.group.clone(), Some(value)));
    }
}
