//! Leading one member to what it is to have.

use super::heartbeat::Draft;
use super::{MemberState, Partitions, chosen, each, holds, listed, without};
use crate::records::CurrentMemberValue;
use highwater_types::mutant;
use highwater_wire::Str;

impl Draft<'_> {
    /// Takes the next step for a member that says what it has, or does not say.
    pub(super) fn reconcile(&mut self, id: &Str, owned: Option<&Partitions>) {
        let Some(member) = self.consumers.members.get(id) else { return };
        let is_there = match member.state {
            MemberState::Stable => member.epoch == self.consumers.target_epoch,
            // It goes on once it no longer says that it has what it was to give up.
            MemberState::Unrevoked => owned.is_none_or(|owned| meets(owned, &member.revoking)),
            MemberState::Unreleased => false,
        };
        if is_there {
            return;
        }
        let target = self.consumers.targets.get(id).cloned().unwrap_or_default();
        let keeps = chosen(&member.assigned, |topic, partition| holds(&target, topic, partition));
        let gives = without(&member.assigned, &keeps);
        let wants = without(&target, &keeps);
        let free = chosen(&wants, |topic, partition| {
            mutant!("group-assign-unrevoked")
                || self.consumers.owners.get(&(topic, partition)).is_none_or(|owner| owner == id)
        });
        let waits = free != wants;
        let (epoch, target_epoch) = (member.epoch, self.consumers.target_epoch);
        let has_gives = !gives.is_empty() && owned.is_none_or(|owned| meets(owned, &gives));
        let next = if has_gives {
            CurrentMemberValue {
                member_epoch: epoch,
                previous_member_epoch: member.previous_epoch,
                state: MemberState::Unrevoked.number(),
                assigned_partitions: listed(&keeps),
                partitions_pending_revocation: listed(&gives),
            }
        } else {
            let mut has = keeps;
            for (topic, partition) in each(&free) {
                has.entry(topic).or_default().insert(partition);
            }
            CurrentMemberValue {
                member_epoch: target_epoch,
                previous_member_epoch: if epoch == target_epoch {
                    member.previous_epoch
                } else {
                    epoch.max(0)
                },
                state: if waits { MemberState::Unreleased.number() } else { MemberState::Stable.number() },
                assigned_partitions: listed(&has),
                partitions_pending_revocation: Vec::new(),
            }
        };
        let now = CurrentMemberValue {
            member_epoch: epoch,
            previous_member_epoch: member.previous_epoch,
            state: member.state.number(),
            assigned_partitions: listed(&member.assigned),
            partitions_pending_revocation: listed(&member.revoking),
        };
        if next != now {
            self.set_current(id, next);
        }
    }
}

/// Whether two have anything in common.
fn meets(one: &Partitions, other: &Partitions) -> bool {
    each(one).any(|(topic, partition)| holds(other, topic, partition))
}
