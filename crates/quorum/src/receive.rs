//! Calls of other members.

use crate::message::{Call, Chunk, Reply, Request};
use crate::quorum::{Inner, Quorum};
use crate::snapshot_file::MAX_SNAPSHOT_BYTES;
use crate::types::{EffectiveMembership, Snapshot, SnapshotMeta, Vote};
use bytes::Bytes;
use highwater_env::{Env, Event};
use highwater_types::mutant;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use std::fmt::Display;

/// A snapshot of which some pieces have come.
pub(crate) struct Incoming {
    vote: Vote,
    meta: SnapshotMeta,
    expected: u32,
    pieces: Vec<Bytes>,
    bytes: u64,
}

impl<E: Env> Quorum<E> {
    /// Answers a call of another member. Garbage, and calls for another node or disk, get an answer that says so.
    pub async fn handle(&self, request: Bytes) -> Bytes {
        let reply = match Request::decode(request) {
            Ok(request) => self.within(self.inner().answer(request)).await,
            Err(error) => Reply::Refused(error.to_string()),
        };
        reply.encode()
    }
}

impl<E: Env> Inner<E> {
    async fn answer(&self, request: Request) -> Reply {
        if request.to != self.node() {
            return Reply::Refused(format!("this is node {}, not node {}", self.node(), request.to));
        }
        if request.to_disk != self.options.disk && !mutant!("raft-wiped-voter") {
            self.env.observe(&Event::Reached("quorum: call for another disk refused"));
            return Reply::Refused(format!(
                "this is disk {}, not disk {}",
                self.options.disk, request.to_disk
            ));
        }
        match request.call {
            Call::Vote(call) => self.vote_for(call).await,
            Call::Append(call) => self.append(call).await,
            Call::Snapshot(chunk) => self.take_chunk(*chunk).await,
        }
    }

    /// Votes, or not.
    ///
    /// A voter that has the entry that takes it out, and does not know it to be committed, may still be needed to
    /// elect who commits it (dissertation on Raft, 4.2.2): the others may not have the entry. The library would have
    /// it refuse them for that. But from this entry on nothing counts it, so it may compare logs as if it had got
    /// only what comes before.
    async fn vote_for(&self, mut call: VoteRequest<u64>) -> Reply {
        let node = self.node();
        let taken_out = self.raft.with_raft_state(move |state| {
            let (latest, before) = (state.membership_state.effective(), state.membership_state.committed());
            let is_voter = |members: &EffectiveMembership| members.voter_ids().any(|voter| voter == node);
            let taken_out = !is_voter(latest) && is_voter(before);
            latest.log_id().filter(|_| taken_out).map(|id| id.index)
        });
        match taken_out.await {
            Ok(Some(index)) => {
                let (before, last) = (self.log.id_before(index), self.log.last());
                if before.is_some() && call.last_log_id >= before && call.last_log_id < last {
                    self.env.observe(&Event::Reached("quorum: voter on its way out votes"));
                    call.last_log_id = last;
                }
            }
            Ok(None) => {}
            Err(error) => return refused(error),
        }
        match self.raft.vote(call).await {
            Ok(answer) => Reply::Vote(answer),
            Err(error) => refused(error),
        }
    }

    async fn append(&self, mut call: AppendEntriesRequest<crate::types::Types>) -> Reply {
        let known = self.vote();
        if let Some(refusal) = self.other_leader(&call.vote, &known) {
            return refusal;
        }
        if mutant!("raft-old-catchup") && known.committed && call.vote < known {
            call.vote = known;
        }
        match self.raft.append_entries(call).await {
            Ok(answer) => {
                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                    self.progress.heard(self.now());
                }
                Reply::Append(answer)
            }
            Err(error) => refused(error),
        }
    }

    /// The vote as the library last told it.
    fn vote(&self) -> Vote {
        self.metrics.borrow().vote
    }

    /// Two leaders of one term break the library's invariants, which would stop the member. Whoever claims to be the
    /// second is not believed.
    fn other_leader(&self, claimed: &Vote, known: &Vote) -> Option<Reply> {
        let clash = claimed.committed
            && known.committed
            && claimed.leader_id.term == known.leader_id.term
            && claimed.leader_id.voted_for != known.leader_id.voted_for;
        clash.then(|| {
            tracing::error!(%claimed, %known, "a second leader of one term called");
            Reply::Refused(format!("{known} leads this term"))
        })
    }

    async fn take_chunk(&self, chunk: Chunk) -> Reply {
        let known = self.vote();
        if let Some(refusal) = self.other_leader(&chunk.vote, &known) {
            return refusal;
        }
        if known > chunk.vote {
            return Reply::Snapshot(known);
        }
        self.progress.heard(self.now());
        let vote = chunk.vote;
        let complete = {
            let mut slot = self.incoming.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match add_chunk(&mut slot, chunk) {
                Ok(complete) => complete,
                Err(why) => return Reply::Refused(why.to_owned()),
            }
        };
        let Some(snapshot) = complete else { return Reply::Snapshot(vote) };
        match self.raft.install_full_snapshot(vote, snapshot).await {
            Ok(answer) => Reply::Snapshot(answer.vote),
            Err(error) => refused(error),
        }
    }
}

/// Adds a piece to what has come; returns the snapshot when it is whole.
fn add_chunk(slot: &mut Option<Incoming>, chunk: Chunk) -> Result<Option<Snapshot>, &'static str> {
    let Chunk { vote, meta, pieces: expected, number, piece } = chunk;
    let same =
        |incoming: &Incoming| (incoming.vote, &incoming.meta, incoming.expected) == (vote, &meta, expected);
    if number == 0 {
        *slot = Some(Incoming { vote, meta, expected, pieces: Vec::new(), bytes: 0 });
    } else if !slot.as_ref().is_some_and(same) {
        return Err("the beginning of this snapshot has not come");
    }
    let incoming = slot.as_mut().expect("it is there or was just made");
    match (number as usize).cmp(&incoming.pieces.len()) {
        // It came twice.
        std::cmp::Ordering::Less => return Ok(None),
        std::cmp::Ordering::Greater => return Err("a piece of this snapshot is missing"),
        std::cmp::Ordering::Equal => {}
    }
    if expected > 0 {
        incoming.bytes += piece.len() as u64;
        incoming.pieces.push(piece);
    }
    if incoming.bytes > MAX_SNAPSHOT_BYTES {
        *slot = None;
        return Err("the snapshot is larger than any may be");
    }
    if incoming.pieces.len() < expected as usize {
        return Ok(None);
    }
    Ok(slot.take().map(|done| Snapshot { meta: done.meta, snapshot: Box::new(done.pieces) }))
}

fn refused(error: impl Display) -> Reply {
    Reply::Refused(error.to_string())
}
