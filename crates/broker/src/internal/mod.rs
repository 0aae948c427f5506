//! The internal port: what the nodes of a cluster tell each other beside Kafka's own calls.
//!
//! A connection begins with a greeting in each direction ([`message::Hello`]), by which a node of another cluster,
//! another version or another disk than was expected is turned away with a reason. Then calls go one way and replies
//! the other, many at once, told apart by their numbers. Replication is not here: followers use Kafka's Fetch.
//!
//! Architecture invariant: what arrives here is bounded before memory is taken, and never panics a node.

pub(crate) mod frame;
pub(crate) mod message;
mod peers;
mod server;

pub(crate) use peers::{CallError, Peers};
pub(crate) use server::{Serve, Telling, failed, start};
