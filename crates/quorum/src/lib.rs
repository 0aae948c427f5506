//! stub
mod error; mod machine; mod options; mod peer; mod transport;
pub use error::*; pub use machine::*; pub use options::*; pub use peer::*; pub use transport::*;
use bytes::Bytes; use highwater_env::Env; use highwater_log::Log; use highwater_types::BrokerId; use std::sync::Arc; use std::collections::{BTreeMap, BTreeSet};
#[derive(Clone, Debug, PartialEq, Eq, Default)] pub struct Leadership { pub term: u64, pub leader: Option<BrokerId> }
pub struct Fence { pub term: u64, pub index: u64 }
pub struct Quorum<E: Env>(std::marker::PhantomData<fn() -> E>);
#[allow(unused, clippy::all)]
impl<E: Env> Quorum<E> {
    pub async fn open(env: E, log: Log<E>, options: QuorumOptions, transport: Arc<dyn Transport>, machine: Box<dyn Machine>) -> Result<Self, QuorumError> { todo!() }
    pub fn is_bootstrapped(&self) -> bool { todo!() }
    pub async fn bootstrap(&self, voters: BTreeMap<BrokerId, Peer>) -> Result<(), QuorumError> { todo!() }
    pub async fn handle(&self, request: Bytes) -> Bytes { todo!() }
    pub async fn propose(&self, term: u64, command: Bytes) -> Result<u64, ProposeError> { todo!() }
    pub async fn fence(&self) -> Result<Fence, ProposeError> { todo!() }
    pub fn leadership(&self) -> Leadership { todo!() }
    pub async fn leadership_changed(&self, from: &Leadership) -> Leadership { todo!() }
    pub fn peer(&self, id: BrokerId) -> Option<Peer> { todo!() }
    pub async fn add_learner(&self, id: BrokerId, peer: Peer) -> Result<(), ProposeError> { todo!() }
    pub async fn change_voters(&self, voters: BTreeSet<BrokerId>) -> Result<(), ProposeError> { todo!() }
    pub async fn shutdown(&self) { todo!() }
}
