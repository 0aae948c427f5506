//! The founding of a quorum: once in the life of a cluster.
//!
//! The voter with the lowest number asks all others who they are and what disk they have. When all have answered, and
//! none of them knows of a quorum, it founds one of exactly these. A voter that lost its disk later cannot do so again:
//! the others know better.

use super::{Cluster, ClusterError};
use crate::config::VoterConfig;
use crate::internal::message::Hello;
use highwater_env::{Env, sleep};
use highwater_quorum::Peer;
use highwater_types::BrokerId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a voter has for its greeting.
const LIMIT: Duration = Duration::from_secs(2);
/// How long a voter has for it that need not be there.
const GLANCE: Duration = Duration::from_millis(500);
/// How long to wait before those that did not answer are asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// After how many rounds people are told what is waited for.
const ROUNDS_PER_WORD: u32 = 25;

fn misnamed(voter: &VoterConfig, hello: &Hello) -> ClusterError {
    ClusterError::Config(format!(
        "{}:{} is named as voter {}, and it is node {}: correct the list of voters",
        voter.host, voter.port, voter.id, hello.node
    ))
}

impl<E: Env> Cluster<E> {
    /// Looks whether the voters that can be reached are who this node takes them for.
    pub(super) async fn meet_voters(&self) -> Result<(), ClusterError> {
        let inner = &self.0;
        for voter in inner.config.voters.iter().filter(|voter| voter.id != inner.node) {
            match inner.peers.greet(&voter.host, voter.port, GLANCE).await {
                Ok(hello) if hello.node != voter.id.0 => return Err(misnamed(voter, &hello)),
                // Who turns this node away has said so, and others may yet take it.
                _ => {}
            }
        }
        Ok(())
    }

    /// Founds the quorum if that is this node's to do; returns when it is founded, or another's to do.
    pub(super) async fn found(&self) -> Result<(), ClusterError> {
        let inner = &self.0;
        if inner.quorum.is_bootstrapped() {
            return Ok(());
        }
        let own = Peer { host: String::new(), port: 0, disk: inner.store.disk_id() };
        let voters = &inner.config.voters;
        if voters.is_empty() {
            let alone = BTreeMap::from([(inner.node, own)]);
            return Ok(inner.quorum.bootstrap(alone).await?);
        }
        if voters.iter().map(|voter| voter.id).min() != Some(inner.node) {
            return Ok(());
        }
        let mut known: BTreeMap<BrokerId, Peer> = BTreeMap::new();
        let mut rounds = 0_u32;
        loop {
            let mut missing = Vec::new();
            for voter in voters {
                let peer = |disk| Peer { host: voter.host.clone(), port: voter.port, disk };
                if voter.id == inner.node {
                    known.insert(voter.id, peer(inner.store.disk_id()));
                    continue;
                }
                match inner.peers.greet(&voter.host, voter.port, LIMIT).await {
                    Ok(hello) if hello.founded => {
                        tracing::warn!(
                            voter = %voter.id,
                            "the quorum was founded before, without the disk that this node has now: the node takes no \
                             part in it until it is made a voter again (highwater cluster remove-voter, add-voter)"
                        );
                        return Ok(());
                    }
                    Ok(hello) if hello.node != voter.id.0 => return Err(misnamed(voter, &hello)),
                    Ok(hello) => {
                        known.extend(hello.disk().map(|disk| (voter.id, peer(disk))));
                    }
                    Err(problem) => missing.push(format!("{} ({problem})", voter.id)),
                }
            }
            if missing.is_empty() && known.len() == voters.len() {
                return Ok(inner.quorum.bootstrap(known).await?);
            }
            if inner.stop.is_raised() {
                return Err(ClusterError::Stopped);
            }
            if rounds.is_multiple_of(ROUNDS_PER_WORD) {
                tracing::info!("waiting for all voters to found the quorum; missing: {}", missing.join(", "));
            }
            rounds += 1;
            sleep(inner.env.clock(), PAUSE).await;
        }
    }
}
