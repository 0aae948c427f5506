//! What comes in with a request, and what comes out.

use crate::Record;
use bytes::Bytes;
use highwater_types::{Instant, PartitionIndex, Timestamp, TopicId, Uuid};
use highwater_wire::messages::{ConsumerGroupHeartbeatResponse, JoinGroupResponse, SyncGroupResponse};
use highwater_wire::{ErrorCode, Str};

/// A request that waits for its answer. The driver numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Records on their way into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// Now, by the clock that measures and by the one on the wall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For sessions and timeouts.
    pub instant: Instant,
    /// For what is kept over restarts.
    pub wall: Timestamp,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its name for itself.
    pub id: &'a str,
    /// Where it connects from.
    pub host: &'a str,
    /// The version of its request.
    pub version: i16,
    /// A number never drawn before, for a member that needs an id.
    pub fresh: Uuid,
}

/// What a driver is to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Answer a request.
    Answer(Token, Answer),
    /// Write records, together and behind all those before them, and say when they are committed, or that they were
    /// not written.
    Write(WriteId, Vec<Record>),
    /// Make the coordinator anew from the log: what it took for written was not.
    Reload,
    /// Nothing: something came to be that whoever watches may want to know.
    Note(Note),
}

/// Something that came to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The members of a group have these assignments; in generation -1, the group is gone.
    Generation {
        /// The group.
        group: Str,
        /// The generation.
        generation: i32,
        /// The protocol that they chose.
        protocol: Str,
        /// The members, what they had to say in that protocol, and their assignments.
        members: Vec<(Str, Bytes, Bytes)>,
    },
    /// Members of a group of the new protocol have these partitions, by the log.
    Owners {
        /// The group.
        group: Str,
        /// Whether these are all of its members.
        all: bool,
        /// The members, in the order of the log; None: it is gone.
        members: Vec<(Str, Option<Owner>)>,
        /// What those of the classic protocol among them had to say, who said it anew.
        said: Vec<(Str, Bytes)>,
    },
    /// A commit of offsets was accepted, and is in the log.
    Committed {
        /// The group.
        group: Str,
        /// The generation or the member's epoch that the client named, -1 from one that is no member.
        generation: i32,
        /// The member.
        member: Str,
    },
}

/// What a member of the new protocol has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its epoch.
    pub epoch: i32,
    /// The partitions that it may read, and those that it has to give up.
    pub partitions: Vec<(TopicId, PartitionIndex)>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To JoinGroup.
    Join(JoinGroupResponse),
    /// To SyncGroup.
    Sync(SyncGroupResponse),
    /// To Heartbeat.
    Heartbeat(ErrorCode),
    /// To ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To LeaveGroup, for each of the members.
    Leave(Vec<ErrorCode>),
    /// To OffsetCommit, for each of the offsets, or for the request.
    Commit(Result<Vec<ErrorCode>, ErrorCode>),
    /// To OffsetDelete, for each of the partitions, or for the request.
    DeleteOffsets(Result<Vec<ErrorCode>, ErrorCode>),
    /// To one group's part of DeleteGroups.
    DeleteGroup(ErrorCode),
}

impl Answer {
    /// The answer to the same request when its records were not written.
    pub(crate) fn failed(self, code: ErrorCode) -> Self {
        match self {
            Self::Join(response) => Self::Join(JoinGroupResponse {
                error_code: code,
                member_id: response.member_id,
                ..JoinGroupResponse::default()
            }),
            Self::Sync(_) => {
                Self::Sync(SyncGroupResponse { error_code: code, ..SyncGroupResponse::default() })
            }
            Self::Heartbeat(_) => Self::Heartbeat(code),
            Self::ConsumerHeartbeat(_) => Self::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
                error_code: code,
                ..ConsumerGroupHeartbeatResponse::default()
            }),
            Self::Leave(codes) => Self::Leave(vec![code; codes.len()]),
            Self::Commit(_) => Self::Commit(Err(code)),
            Self::DeleteOffsets(_) => Self::DeleteOffsets(Err(code)),
            Self::DeleteGroup(_) => Self::DeleteGroup(code),
        }
    }
}
