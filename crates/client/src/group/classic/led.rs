//! What the leader of a group watches: the topics that it shared out. When one of them has more partitions, is there
//! at last, or has its replicas elsewhere where that matters, the group must share them anew.

use crate::Client;
use crate::group::assignor::placed;
use highwater_assign::{Demand, Racks};
use highwater_env::{Env, timeout};
use highwater_types::Instant;
use highwater_wire::Str;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a leader shared out.
pub(super) struct Led {
    /// The topics that members want, and how they were; None: they were not there.
    topics: BTreeMap<Str, Option<(i32, Option<Racks>)>>,
    asks_for_racks: bool,
    /// When brokers last told of them.
    told: Instant,
}

impl Led {
    pub(super) fn new(mut demand: Demand<Str>, now: Instant) -> Self {
        let asks_for_racks = demand.asks_for_racks();
        let names = demand.members.values_mut().flat_map(|member| std::mem::take(&mut member.topics));
        let topics = names
            .map(|name| {
                let count = demand.topics.get(&name).copied();
                let was = count.map(|count| (count, demand.racks.get(&name).cloned()));
                (name, was)
            })
            .collect();
        Self { topics, asks_for_racks, told: now }
    }

    /// Whether the topics are not what they were, as far as the client knows. Brokers are asked when that is too old,
    /// and have `patience` to answer: heartbeats wait meanwhile.
    pub(super) async fn has_changed<E: Env>(&mut self, client: &Client<E>, patience: Duration) -> bool {
        let clock = client.env().clock();
        let asks = clock.now().since(self.told) >= client.config().metadata_max_age;
        if asks {
            let names: Vec<&str> = self.topics.keys().map(|topic| &**topic).collect();
            if !matches!(timeout(clock, patience, client.refresh(&names, false)).await, Ok(Ok(_))) {
                tracing::debug!("the leader of a group did not hear of its topics, and asks again");
                return false;
            }
            self.told = clock.now();
        }
        let metadata = client.metadata();
        self.topics.iter().any(|(name, was)| {
            let now = placed(name, self.asks_for_racks, &metadata);
            // A client forgets a topic for a while when it has to find its leaders anew: that says nothing.
            (asks || now.is_some()) && now != *was
        })
    }
}
