//! ConsumerGroupDescribe (key 69): groups of the new protocol and their members (KIP-848). Version 1 tells the
//! members of the classic protocol apart (KIP-1099).

use crate::{ErrorCode, Message, Str};
use highwater_types::{PartitionIndex, TopicId};

/// Which groups to describe.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(
    key = CONSUMER_GROUP_DESCRIBE,
    response = ConsumerGroupDescribeResponse,
    versions = "0-1",
    flexible = "0+"
)]
pub struct ConsumerGroupDescribeRequest {
    /// The groups.
    pub group_ids: Vec<Str>,
    /// Whether to say what the client may do with them.
    pub include_authorized_operations: bool,
}

/// The groups.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-1", flexible = "0+")]
pub struct ConsumerGroupDescribeResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The groups.
    pub groups: Vec<DescribedGroup>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct DescribedGroup {
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
    /// The group.
    pub group_id: Str,
    /// Its state, in Kafka's words.
    pub group_state: Str,
    /// The group's epoch.
    pub group_epoch: i32,
    /// The epoch that the assignment was made in.
    pub assignment_epoch: i32,
    /// The assignor in use.
    pub assignor_name: Str,
    /// The members.
    pub members: Vec<Member>,
    /// What the client may do with it, a bit each; the least number if it was not asked for.
    #[field(default = i32::MIN)]
    pub authorized_operations: i32,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Member {
    /// The member.
    pub member_id: Str,
    /// The name of a static member.
    #[field(nullable = "0+")]
    pub instance_id: Option<Str>,
    /// Its rack.
    #[field(nullable = "0+")]
    pub rack_id: Option<Str>,
    /// Its epoch.
    pub member_epoch: i32,
    /// The client's name for itself.
    pub client_id: Str,
    /// Where it connects from.
    pub client_host: Str,
    /// The topics that it wants.
    pub subscribed_topic_names: Vec<Str>,
    /// The topics that it wants, as a regular expression.
    #[field(nullable = "0+")]
    pub subscribed_topic_regex: Option<Str>,
    /// The partitions that it has.
    pub assignment: Assignment,
    /// The partitions that it is to have.
    pub target_assignment: Assignment,
    /// 0: a member of the classic protocol, 1: of the new one, -1: not known.
    #[field(versions = "1+", default = -1)]
    pub member_type: i8,
}

/// The partitions of one member.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Assignment {
    /// The partitions, topic by topic.
    pub topic_partitions: Vec<TopicPartitions>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicPartitions {
    /// The topic.
    pub topic_id: TopicId,
    /// The topic's name.
    pub topic_name: Str,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}
