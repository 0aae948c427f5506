//! How a quorum's member is opened.

use highwater_log::RecoveryReport;
use highwater_types::{BrokerId, DiskId};
use std::path::PathBuf;
use std::time::Duration;

/// The largest command.
pub const MAX_COMMAND_BYTES: usize = 24 << 20;

/// How a quorum's member is opened. Every bound of a member stands here or as a constant of this crate.
#[derive(Clone, Debug)]
pub struct QuorumOptions {
    /// The node.
    pub node: BrokerId,
    /// Its disk.
    pub disk: DiskId,
    /// Where vote and snapshot are kept; made if it does not exist.
    pub dir: PathBuf,
    /// A voter that has not heard of a leader for this long starts an election, before it is twice as long; once as
    /// long later if one with more in its log has just refused it its vote. At least 20 ms.
    pub election_timeout: Duration,
    /// How often a leader sends a heartbeat, and how long it waits for the answer to a call before it repeats it: more
    /// than a round trip and a sync take, and no more than a quarter of the election timeout.
    pub heartbeat_interval: Duration,
    /// How many entries are applied between two snapshots.
    pub snapshot_every: u64,
    /// How many entries that a snapshot covers stay in the log, for members that lag a little.
    pub keep_entries: u64,
    /// How long a proposal, a change of members or a fence may take.
    pub request_timeout: Duration,
    /// How long sending one piece of a snapshot may take.
    pub snapshot_timeout: Duration,
    /// What recovery found of the log that the member is opened on.
    pub recovered: Option<RecoveryReport>,
}

impl QuorumOptions {
    /// The defaults for a node.
    pub fn new(node: BrokerId, disk: DiskId, dir: impl Into<PathBuf>) -> Self {
        Self {
            node,
            disk,
            dir: dir.into(),
            election_timeout: Duration::from_secs(1),
            heartbeat_interval: Duration::from_millis(250),
            snapshot_every: 10_000,
            keep_entries: 10_000,
            request_timeout: Duration::from_secs(10),
            snapshot_timeout: Duration::from_secs(10),
            recovered: None,
        }
    }
}
