//! Members of the classic protocol in a group of the new one.
//!
//! Their requests to join are answered at once: with the member's epoch for a generation, and without a leader. A
//! member is told what it has when it asks for its assignment, and learns from its heartbeats that it is to join again,
//! be it to give something up or because there is something for it. What it says that it has when it joins it has not
//! given up yet.

mod join;
mod leave;
mod stay;
mod sync;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use super::{Consumers, Member, MemberState, Partitions, chosen, without};
use highwater_wire::{ErrorCode, Str};

impl Consumers {
    /// A member of the classic protocol that speaks for itself.
    fn classic_member(&self, id: &Str, instance: Option<&Str>) -> Result<&Member, ErrorCode> {
        match instance.map(|instance| self.statics.get(instance)) {
            Some(None) => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(Some(current)) if current != id => return Err(ErrorCode::FENCED_INSTANCE_ID),
            _ => {}
        }
        self.members.get(id).filter(|member| member.is_classic()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// Whether a member must join again to come nearer to what it is to have.
    fn must_join(&self, member: &Member) -> bool {
        let waits = || {
            let target = self.targets.get(&member.id).cloned().unwrap_or_default();
            let missing = without(&target, &member.assigned);
            !self.held_by_others(&missing, &member.id).is_empty()
        };
        member.epoch < self.epoch
            || member.state == MemberState::Unrevoked
            || (member.state == MemberState::Unreleased && !waits())
    }

    fn held_by_others(&self, partitions: &Partitions, id: &Str) -> Partitions {
        chosen(partitions, |topic, partition| {
            self.owners.get(&(topic, partition)).is_some_and(|owner| owner != id)
        })
    }

    /// Whether all members of the classic protocol know one of these protocols.
    fn supports<'a>(&self, mut names: impl Iterator<Item = &'a Str>) -> bool {
        names.any(|name| {
            let mut known = self.members.values().filter_map(|member| member.classic.as_ref());
            known.all(|classic| classic.supported_protocols.iter().any(|protocol| protocol.name == *name))
        })
    }
}
