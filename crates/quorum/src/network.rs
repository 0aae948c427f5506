//! The library's calls to other members.

use crate::leadership::Progress;
use crate::message::{Call, Chunk, Reply, Request};
use crate::transport::Transport;
use crate::types::{Snapshot, Types, Vote};
use crate::{Peer, log_store::broker};
use bytes::Bytes;
use highwater_env::{Env, First, first, sleep, timeout};
use openraft::OptionalSend;
use openraft::error::{Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    SnapshotResponse, VoteRequest, VoteResponse,
};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long a call takes at the least that fails, but for those that were not answered in time.
const FAILED_PAUSE: Duration = Duration::from_millis(100);

type CallError = RPCError<u64, Peer, RaftError<u64>>;

/// Makes the library's clients.
pub(crate) struct Clients<E> {
    pub env: E,
    pub node: u64,
    pub transport: Arc<dyn Transport>,
    pub snapshot_timeout: Duration,
    pub progress: Arc<Progress>,
}

impl<E: Env> RaftNetworkFactory<Types> for Clients<E> {
    type Network = Client<E>;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Client<E> {
        Client {
            env: self.env.clone(),
            node: self.node,
            target,
            peer: peer.clone(),
            transport: Arc::clone(&self.transport),
            snapshot_timeout: self.snapshot_timeout,
            progress: Arc::clone(&self.progress),
        }
    }
}

/// Calls one member. Its errors are all of the kind that makes the library go on at its own pace: its other way, to
/// back off, draws randomness of its own.
pub(crate) struct Client<E> {
    env: E,
    node: u64,
    target: u64,
    peer: Peer,
    transport: Arc<dyn Transport>,
    snapshot_timeout: Duration,
    progress: Arc<Progress>,
}

impl<E: Env> Client<E> {
    async fn call(&self, call: Call) -> io::Result<Reply> {
        let request = Request { from: self.node, to: self.target, to_disk: self.peer.disk, call };
        let answer = self.transport.call(broker(self.target), &self.peer, request.encode()).await?;
        match Reply::decode(answer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Reply::Refused(why) => Err(io::Error::other(format!("node {} refused: {why}", self.target))),
            reply => Ok(reply),
        }
    }

    /// Sends the pieces one after another; the last is answered when the snapshot is installed.
    async fn send_snapshot(&self, vote: Vote, snapshot: Snapshot) -> io::Result<Vote> {
        let count = u32::try_from(snapshot.snapshot.len()).map_err(io::Error::other)?;
        let mut answered = vote;
        for number in 0..count.max(1) {
            let piece = snapshot.snapshot.get(number as usize).cloned().unwrap_or_else(Bytes::new);
            let chunk = Chunk { vote, meta: snapshot.meta.clone(), pieces: count, number, piece };
            let call = self.call(Call::Snapshot(Box::new(chunk)));
            let reply = timeout(self.env.clock(), self.snapshot_timeout, call).await;
            answered = match reply.map_err(|_| io::ErrorKind::TimedOut)?? {
                Reply::Snapshot(vote) => vote,
                other => return Err(unexpected(&other)),
            };
            if answered > vote {
                break;
            }
        }
        Ok(answered)
    }
}

impl<E: Env> RaftNetwork<Types> for Client<E> {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        let (vote, from_start) = (rpc.vote, rpc.prev_log_id.is_none());
        let reply = match self.call(Call::Append(rpc)).await {
            Ok(reply) => reply,
            Err(error) => {
                // The library calls again at once, and who is down or refuses does not change its mind so fast.
                if error.kind() != io::ErrorKind::TimedOut {
                    sleep(self.env.clock(), FAILED_PAUSE).await;
                }
                return Err(network(error));
            }
        };
        match reply {
            // The library would take its own rules for broken.
            Reply::Append(AppendEntriesResponse::HigherVote(higher))
                if higher.partial_cmp(&vote) != Some(std::cmp::Ordering::Greater) =>
            {
                Err(network(io::Error::other("a vote that is no higher was answered as such")))
            }
            Reply::Append(AppendEntriesResponse::Conflict) if from_start => {
                Err(network(io::Error::other("a conflict before the first entry was answered")))
            }
            Reply::Append(answer) => Ok(answer),
            other => Err(network(unexpected(&other))),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError> {
        let last = rpc.last_log_id;
        match self.call(Call::Vote(rpc)).await.map_err(network)? {
            Reply::Vote(answer) => {
                if !answer.vote_granted && answer.last_log_id > last {
                    self.progress.behind();
                }
                Ok(answer)
            }
            other => Err(network(unexpected(&other))),
        }
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<Types>,
        _option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, Peer, RaftError<u64, openraft::error::InstallSnapshotError>>,
    > {
        let error = io::Error::other("snapshots are sent whole");
        Err(RPCError::Network(NetworkError::new(&error)))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        let sending = pin!(self.send_snapshot(vote, snapshot));
        match first(cancel, sending).await {
            First::One(closed) => Err(StreamingError::Closed(closed)),
            First::Other(Ok(vote)) => Ok(SnapshotResponse::new(vote)),
            First::Other(Err(error)) => Err(StreamingError::Network(NetworkError::new(&error))),
        }
    }
}

fn network(error: io::Error) -> CallError {
    RPCError::Network(NetworkError::new(&error))
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer is of another call: {reply:?}"))
}
