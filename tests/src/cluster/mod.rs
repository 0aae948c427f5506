//! A cluster of real processes under faults, while stock clients produce to it.
//!
//! A kill keeps the page cache: this proves replication, elections and the way back over real sockets and processes,
//! not what a power loss takes. The simulator does that.

pub mod lab;
pub mod node;
pub mod replicas;
pub mod rounds;

pub use rounds::{ClusterTest, Seen};
