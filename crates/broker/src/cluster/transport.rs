//! How the quorum's members reach each other: through the internal port.

use crate::config::VoterConfig;
use crate::internal::message::{Ask, Tell};
use crate::internal::{CallError, Peers};
use bytes::Bytes;
use highwater_env::Env;
use highwater_quorum::{Peer, Transport};
use highwater_types::BrokerId;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The longest that any call of the quorum may take; it has limits of its own, which are shorter.
const LIMIT: Duration = Duration::from_secs(60);

/// Carries the quorum's calls over the internal port.
pub(super) struct PeerTransport<E: Env> {
    peers: Arc<Peers<E>>,
    /// Where the configuration says that voters are: it is newer than what the quorum was once told.
    voters: BTreeMap<BrokerId, (String, u16)>,
}

impl<E: Env> PeerTransport<E> {
    pub(super) fn new(peers: Arc<Peers<E>>, voters: &[VoterConfig]) -> Self {
        let voters = voters.iter().map(|voter| (voter.id, (voter.host.clone(), voter.port))).collect();
        Self { peers, voters }
    }
}

impl<E: Env> Transport for PeerTransport<E> {
    fn call(
        &self,
        to: BrokerId,
        peer: &Peer,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>> {
        let peers = Arc::clone(&self.peers);
        let (host, port) = self.voters.get(&to).cloned().unwrap_or_else(|| (peer.host.clone(), peer.port));
        Box::pin(async move {
            match peers.call(to, (&host, port), Ask::Raft(request), LIMIT).await {
                Ok(Tell::Raft(reply)) => Ok(reply),
                Ok(Tell::Failed(failed)) => Err(io::Error::other(failed.message)),
                Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a reply to another call")),
                Err(error @ CallError::NotSent(_)) => {
                    Err(io::Error::new(io::ErrorKind::NotConnected, error.to_string()))
                }
                Err(error @ CallError::Open(_)) => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, error.to_string()))
                }
            }
        })
    }
}
