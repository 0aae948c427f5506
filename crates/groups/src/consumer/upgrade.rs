//! A classic group becomes one of the new protocol: a member of that one joins while there are others.
//!
//! What members have they keep. A member has what it was assigned last, and what it said it had when it joined last: in
//! a rebalance of cooperative members, the assignment of which may be lost, that is all there is to know of it.

use super::names::identified;
use super::{Consumers, Member, MemberState, Partitions, each, holds, listed};
use crate::classic::{self, Classic};
use crate::group::Group;
use crate::records::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupValue, ConsumerMemberValue, CurrentMemberValue,
    TargetEpochValue, TargetMemberValue,
};
use crate::topics::Topics;
use crate::{ConsumerSettings, Record};
use bytes::Bytes;
use highwater_assign::protocol::{Assignment, CONSUMER, Subscription, decode};
use highwater_types::{PartitionIndex, TopicId, mutant};
use highwater_wire::Str;
use std::collections::BTreeSet;
use std::time::Duration;

/// Why a group cannot become one of the new protocol.
const MALFORMED: &str = "the embedded consumer protocol is malformed";

/// A member of the classic group, with what it says and has.
struct Moving<'a> {
    member: &'a classic::Member,
    subscription: Subscription,
    assigned: Partitions,
}

impl Group {
    /// The group as one of the new protocol, and the records by which it becomes one; or why it cannot.
    pub(super) fn upgraded(
        &self,
        settings: &ConsumerSettings,
        topics: &dyn Topics,
    ) -> Result<(Consumers, Vec<Record>), Str> {
        let mut records = Vec::new();
        // A record of the group may be on its way.
        if self.saved || self.writing > 0 || !self.classic.members.is_empty() {
            records.push(Record::Group(self.id.clone(), None));
        }
        let mut consumers = Consumers::default();
        if self.classic.members.is_empty() {
            return Ok((consumers, records));
        }
        let moving = self.classic.moving(settings, topics).map_err(|why| {
            Str::from(format!("Cannot upgrade classic group {} to consumer group because {why}.", self.id))
        })?;
        let from = records.len();
        records.extend(moving.iter().map(|moving| {
            Record::ConsumerMember(self.id.clone(), moving.member.id.clone(), Some(moving.value()))
        }));
        let epoch = self.classic.generation;
        let value = ConsumerGroupValue { epoch, metadata_hash: 0 };
        records.push(Record::ConsumerGroup(self.id.clone(), Some(value)));
        for Moving { member, assigned, .. } in &moving {
            let value = TargetMemberValue { topic_partitions: listed(assigned) };
            records.push(Record::TargetMember(self.id.clone(), member.id.clone(), Some(value)));
        }
        let value = TargetEpochValue { assignment_epoch: epoch };
        records.push(Record::TargetEpoch(self.id.clone(), Some(value)));
        for Moving { member, assigned, .. } in &moving {
            let value = CurrentMemberValue {
                member_epoch: epoch,
                previous_member_epoch: epoch,
                state: MemberState::Stable.number(),
                assigned_partitions: listed(assigned),
                partitions_pending_revocation: Vec::new(),
            };
            records.push(Record::CurrentMember(self.id.clone(), member.id.clone(), Some(value)));
        }
        records[from..].iter().for_each(|record| consumers.apply(record));
        Ok((consumers, records))
    }
}

impl Classic {
    /// The members with what they say and have, or why they cannot be members of a group of the new protocol.
    fn moving(
        &self,
        settings: &ConsumerSettings,
        topics: &dyn Topics,
    ) -> Result<Vec<Moving<'_>>, &'static str> {
        if !settings.migration.upgrades() {
            return Err("online upgrade is disabled");
        }
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return Err("the group does not use the consumer embedded protocol");
        }
        if self.members.len() > settings.max_size {
            return Err("the group size exceeds the consumer group maximum size");
        }
        let protocol = self.protocol.clone().or_else(|| self.select_protocol()).unwrap_or_default();
        let mut owned: BTreeSet<(TopicId, PartitionIndex)> = BTreeSet::new();
        let mut moving = Vec::with_capacity(self.members.len());
        for member in self.members.values() {
            let subscription = decode(&member.metadata(&protocol)).map_err(|_| MALFORMED)?;
            let mut assigned = Partitions::new();
            claim(&mut owned, &mut assigned, &assigned_to(member, topics)?);
            moving.push(Moving { member, subscription, assigned });
        }
        // What was assigned to one goes before what another says.
        for Moving { subscription, assigned, .. } in &mut moving {
            claim(&mut owned, assigned, &identified(&subscription.owned, topics));
        }
        if mutant!("group-convert-drops-assignment") {
            moving.iter_mut().for_each(|moving| moving.assigned = Partitions::new());
        }
        Ok(moving)
    }
}

/// What a member of a classic group was assigned.
fn assigned_to(member: &classic::Member, topics: &dyn Topics) -> Result<Partitions, &'static str> {
    if member.assignment.is_empty() {
        return Ok(Partitions::new());
    }
    let assignment: Assignment = decode(&member.assignment).map_err(|_| MALFORMED)?;
    if assignment.user_data.is_some_and(|data| !data.is_empty()) {
        // It would be lost.
        return Err(
            "an unsupported custom assignor is in use. Please refer to the documentation or switch to a \
                    default assignor before re-attempting the upgrade",
        );
    }
    Ok(identified(&assignment.partitions, topics))
}

/// Gives a member the partitions that nobody has.
fn claim(owned: &mut BTreeSet<(TopicId, PartitionIndex)>, assigned: &mut Partitions, claimed: &Partitions) {
    for (topic, partition) in each(claimed) {
        if !holds(assigned, topic, partition) && owned.insert((topic, partition)) {
            assigned.entry(topic).or_default().insert(partition);
        }
    }
}

impl Moving<'_> {
    fn value(&self) -> ConsumerMemberValue {
        let Self { member, subscription, .. } = self;
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let protocol = |(name, metadata): &(Str, Bytes)| ClassicProtocol {
            name: name.clone(),
            metadata: metadata.clone(),
        };
        ConsumerMemberValue {
            instance_id: member.instance.clone(),
            rack_id: subscription.rack.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: super::subscribe::sorted(&subscription.topics),
            subscribed_topic_regex: None,
            rebalance_timeout_ms: millis(member.rebalance_timeout),
            server_assignor: None,
            classic_member_metadata: Some(ClassicMemberMetadata {
                session_timeout_ms: millis(member.session_timeout),
                supported_protocols: member.protocols.iter().map(protocol).collect(),
            }),
        }
    }
}

impl Member {
    /// Whether it is a member of the classic protocol.
    pub(super) fn is_classic(&self) -> bool {
        self.classic.is_some()
    }
}
