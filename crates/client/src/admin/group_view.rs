//! A group as people see it, whatever its protocol.

use bytes::Bytes;
use highwater_assign::protocol::assigned;
use highwater_types::PartitionIndex;
use highwater_wire::Str;
use highwater_wire::messages::{consumer_group_describe, describe_groups};

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its state, in Kafka's words.
    pub state: Str,
    /// The type of its protocol; `consumer` for consumers.
    pub protocol_type: Str,
    /// How partitions are assigned; empty while the members have not agreed.
    pub assignor: Str,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: Str,
    /// The name that it keeps, if it has one.
    pub instance: Option<Str>,
    /// The client's name for itself.
    pub client: Str,
    /// Where it connects from.
    pub host: Str,
    /// The partitions that it has, as far as they can be read.
    pub partitions: Vec<(Str, PartitionIndex)>,
}

/// The partitions in an assignment of consumers; none in one that is of something else.
fn partitions_of(assignment: &Bytes) -> Vec<(Str, PartitionIndex)> {
    assigned(assignment).map_or_else(|_| Vec::new(), |share| share.into_iter().collect())
}

impl From<describe_groups::DescribedGroup> for GroupView {
    fn from(group: describe_groups::DescribedGroup) -> Self {
        let members = group.members.into_iter().map(|member| GroupMember {
            id: member.member_id,
            instance: member.group_instance_id,
            client: member.client_id,
            host: member.client_host,
            partitions: partitions_of(&member.member_assignment),
        });
        Self {
            state: group.group_state,
            protocol_type: group.protocol_type,
            assignor: group.protocol_data,
            members: members.collect(),
        }
    }
}

impl From<consumer_group_describe::DescribedGroup> for GroupView {
    fn from(group: consumer_group_describe::DescribedGroup) -> Self {
        let members = group.members.into_iter().map(|member| {
            let topics = member.assignment.topic_partitions.into_iter();
            let partitions = topics.flat_map(|topic| {
                let name = topic.topic_name;
                topic.partitions.into_iter().map(move |partition| (name.clone(), partition))
            });
            GroupMember {
                id: member.member_id,
                instance: member.instance_id,
                client: member.client_id,
                host: member.client_host,
                partitions: partitions.collect(),
            }
        });
        Self {
            state: group.group_state,
            protocol_type: Str::from_static("consumer"),
            assignor: group.assignor_name,
            members: members.collect(),
        }
    }
}
