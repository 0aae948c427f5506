//! Which brokers get a new partition's replicas.
//!
//! Deterministic: the broker with the fewest leaders leads, those with the fewest replicas follow, and the smaller
//! id wins a tie. Racks are not looked at yet.

use crate::image::Image;
use highwater_types::BrokerId;
use std::collections::BTreeMap;

/// How many partitions each live broker leads and holds. Counts the placements made through it.
pub(crate) struct Placement {
    load: BTreeMap<BrokerId, Load>,
}

#[derive(Clone, Copy, Default)]
struct Load {
    leaders: usize,
    replicas: usize,
}

impl Placement {
    /// The load of the image's live brokers.
    pub(crate) fn new(image: &Image) -> Self {
        let mut load: BTreeMap<_, _> =
            image.live_brokers().into_iter().map(|id| (id, Load::default())).collect();
        for partition in image.topics().flat_map(|topic| topic.partitions()) {
            count(&mut load, &partition.replicas);
        }
        Self { load }
    }

    /// How many brokers may be given replicas.
    pub(crate) fn live(&self) -> usize {
        self.load.len()
    }

    /// Replicas for one partition, the leader first; fewer than asked for if fewer brokers are live.
    pub(crate) fn place(&mut self, replication_factor: usize) -> Vec<BrokerId> {
        let mut brokers: Vec<_> = self.load.iter().map(|(&id, &load)| (id, load)).collect();
        brokers.sort_by_key(|&(id, load)| (load.leaders, load.replicas, id));
        let leader = brokers.first().map(|&(id, _)| id);
        brokers.sort_by_key(|&(id, load)| (Some(id) != leader, load.replicas, load.leaders, id));
        let replicas: Vec<_> = brokers.into_iter().map(|(id, _)| id).take(replication_factor).collect();
        self.record(&replicas);
        replicas
    }

    /// Counts a placement that was made by hand.
    pub(crate) fn record(&mut self, replicas: &[BrokerId]) {
        count(&mut self.load, replicas);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BrokerRecord, MetadataRecord};

    fn image(live: &[i32], fenced: &[i32]) -> Image {
        let mut image = Image::new();
        for (ids, fenced) in [(live, false), (fenced, true)] {
            for &id in ids {
                let broker = BrokerRecord { id: BrokerId(id), fenced, ..BrokerRecord::default() };
                image.apply(&MetadataRecord::Broker(broker), 0).unwrap();
            }
        }
        image
    }

    #[test]
    fn leaders_and_replicas_are_spread_evenly() {
        let mut placement = Placement::new(&image(&[1, 2, 3, 4, 5], &[]));
        let placed: Vec<_> = (0..50).map(|_| placement.place(3)).collect();
        for id in 1..=5 {
            let id = BrokerId(id);
            assert_eq!(placed.iter().filter(|replicas| replicas[0] == id).count(), 10, "leaders of {id}");
            let held = placed.iter().filter(|replicas| replicas.contains(&id)).count();
            assert!((29..=31).contains(&held), "{id} holds {held}");
        }
        for replicas in placed {
            let mut distinct = replicas.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), 3, "{replicas:?}");
        }
    }

    #[test]
    fn fenced_brokers_get_nothing() {
        let mut placement = Placement::new(&image(&[2], &[1, 3]));
        assert_eq!(placement.live(), 1);
        assert_eq!(placement.place(3), [BrokerId(2)]);
    }
}
