//! What brokers promise, by their configuration.

use std::collections::BTreeMap;
use std::time::Duration;

/// What brokers promise, by their configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether a success promises disks, or else page caches alone.
    pub durable: bool,
    /// `min.insync.replicas` of the brokers, if it is set.
    pub min_insync: Option<usize>,
    /// The smallest `min.insync.replicas` that a topic may have.
    pub topics: BTreeMap<String, usize>,
    /// How long a send may take, if that is limited: a promise of single scenarios.
    pub longest_send: Option<Duration>,
    /// The same for a commit of a group's offsets.
    pub longest_commit: Option<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            durable: true,
            min_insync: None,
            topics: BTreeMap::new(),
            longest_send: None,
            longest_commit: None,
        }
    }
}

impl Terms {
    /// How many in-sync replicas a success takes, of a topic with so many replicas.
    pub fn min_insync_of(&self, topic: Option<&str>, replicas: usize) -> usize {
        let own = topic.and_then(|topic| self.topics.get(topic)).copied();
        let usual = if replicas >= 3 { 2 } else { 1 };
        own.or(self.min_insync).unwrap_or(usual).min(replicas.max(1))
    }
}
