//! Groups of the new protocol as administrators see them.

use super::{Consumers, Member, MemberState, Partitions};
use crate::topics::Topics;
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use highwater_wire::messages::consumer_group_describe as wire;

/// The kind of a member of the classic protocol.
const CLASSIC_MEMBER: i8 = 0;
/// The kind of a member of this protocol.
const CONSUMER_MEMBER: i8 = 1;

impl Consumers {
    /// Kafka's word for where the group is.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.target_epoch < self.epoch {
            "Assigning"
        } else if self.members.values().all(|member| self.is_there(member)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    fn is_there(&self, member: &Member) -> bool {
        member.state == MemberState::Stable && (member.epoch == self.target_epoch || member.epoch < 0)
    }

    pub(crate) fn described(&self, id: &Str, topics: &dyn Topics) -> wire::DescribedGroup {
        let nothing = Partitions::new();
        let member = |member: &Member| wire::Member {
            member_id: member.id.clone(),
            instance_id: member.instance.clone(),
            rack_id: member.rack.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.topics.iter().cloned().collect(),
            subscribed_topic_regex: member.regex.clone(),
            assignment: assignment(&member.assigned, topics),
            target_assignment: assignment(self.targets.get(&member.id).unwrap_or(&nothing), topics),
            member_type: if member.is_classic() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
        };
        wire::DescribedGroup {
            group_id: id.clone(),
            group_state: Str::from_static(self.state_name()),
            group_epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor_name: Str::from_static(self.assignor().name()),
            members: self.members.values().map(member).collect(),
            ..wire::DescribedGroup::default()
        }
    }
}

/// Topics that are gone have no name, and are left out.
fn assignment(partitions: &Partitions, topics: &dyn Topics) -> wire::Assignment {
    let of_topic =
        |(id, partitions): (&highwater_types::TopicId, &std::collections::BTreeSet<PartitionIndex>)| {
            let (name, _) = topics.by_id(*id)?;
            Some(wire::TopicPartitions {
                topic_id: *id,
                topic_name: name,
                partitions: partitions.iter().copied().collect(),
            })
        };
    wire::Assignment { topic_partitions: partitions.iter().filter_map(of_topic).collect() }
}
