//! The calls between members, and their answers.

use crate::convert::{
    disk_from, disk_to, entries_from, entry_to, id_to, meta_from, meta_to, node_from, some_id_from,
    vote_from, vote_to,
};
use crate::frame::{self, FrameError};
use crate::proto;
use crate::types::{SnapshotMeta, Types, Vote};
use bytes::Bytes;
use highwater_types::DiskId;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};

const SUCCESS: u32 = 1;
const CONFLICT: u32 = 2;
const HIGHER_VOTE: u32 = 3;

/// A call of one member to another.
pub(crate) struct Request {
    pub from: u64,
    pub to: u64,
    /// The disk that the caller takes the called node to have.
    pub to_disk: DiskId,
    pub call: Call,
}

pub(crate) enum Call {
    Vote(VoteRequest<u64>),
    Append(AppendEntriesRequest<Types>),
    Snapshot(Box<Chunk>),
}

/// A piece of a snapshot.
pub(crate) struct Chunk {
    pub vote: Vote,
    pub meta: SnapshotMeta,
    /// How many pieces the snapshot has. One without any is sent as one empty piece.
    pub pieces: u32,
    /// Which one this is.
    pub number: u32,
    pub piece: Bytes,
}

/// The answer to a call.
#[derive(Debug)]
pub(crate) enum Reply {
    Vote(VoteResponse<u64>),
    Append(AppendEntriesResponse<u64>),
    Snapshot(Vote),
    /// The call was not for this node, or could not be understood or done.
    Refused(String),
}

impl Request {
    pub fn encode(&self) -> Bytes {
        let call = match &self.call {
            Call::Vote(call) => proto::Call::Vote(proto::VoteCall {
                vote: Some(vote_to(&call.vote)),
                last: call.last_log_id.as_ref().map(id_to),
            }),
            Call::Append(call) => proto::Call::Append(proto::AppendCall {
                vote: Some(vote_to(&call.vote)),
                previous: call.prev_log_id.as_ref().map(id_to),
                entries: call.entries.iter().map(entry_to).collect(),
                committed: call.leader_commit.as_ref().map(id_to),
            }),
            Call::Snapshot(chunk) => proto::Call::Snapshot(proto::SnapshotCall {
                vote: Some(vote_to(&chunk.vote)),
                meta: Some(meta_to(&chunk.meta, chunk.pieces as usize)),
                number: chunk.number,
                piece: chunk.piece.clone(),
            }),
        };
        let to_disk = disk_to(self.to_disk);
        frame::encode(&proto::Request { from: self.from, to: self.to, to_disk, call: Some(call) })
    }

    pub fn decode(bytes: Bytes) -> Result<Self, FrameError> {
        let request: proto::Request = frame::decode(bytes)?;
        let call = match request.call {
            None => return Err(FrameError::field("call", "this program does not know it")),
            Some(proto::Call::Vote(call)) => {
                Call::Vote(VoteRequest { vote: vote_from(call.vote)?, last_log_id: some_id_from(call.last)? })
            }
            Some(proto::Call::Append(call)) => {
                let prev_log_id = some_id_from(call.previous)?;
                Call::Append(AppendEntriesRequest {
                    vote: leader_vote(call.vote)?,
                    prev_log_id,
                    entries: entries_from(prev_log_id, call.entries)?,
                    leader_commit: some_id_from(call.committed)?,
                })
            }
            Some(proto::Call::Snapshot(call)) => {
                let vote = leader_vote(call.vote)?;
                let (meta, pieces) = meta_from(call.meta)?;
                Call::Snapshot(Box::new(Chunk { vote, meta, pieces, number: call.number, piece: call.piece }))
            }
        };
        let (from, to) = (node_from(request.from)?, node_from(request.to)?);
        Ok(Self { from, to, to_disk: disk_from(&request.to_disk)?, call })
    }
}

/// The vote of a leader: a quorum has granted it.
fn leader_vote(vote: Option<proto::Vote>) -> Result<Vote, FrameError> {
    let vote = vote_from(vote)?;
    if !vote.committed {
        return Err(FrameError::field("vote", "no quorum has granted it"));
    }
    Ok(vote)
}

impl Reply {
    pub fn encode(&self) -> Bytes {
        let append =
            |outcome, higher: Option<&Vote>| proto::AppendAnswer { outcome, higher: higher.map(vote_to) };
        let answer = match self {
            Self::Vote(answer) => proto::Answer::Vote(proto::VoteAnswer {
                vote: Some(vote_to(&answer.vote)),
                granted: answer.vote_granted,
                last: answer.last_log_id.as_ref().map(id_to),
            }),
            Self::Append(answer) => proto::Answer::Append(match answer {
                AppendEntriesResponse::Success => append(SUCCESS, None),
                AppendEntriesResponse::Conflict => append(CONFLICT, None),
                AppendEntriesResponse::HigherVote(vote) => append(HIGHER_VOTE, Some(vote)),
                AppendEntriesResponse::PartialSuccess(_) => {
                    unreachable!("Invariant: members append all of a request or nothing")
                }
            }),
            Self::Snapshot(vote) => {
                proto::Answer::Snapshot(proto::SnapshotAnswer { vote: Some(vote_to(vote)) })
            }
            Self::Refused(why) => proto::Answer::Refused(why.clone()),
        };
        frame::encode(&proto::Reply { answer: Some(answer) })
    }

    pub fn decode(bytes: Bytes) -> Result<Self, FrameError> {
        let reply: proto::Reply = frame::decode(bytes)?;
        Ok(match reply.answer {
            None => return Err(FrameError::field("answer", "this program does not know it")),
            Some(proto::Answer::Vote(answer)) => Self::Vote(VoteResponse {
                vote: vote_from(answer.vote)?,
                vote_granted: answer.granted,
                last_log_id: some_id_from(answer.last)?,
            }),
            Some(proto::Answer::Append(answer)) => Self::Append(match answer.outcome {
                SUCCESS => AppendEntriesResponse::Success,
                CONFLICT => AppendEntriesResponse::Conflict,
                HIGHER_VOTE => AppendEntriesResponse::HigherVote(vote_from(answer.higher)?),
                other => return Err(FrameError::field("outcome", format!("{other} is none"))),
            }),
            Some(proto::Answer::Snapshot(answer)) => Self::Snapshot(vote_from(answer.vote)?),
            Some(proto::Answer::Refused(why)) => Self::Refused(why),
        })
    }
}

#[cfg(test)]
mod tests;
