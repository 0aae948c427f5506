//! Replication of one partition, as its leader and as a follower see it.
//!
//! Nothing here does anything by itself: fetches, answers, the ends of logs and `now` come in, and what to do comes
//! out. There is no I/O, no clock, no task, and nothing of Kafka's wire format. What is decided here:
//!
//! - on the leader, how far records are committed (the high watermark), who is in sync, and what the controller is
//!   asked to change of that ([`Leader`]);
//! - on a follower, from where it fetches, where it cuts its log when that parts from the leader's, and which high
//!   watermark it may believe ([`Follower`]);
//! - on both, whether two logs agree, from the epochs of their leaders ([`compare`]).
//!
//! Invariants, which hold as long as a leader is elected from the in-sync set alone:
//!
//! - A record below the high watermark stands in the log of every in-sync replica, also of those that the controller
//!   may have admitted without the leader knowing yet, and in `sync` mode on their disks.
//! - No follower cuts such a record off.
//! - The high watermark of a leader never falls within its epoch, and moves only while enough replicas are in sync.

mod assignment;
mod follower;
mod history;
mod in_sync;
mod leader;
mod proposal;
mod remote;

pub use assignment::Assignment;
pub use follower::{FetchAnswer, FetchPosition, Follower, Outcome, Step};
pub use history::{Agreement, History, compare};
pub use leader::{Ends, FollowerFetch, Leader, Moved, Rules, UncountedFetch};
pub use proposal::{Proposal, ProposalAnswer};
