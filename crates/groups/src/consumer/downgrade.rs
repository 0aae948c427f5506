//! A group of the new protocol becomes a classic one: the last member of the new protocol is gone, and others are left.

use super::names::named;
use super::{Consumers, Member};
use crate::classic::{self, Classic};
use crate::desk::{Desk, Then};
use crate::group::Group;
use crate::topics::Topics;
use crate::{GroupSettings, MemberMetadata, Now, Record};
use bytes::Bytes;
use highwater_assign::protocol::answer;
use highwater_wire::Str;

impl Group {
    /// Whether the group becomes a classic one without these members.
    pub(super) fn would_downgrade(&self, settings: &GroupSettings, leaving: &[Str]) -> bool {
        let Some(consumers) = &self.consumers else { return false };
        let (gone, left): (Vec<&Member>, Vec<&Member>) =
            consumers.members.values().partition(|member| leaving.contains(&member.id));
        settings.consumer.migration.downgrades()
            && gone.iter().any(|member| !member.is_classic())
            && (1..=settings.max_size).contains(&left.len())
            && left.iter().all(|member| member.is_classic())
    }

    /// Makes the group a classic one without these members. Those that are left share out among themselves what there
    /// is, in the next generation.
    pub(super) fn downgrade(
        &mut self,
        desk: &mut Desk,
        leaving: &[Str],
        then: Then,
        topics: &dyn Topics,
        now: Now,
    ) {
        let Some(mut consumers) = self.consumers.take() else { return };
        for member in consumers.members.values_mut() {
            member.cancel_timers(desk);
        }
        let mut records = consumers.tombstones(&self.id);
        let left = consumers.members.values().filter(|member| !leaving.contains(&member.id));
        let members = left.map(|member| member.as_classic(topics)).collect();
        self.classic = Classic::taken_over(consumers.epoch, members, now.wall);
        records.push(self.record(now.wall));
        self.write(desk, records, then);
        self.begin_sessions(desk, now);
        self.rebalance(desk, now);
    }
}

impl Member {
    /// The member in a classic group. It may still have what it was to give up.
    fn as_classic(&self, topics: &dyn Topics) -> classic::Member {
        let mut has = named(&self.assigned, topics);
        has.extend(named(&self.revoking, topics));
        let known = self.classic.iter().flat_map(|classic| &classic.supported_protocols);
        let protocols: Vec<(Str, Bytes)> =
            known.map(|protocol| (protocol.name.clone(), protocol.metadata.clone())).collect();
        let subscription = protocols.first().map_or_else(Bytes::new, |(_, metadata)| metadata.clone());
        let kept = MemberMetadata {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: self.rebalance_timeout_ms,
            session_timeout: self.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms),
            subscription: Bytes::new(),
            assignment: answer(has, &subscription),
        };
        classic::Member::restored(&kept, protocols)
    }

    /// It has no time to do anything any more.
    pub(super) fn cancel_timers(&mut self, desk: &mut Desk) {
        desk.timers.cancel(&mut self.timer);
        desk.timers.cancel(&mut self.revoke_timer);
        desk.timers.cancel(&mut self.step_timer);
    }
}

impl Consumers {
    /// The records by which nothing is left of the group.
    pub(crate) fn tombstones(&self, group: &Str) -> Vec<Record> {
        let mut records = Vec::new();
        for member in self.members.keys() {
            records.push(Record::CurrentMember(group.clone(), member.clone(), None));
        }
        for member in self.targets.keys() {
            records.push(Record::TargetMember(group.clone(), member.clone(), None));
        }
        records.push(Record::TargetEpoch(group.clone(), None));
        for member in self.members.keys() {
            records.push(Record::ConsumerMember(group.clone(), member.clone(), None));
        }
        records.push(Record::ConsumerGroup(group.clone(), None));
        records
    }
}
