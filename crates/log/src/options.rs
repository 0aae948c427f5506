//! How a store is opened.

use highwater_types::{BrokerId, ClusterId};
use std::path::PathBuf;
use std::time::Duration;

/// How a store is opened. Every bound on memory, handles and concurrency of a store stands here.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The directory; made if it does not exist.
    pub dir: PathBuf,
    /// Whose store this is.
    pub identity: Identity,
    /// When appended batches are synced.
    pub durability: Durability,
    /// How often the proven marks are written while something moves. What was appended since the last time is
    /// rewritten after a crash.
    pub checkpoint_interval: Duration,
    /// With [`Durability::Replicated`]: how often appended batches are synced in the background.
    pub flush_interval: Duration,
    /// How much memory the indexes of closed segments may take.
    pub index_cache_bytes: usize,
    /// How many files of closed segments are kept open.
    pub max_open_files: usize,
    /// How many syncs are under way at once.
    pub max_concurrent_syncs: usize,
    /// How many logs are opened at once.
    pub max_concurrent_opens: usize,
    /// How many bytes, over all logs, may have been written since a batch was, for it to be sent from the page cache
    /// without another check.
    pub verified_window_bytes: u64,
    /// The same within one log.
    pub verified_window_bytes_per_log: u32,
    /// How long an idle idempotent producer is remembered (`producer.id.expiration.ms`).
    pub producer_expiration: Duration,
}

/// Whose store this is: a directory of another cluster or node is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster; None takes the one that the directory has, or makes a new one for a new directory.
    pub cluster: Option<ClusterId>,
    /// The node.
    pub node: BrokerId,
}

/// When a batch counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is synced to disk. Every append is followed by a sync, shared by all that arrive meanwhile.
    Sync,
    /// When it is in the page cache; synced in the background.
    Replicated,
}

impl StoreOptions {
    /// The defaults for a directory.
    pub fn new(dir: impl Into<PathBuf>, node: BrokerId) -> Self {
        Self {
            dir: dir.into(),
            identity: Identity { cluster: None, node },
            durability: Durability::Sync,
            checkpoint_interval: Duration::from_secs(1),
            flush_interval: Duration::from_secs(1),
            index_cache_bytes: 64 << 20,
            max_open_files: 1024,
            max_concurrent_syncs: 8,
            max_concurrent_opens: 8,
            verified_window_bytes: 256 << 20,
            verified_window_bytes_per_log: 64 << 20,
            producer_expiration: Duration::from_secs(24 * 3600),
        }
    }
}
