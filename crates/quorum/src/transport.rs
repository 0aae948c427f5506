//! How calls between members travel.

use crate::Peer;
use bytes::Bytes;
use highwater_types::BrokerId;
use std::future::Future;
use std::io;
use std::pin::Pin;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries a member's calls to the others. The other end hands the bytes to [`Quorum::handle`](crate::Quorum::handle)
/// and sends back what that returns.
///
/// Deadlines are the caller's: the future is dropped when its time is over. An answer must belong to its request; a
/// request may arrive late, twice or not at all.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request to a member, and returns its answer.
    fn call(&self, to: BrokerId, peer: &Peer, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>>;
}
