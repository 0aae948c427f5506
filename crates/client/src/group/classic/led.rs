//! What the leader of a group watches: the topics that it shared out. When one of them has more partitions, is there
//! at last, or has its replicas elsewhere where that matters, the group must share them anew.

use crate::Client;
use crate::group::assignor::placed;
use highwater_assign::Demand;
use highwater_env::Env;
use highwater_types::Instant;
use highwater_wire::Str;
use std::collections::BTreeSet;

/// What a leader shared out.
pub(super) struct Led {
    demand: Demand<Str>,
    topics: BTreeSet<Str>,
    /// When brokers were last asked.
    asked: Instant,
}

impl Led {
    pub(super) fn new(demand: Demand<Str>, now: Instant) -> Self {
        let topics = demand.members.values().flat_map(|member| member.topics.iter().cloned()).collect();
        Self { demand, topics, asked: now }
    }

    /// Whether the topics are not what they were, as far as the client knows. Brokers are asked when that is too old.
    pub(super) async fn has_changed<E: Env>(&mut self, client: &Client<E>) -> bool {
        let now = client.env().clock().now();
        let asks = now.since(self.asked) >= client.config().metadata_max_age;
        if asks {
            self.asked = now;
            let names: Vec<&str> = self.topics.iter().map(|topic| &**topic).collect();
            if let Err(error) = client.refresh(&names, false).await {
                tracing::debug!(%error, "the leader of a group did not hear of its topics");
                return false;
            }
        }
        let mut demand = Demand { members: self.demand.members.clone(), ..Demand::default() };
        placed(&mut demand, &client.metadata());
        // A client forgets a topic for a while when it has to find its leaders anew: that says nothing.
        let is_known = |topic: &&Str| asks || demand.topics.contains_key(*topic);
        let mut topics = self.topics.iter().filter(is_known);
        topics.any(|topic| {
            demand.topics.get(topic) != self.demand.topics.get(topic)
                || demand.racks.get(topic) != self.demand.racks.get(topic)
        })
    }
}
