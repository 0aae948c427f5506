//! ConsumerGroupHeartbeat (key 68): joins, stays in and leaves a group of the new protocol, and brings partitions
//! (KIP-848). Version 1 lets a member choose its own id and subscribe to a regular expression.

use crate::{ErrorCode, Message, Str};
use highwater_types::{PartitionIndex, TopicId};

/// A member and what changed with it since it last said so.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(
    key = CONSUMER_GROUP_HEARTBEAT,
    response = ConsumerGroupHeartbeatResponse,
    versions = "0-1",
    flexible = "0+"
)]
pub struct ConsumerGroupHeartbeatRequest {
    /// The group.
    pub group_id: Str,
    /// The member.
    pub member_id: Str,
    /// Its epoch; 0 to join, -1 to leave, -2 to leave as a static member that comes back.
    pub member_epoch: i32,
    /// The name of a static member.
    #[field(nullable = "0+")]
    pub instance_id: Option<Str>,
    /// The member's rack.
    #[field(nullable = "0+")]
    pub rack_id: Option<Str>,
    /// For how long the member may take to give up partitions, in milliseconds; -1 if it did not change.
    #[field(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// The topics that it wants, null if they did not change.
    #[field(nullable = "0+")]
    pub subscribed_topic_names: Option<Vec<Str>>,
    /// The topics that it wants, as a regular expression; null if it did not change.
    #[field(versions = "1+", nullable = "1+")]
    pub subscribed_topic_regex: Option<Str>,
    /// The assignor that it wants, null for any or if it did not change.
    #[field(nullable = "0+")]
    pub server_assignor: Option<Str>,
    /// The partitions that it has, null if they did not change.
    #[field(nullable = "0+")]
    pub topic_partitions: Option<Vec<TopicPartitions>>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicPartitions {
    /// The topic.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// What the member is to do.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-1", flexible = "0+")]
pub struct ConsumerGroupHeartbeatResponse {
    /// How long the client is held back by a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// What is wrong, in words.
    #[field(nullable = "0+")]
    pub error_message: Option<Str>,
    /// The member.
    #[field(nullable = "0+")]
    pub member_id: Option<Str>,
    /// Its epoch.
    pub member_epoch: i32,
    /// How often it is to say that it is alive, in milliseconds.
    pub heartbeat_interval_ms: i32,
    /// The partitions that it is to have, null if they did not change.
    #[field(nullable = "0+")]
    pub assignment: Option<Assignment>,
}

/// The partitions of one member.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct Assignment {
    /// The partitions, topic by topic.
    pub topic_partitions: Vec<TopicPartitions>,
}
