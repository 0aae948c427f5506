//! How far a group has read a partition.

use highwater_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use highwater_wire::{Message, Str};

/// The key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Message)]
#[message(versions = "0", flexible = "none")]
pub struct OffsetCommitKey {
    /// The group.
    pub group: Str,
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: PartitionIndex,
}

/// The value. Version 1 alone says when it expires; 3 brings the leader epoch, 4 is the first flexible one and may
/// name the topic by its id.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(versions = "0-4", flexible = "4+")]
pub struct OffsetCommitValue {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read.
    #[field(versions = "3+", default = LeaderEpoch::NONE)]
    pub leader_epoch: LeaderEpoch,
    /// What the client keeps with it.
    pub metadata: Str,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
    /// When it expires, if the client said so.
    #[field(versions = "1", default = Timestamp::NONE)]
    pub expire_timestamp: Timestamp,
    /// The topic.
    #[field(versions = "4+", tag = 0)]
    pub topic_id: TopicId,
}

impl OffsetCommitValue {
    /// The version that it is written in: as Kafka does, the last one that older readers know, and the only one that
    /// can say when it expires if that is to be said.
    pub(super) fn version(&self) -> i16 {
        if self.expire_timestamp == Timestamp::NONE { 3 } else { 1 }
    }
}
