//! The quorum that keeps cluster state: Raft, by the `openraft` library, over the log and the machine of a node.
//!
//! [`Quorum`] opens a member on a log of the node's store and a directory beside it, takes calls of other members,
//! and orders commands; what they lead to is a [`Machine`], and how calls travel a [`Transport`]. Here live the
//! storage of the library (entries as record batches, the vote, snapshots), the messages between members, and the
//! runtime that makes the library ask the node's environment for time, tasks and randomness. What a command means,
//! and where a connection goes, is not known here. `docs/FORMAT.md` describes files and entries byte by byte.
//!
//! Architecture invariant: the library is entered only with the node's environment in scope, so that nothing in it
//! reaches for a clock, a task or randomness of its own.

mod convert;
mod elections;
mod error;
mod files;
mod frame;
mod leadership;
mod log_store;
mod machine;
mod members;
mod message;
mod network;
mod open;
mod options;
mod payload;
mod peer;
mod proto;
mod quorum;
mod receive;
mod runtime;
mod snapshot_file;
mod state_machine;
mod transport;
mod types;

pub use error::{ProposeError, QuorumError};
pub use frame::{FRAME_VERSION, FrameError, MAX_FRAME_BYTES};
pub use leadership::{Fence, Leadership, Status};
pub use machine::{Encode, Machine};
pub use options::{MAX_COMMAND_BYTES, QuorumOptions};
pub use peer::Peer;
pub use quorum::Quorum;
pub use transport::{BoxFuture, Transport};

/// The parsers of what comes from disks and peers, for fuzzing: none may panic, whatever the bytes.
pub mod parse {
    use bytes::Bytes;

    /// A call of a peer.
    pub fn request(bytes: Bytes) -> bool {
        crate::message::Request::decode(bytes).is_ok()
    }

    /// The answer to a call.
    pub fn reply(bytes: Bytes) -> bool {
        crate::message::Reply::decode(bytes).is_ok()
    }

    /// The value of an entry's record.
    pub fn payload(bytes: Bytes) -> bool {
        crate::payload::decode(bytes).is_ok()
    }

    /// The file that holds the vote.
    pub fn vote(bytes: Bytes) -> bool {
        crate::files::decode_vote(bytes).is_ok()
    }

    /// A file that holds the id of an entry.
    pub fn log_id(bytes: Bytes) -> bool {
        crate::files::decode_log_id(bytes).is_ok()
    }

    /// A snapshot file.
    pub fn snapshot(bytes: Bytes) -> bool {
        crate::snapshot_file::decode(bytes).is_ok()
    }
}
