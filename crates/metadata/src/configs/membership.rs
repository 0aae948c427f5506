//! The configurations that decide who may be in sync and lead.

use super::key::{Key, parse_bool, parse_long};
use super::registry::topic_key;
use super::topic_config::Durability;

/// The configurations that all brokers must agree on.
///
/// The controller decides by them who may lead, and leaders decide by them what is acknowledged. If a leader went by a
/// smaller `min.insync.replicas` than the controller, it would commit records that an eligible replica does not have.
/// So they are set on a topic or for all brokers, never for one, and a broker whose own configuration sets them
/// otherwise than the controller's is not registered.
pub const CLUSTER_WIDE: [&str; 3] = ["durability", "min.insync.replicas", "unclean.leader.election.enable"];

/// What decides who may be in sync and lead, of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembershipRules {
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
    /// `durability`.
    pub durability: Durability,
}

impl MembershipRules {
    /// Reads the values; `value` gives one that its configuration takes.
    pub(super) fn from_lookup(value: impl Fn(&'static Key) -> Option<String>) -> Self {
        let text = |name: &str| {
            value(topic_key(name).expect("it is in the table"))
                .expect("every topic configuration has a default")
        };
        let min = parse_long(&text("min.insync.replicas")).expect("values in force are checked");
        let unclean = parse_bool(&text("unclean.leader.election.enable"));
        Self {
            min_insync_replicas: usize::try_from(min).expect("it is at least 1"),
            unclean_leader_election_enable: unclean.expect("values in force are checked"),
            durability: Durability::of(&text("durability")),
        }
    }
}
