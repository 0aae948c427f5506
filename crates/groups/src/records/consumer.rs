//! A group of the new protocol (KIP-848), its members, and what they have and are to have.

use crate::Owner;
use bytes::Bytes;
use highwater_types::{PartitionIndex, TopicId};
use highwater_wire::{Message, Str};

/// The key of a record about a group.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "none")]
pub(super) struct GroupOnlyKey {
    pub(super) group: Str,
}

/// The key of a record about a member.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "none")]
pub(super) struct MemberKey {
    pub(super) group: Str,
    pub(super) member: Str,
}

/// The group: counts the changes of its members, what they want, and the topics.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct ConsumerGroupValue {
    /// The epoch.
    pub epoch: i32,
    /// What the topics were like that the group reads.
    #[field(tag = 0)]
    pub metadata_hash: i64,
}

/// A member and what it wants.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct ConsumerMemberValue {
    /// The name of a static member.
    #[field(nullable = "0+")]
    pub instance_id: Option<Str>,
    /// Its rack.
    #[field(nullable = "0+")]
    pub rack_id: Option<Str>,
    /// The client's name for itself.
    pub client_id: Str,
    /// Where it connects from.
    pub client_host: Str,
    /// The topics that it wants.
    pub subscribed_topic_names: Vec<Str>,
    /// The topics that it wants, as a regular expression.
    #[field(nullable = "0+")]
    pub subscribed_topic_regex: Option<Str>,
    /// For how long it may take to give up partitions, in milliseconds.
    #[field(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// The assignor that it wants.
    #[field(nullable = "0+")]
    pub server_assignor: Option<Str>,
    /// What it says as a member of the classic protocol; none for one of the new.
    #[field(nullable = "0+", tag = 0)]
    pub classic_member_metadata: Option<ClassicMemberMetadata>,
}

/// What a member of the classic protocol says.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ClassicMemberMetadata {
    /// Without a word from it for how long it is taken for dead, in milliseconds.
    pub session_timeout_ms: i32,
    /// The protocols that it knows.
    pub supported_protocols: Vec<ClassicProtocol>,
}

/// A protocol that a member knows.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct ClassicProtocol {
    /// Its name.
    pub name: Str,
    /// What the member has to say in it.
    pub metadata: Bytes,
}

/// The epoch of the group that the target was made for.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct TargetEpochValue {
    /// The epoch.
    pub assignment_epoch: i32,
}

/// The partitions that a member is to have.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct TargetMemberValue {
    /// The partitions.
    pub topic_partitions: Vec<OwnedPartitions>,
}

/// The partitions that a member has.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0", flexible = "0+")]
pub struct CurrentMemberValue {
    /// The member's epoch.
    pub member_epoch: i32,
    /// The one before, in case the member did not hear of this one.
    pub previous_member_epoch: i32,
    /// 1: it has what it is to have, 2: it has to give something up, 3: it waits for others to.
    pub state: i8,
    /// The partitions that it may read.
    pub assigned_partitions: Vec<OwnedPartitions>,
    /// Those that it has to give up.
    pub partitions_pending_revocation: Vec<OwnedPartitions>,
}

impl CurrentMemberValue {
    /// What the member has by that.
    pub(crate) fn owner(&self) -> Owner {
        let topics = self.assigned_partitions.iter().chain(&self.partitions_pending_revocation);
        let each = |topic: &OwnedPartitions| {
            let id = topic.topic_id;
            topic.partitions.clone().into_iter().map(move |partition| (id, partition))
        };
        Owner { epoch: self.member_epoch, partitions: topics.flat_map(each).collect() }
    }
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct OwnedPartitions {
    /// The topic.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}
