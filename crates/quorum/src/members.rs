//! Who belongs to the quorum.

use crate::Peer;
use crate::error::ProposeError;
use crate::log_store::broker;
use crate::quorum::{Inner, Quorum};
use crate::types::{Command, Membership, Types};
use bytes::Bytes;
use highwater_env::{Env, Event, sleep};
use highwater_types::{BrokerId, DiskId, mutant};
use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often to look whether a node has caught up.
const GLANCE: Duration = Duration::from_millis(20);
/// When to look again whether a change of voters was ended.
const FINISH_AGAIN: Duration = Duration::from_secs(1);

type Written = Result<ClientWriteResponse<Types>, RaftError<u64, ClientWriteError<u64, Peer>>>;

impl<E: Env> Quorum<E> {
    /// Adds a node that is told of everything and does not vote, or changes where a member is reached. A learner may
    /// come with another disk, and is then taken for a new one. A voter may not: it forgot what it voted and stored.
    /// Take it out of the voters first.
    pub async fn add_learner(&self, id: BrokerId, peer: Peer) -> Result<(), ProposeError> {
        let inner = self.inner();
        let node = node_of(id)?;
        let _turn = inner.membership_turn.lock().await;
        let members = self.members().await?;
        let known = members.get_node(&node);
        if known == Some(&peer) {
            return self.settle_members().await;
        }
        if known.is_some_and(|known| known.disk != peer.disk) && !mutant!("raft-wiped-voter") {
            if members.voter_ids().any(|voter| voter == node) {
                inner.env.observe(&Event::Reached("quorum: voter with another disk refused"));
                return Err(ProposeError::Refused(format!(
                    "node {id} votes with disk {}: with another disk it has to be taken out of the voters first",
                    known.map(|known| known.disk).unwrap_or_default()
                )));
            }
            // What the leader knows of the old one's log does not hold for the new one.
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await?;
        }
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(node, peer)]))).await
    }

    /// Makes these the voters. Each must be a member already; who was a voter and is not named becomes a learner.
    ///
    /// The change goes through a state in which majorities of the old and of the new voters are needed. If it is left
    /// there, whoever leads ends it.
    pub async fn change_voters(&self, voters: BTreeSet<BrokerId>) -> Result<(), ProposeError> {
        let nodes = voters.into_iter().map(node_of).collect::<Result<BTreeSet<u64>, _>>()?;
        let _turn = self.inner().membership_turn.lock().await;
        self.change(ChangeMembers::ReplaceAllVoters(nodes)).await
    }

    /// Makes a node that follows with this disk a voter, once it has everything on that disk that was committed when
    /// this was called. Who is behind, or gone, would be counted and could not be counted on.
    pub async fn add_voter(
        &self,
        id: BrokerId,
        disk: DiskId,
        patience: Duration,
    ) -> Result<(), ProposeError> {
        let clock = self.inner().env.clock();
        let until = clock.now().after(patience);
        let follows = || match self.peer(id) {
            Some(peer) if peer.disk == disk => Ok(()),
            _ => Err(ProposeError::Refused(format!(
                "Node {id} with disk {disk} does not follow the metadata: start it first."
            ))),
        };
        follows()?;
        // What is known of how far it has come may be old: it has to confirm something new.
        let target = self.propose(self.leadership().term, Bytes::new()).await?;
        while self.status().matched.get(&id).is_none_or(|&matched| matched < target) {
            follows()?;
            if !self.leads() {
                return Err(ProposeError::NotLeader { leader: self.leadership().leader });
            }
            if clock.now() >= until {
                self.inner().env.observe(&Event::Reached("quorum: voter that is behind refused"));
                return Err(ProposeError::Refused(format!(
                    "Node {id} has not caught up with the metadata: see that it runs, and try again."
                )));
            }
            sleep(clock, GLANCE).await;
        }
        let node = node_of(id)?;
        let _turn = self.inner().membership_turn.lock().await;
        follows()?;
        let mut voters = latest_voters(&self.members().await?);
        voters.insert(node);
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Makes a voter with this disk a learner. The last voter stays one.
    pub async fn remove_voter(&self, id: BrokerId, disk: DiskId) -> Result<(), ProposeError> {
        let node = node_of(id)?;
        let _turn = self.inner().membership_turn.lock().await;
        if !self.leads() {
            return Err(ProposeError::NotLeader { leader: self.leadership().leader });
        }
        let members = self.members().await?;
        let votes = members.voter_ids().any(|voter| voter == node);
        if !votes || members.get_node(&node).is_none_or(|peer| peer.disk != disk) {
            return Err(ProposeError::Refused(format!("Node {id} with disk {disk} is no voter.")));
        }
        let mut voters = latest_voters(&members);
        voters.remove(&node);
        if voters.is_empty() {
            return Err(ProposeError::Refused("The last voter cannot be removed.".to_owned()));
        }
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Forgets a node that is no voter.
    pub async fn remove_learner(&self, id: BrokerId) -> Result<(), ProposeError> {
        let node = node_of(id)?;
        let _turn = self.inner().membership_turn.lock().await;
        if self.members().await?.get_node(&node).is_none() {
            return self.settle_members().await;
        }
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await
    }

    /// Waits until the members as this node has them are committed: what another call asked for, and did not wait
    /// for, may still come to nothing.
    async fn settle_members(&self) -> Result<(), ProposeError> {
        let asked = self.inner().raft.with_raft_state(|state| {
            let latest = state.membership_state.effective();
            *latest.log_id() <= state.committed
        });
        if self.in_time(asked).await?.map_err(crate::quorum::fatal)? {
            return Ok(());
        }
        self.inner().env.observe(&Event::Reached("quorum: change of members waited for"));
        self.propose(self.leadership().term, Bytes::new()).await.map(drop)
    }

    /// The members as the library has them.
    async fn members(&self) -> Result<Membership, ProposeError> {
        let raft = &self.inner().raft;
        let asked = raft.with_raft_state(|state| state.membership_state.effective().membership().clone());
        self.in_time(asked).await?.map_err(crate::quorum::fatal)
    }

    async fn change(&self, change: ChangeMembers<u64, Peer>) -> Result<(), ProposeError> {
        let written: Written = self.in_time(self.inner().change(change)).await?;
        match written {
            Ok(_) => Ok(()),
            // It may have been written, and be committed by another leader.
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) if self.leads() => {
                Err(ProposeError::Timeout)
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id.map(broker) })
            }
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
                Err(ProposeError::Refused(error.to_string()))
            }
            Err(RaftError::Fatal(error)) => Err(crate::quorum::fatal(error)),
        }
    }

    /// Ends a change of voters that was left in the middle: by a leader before this one, or by a call that did not wait
    /// any longer. Tries until it is done, or another one leads.
    pub(crate) async fn finish_change(self, term: u64) {
        let inner = self.inner();
        while self.try_to_finish_change(term).await.is_continue() {
            sleep(inner.env.clock(), FINISH_AGAIN).await;
        }
        inner.is_change_watched.store(false, Ordering::Release);
    }

    async fn try_to_finish_change(&self, term: u64) -> ControlFlow<()> {
        let inner = self.inner();
        let _turn = inner.membership_turn.lock().await;
        let is_open = self.members().await.is_ok_and(|members| members.get_joint_config().len() > 1);
        if !is_open || !self.leads() || self.leadership().term != term {
            return ControlFlow::Break(());
        }
        inner.env.observe(&Event::Reached("quorum: change of voters left in the middle"));
        // The library may never answer, where a snapshot takes the place of what it wrote.
        if let Err(error) = self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await {
            tracing::warn!(%error, "cannot end a change of voters yet");
        }
        ControlFlow::Continue(())
    }
}

impl<E: Env> Inner<E> {
    /// Changes the members.
    ///
    /// A change of voters comes alone: it is written when all that was proposed before is committed, and nothing is
    /// proposed until it is committed itself. Whoever has the entry that takes it out, and does not know it to be
    /// committed, cannot stand for election. Were there entries before this one that only it has, then nobody else
    /// could be elected either where its vote is needed.
    async fn change(&self, change: ChangeMembers<u64, Peer>) -> Written {
        let of_voters = matches!(change, ChangeMembers::ReplaceAllVoters(_) | ChangeMembers::AddVoterIds(_));
        let _alone = if of_voters && !mutant!("voters-beside-others") {
            let alone = self.proposals.write().await;
            let term = self.progress.known().leadership.term;
            self.raft.client_write(Command { term, data: Bytes::new(), fate: None }).await?;
            Some(alone)
        } else {
            None
        };
        self.raft.change_membership(change, true).await
    }
}

fn node_of(id: BrokerId) -> Result<u64, ProposeError> {
    u64::try_from(id.0).map_err(|_| ProposeError::Refused(format!("{id} is no node's id")))
}

/// The voters, or those that a change under way leads to.
fn latest_voters(members: &Membership) -> BTreeSet<u64> {
    members.get_joint_config().last().cloned().unwrap_or_default()
}
