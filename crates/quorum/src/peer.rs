//! What the membership knows of a node.

use highwater_types::DiskId;

/// What the membership knows of a node: where it listens, and which disk it is that votes or learns there.
///
/// The disk belongs to a voter's identity (KIP-853): a node that lost its disk has forgotten what it voted and stored,
/// so it must not count as the voter that it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The host of its internal listener.
    pub host: String,
    /// The port of its internal listener.
    pub port: u16,
    /// Its disk.
    pub disk: DiskId,
}
