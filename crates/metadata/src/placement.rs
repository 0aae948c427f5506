//! Which brokers get a new partition's replicas.
//!
//! The broker with the fewest leaders leads; each further replica goes to a rack that holds the fewest of the
//! partition's replicas (KIP-36), and there to the broker with the fewest replicas. Ties are decided by a hash of the
//! partition and the broker, so that not always the same ones meet. Deterministic: the same state and names give the
//! same placement. Brokers that name no rack count as one rack.

use crate::image::Image;
use highwater_types::{BrokerId, LogId};
use std::collections::BTreeMap;

/// How many partitions each live broker leads and holds. Counts the placements made through it.
pub(crate) struct Placement {
    load: BTreeMap<BrokerId, Load>,
}

#[derive(Clone, Default)]
struct Load {
    rack: Option<String>,
    leaders: usize,
    replicas: usize,
}

impl Placement {
    /// The load of the image's live brokers.
    pub(crate) fn new(image: &Image) -> Self {
        let live = image.brokers().filter(|broker| broker.is_active());
        let mut load: BTreeMap<_, _> =
            live.map(|broker| (broker.id, Load { rack: broker.rack.clone(), ..Load::default() })).collect();
        for partition in image.topics().flat_map(|topic| topic.partitions()) {
            count(&mut load, &partition.replicas);
        }
        Self { load }
    }

    /// As [`Placement::new`], but that one broker gets nothing.
    pub(crate) fn without(image: &Image, id: BrokerId) -> Self {
        let mut placement = Self::new(image);
        placement.load.remove(&id);
        placement
    }

    /// How many brokers may be given replicas.
    pub(crate) fn live(&self) -> usize {
        self.load.len()
    }

    /// Replicas for one partition, the leader first; fewer than asked for if fewer brokers are live.
    pub(crate) fn place(&mut self, log: LogId, replication_factor: usize) -> Vec<BrokerId> {
        let mut replicas = Vec::with_capacity(replication_factor.min(self.live()));
        let leader = self.load.iter().min_by_key(|&(&id, load)| (load.leaders, load.replicas, tie(log, id)));
        replicas.extend(leader.filter(|_| replication_factor > 0).map(|(&id, _)| id));
        while replicas.len() < replication_factor {
            let Some(next) = self.next(log, &replicas, &replicas) else { break };
            replicas.push(next);
        }
        self.record(&replicas);
        replicas
    }

    /// A broker to take the place of one of these replicas; none if no other is live.
    pub(crate) fn replace(&mut self, log: LogId, replicas: &[BrokerId], gone: BrokerId) -> Option<BrokerId> {
        let staying: Vec<BrokerId> = replicas.iter().copied().filter(|&id| id != gone).collect();
        let heir = self.next(log, &staying, replicas)?;
        let load = self.load.get_mut(&heir).expect("only brokers of the map are chosen");
        load.replicas += 1;
        load.leaders += usize::from(replicas.first() == Some(&gone));
        Some(heir)
    }

    /// Counts a placement that was made by hand.
    pub(crate) fn record(&mut self, replicas: &[BrokerId]) {
        count(&mut self.load, replicas);
    }

    /// The best broker to hold one more replica beside these, and none of `but`.
    fn next(&self, log: LogId, beside: &[BrokerId], but: &[BrokerId]) -> Option<BrokerId> {
        let racks: Vec<&Option<String>> =
            beside.iter().filter_map(|id| self.load.get(id)).map(|load| &load.rack).collect();
        let others = self.load.iter().filter(|(id, _)| !but.contains(id));
        let best = others.min_by_key(|&(&id, load)| {
            let in_rack = racks.iter().filter(|&&rack| *rack == load.rack).count();
            (in_rack, load.replicas, load.leaders, tie(log, id))
        });
        best.map(|(&id, _)| id)
    }
}

fn count(load: &mut BTreeMap<BrokerId, Load>, replicas: &[BrokerId]) {
    for (place, id) in replicas.iter().enumerate() {
        if let Some(load) = load.get_mut(id) {
            load.replicas += 1;
            load.leaders += usize::from(place == 0);
        }
    }
}

/// A number that says nothing, but always the same of one partition and broker.
fn tie(log: LogId, id: BrokerId) -> (u32, BrokerId) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&log.topic.0.0);
    hasher.update(&log.partition.0.to_be_bytes());
    hasher.update(&id.0.to_be_bytes());
    (hasher.finalize(), id)
}

#[cfg(test)]
mod tests;
