//! The library's types with ours filled in.

use crate::Peer;
use crate::runtime::EnvRuntime;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

openraft::declare_raft_types!(
    /// Names the types that the library works with.
    pub(crate) Types:
        D = Command,
        R = Applied,
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<Types>,
        SnapshotData = Vec<Bytes>,
        AsyncRuntime = EnvRuntime,
);

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type EntryPayload = openraft::EntryPayload<Types>;
pub(crate) type LeaderId = openraft::LeaderId<u64>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type EffectiveMembership = openraft::EffectiveMembership<u64, Peer>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
pub(crate) type Snapshot = openraft::Snapshot<Types>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type Vote = openraft::Vote<u64>;

/// What an application asks the quorum to order.
#[derive(Clone)]
pub(crate) struct Command {
    /// The term in which it was decided. Applied only if that is the term of its entry.
    pub term: u64,
    pub data: Bytes,
    pub fate: Option<Fate>,
}

/// Whether a proposal of this process may have got into a log: after that its outcome is open until it is applied.
#[derive(Clone, Default)]
pub(crate) struct Fate(Arc<AtomicBool>);

impl Fate {
    pub fn set_appended(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_appended(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of term {} with {} bytes", self.term, self.data.len())
    }
}

impl PartialEq for Command {
    fn eq(&self, other: &Self) -> bool {
        (self.term, &self.data) == (other.term, &other.data)
    }
}

/// What applying an entry gives to whoever proposed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Done,
    /// A command of another term, which was passed over.
    OtherTerm,
}

/// The id of an entry.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(term, 0), index)
}

/// The index after an entry; 0 for none.
pub(crate) fn next_index(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}
