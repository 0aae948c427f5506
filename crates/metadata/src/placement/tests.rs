//! Placements over brokers in racks.

use super::*;
use crate::records::{BrokerRecord, MetadataRecord};
use highwater_types::{PartitionIndex, TopicId, Uuid};
use std::collections::BTreeSet;

fn image(brokers: &[(i32, Option<&str>, bool)]) -> Image {
    let mut image = Image::new();
    for &(id, rack, fenced) in brokers {
        let (id, rack) = (BrokerId(id), rack.map(str::to_owned));
        let broker = BrokerRecord { id, rack, fenced, ..BrokerRecord::default() };
        image.apply(&MetadataRecord::Broker(broker), 0).unwrap();
    }
    image
}

fn log(partition: i32) -> LogId {
    LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(partition) }
}

#[test]
fn leaders_and_replicas_are_spread_evenly() {
    let live = [1, 2, 3, 4, 5].map(|id| (id, None, false));
    let mut placement = Placement::new(&image(&live));
    let placed: Vec<_> = (0..50).map(|partition| placement.place(log(partition), 3)).collect();
    for id in 1..=5 {
        let id = BrokerId(id);
        assert_eq!(placed.iter().filter(|replicas| replicas[0] == id).count(), 10, "leaders of {id}");
        let held = placed.iter().filter(|replicas| replicas.contains(&id)).count();
        assert!((29..=31).contains(&held), "{id} holds {held}");
    }
    for replicas in placed {
        assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3, "{replicas:?}");
    }
}

#[test]
fn replicas_are_in_as_many_racks_as_there_are() {
    let brokers = [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")];
    let image = image(&brokers.map(|(id, rack)| (id, Some(rack), false)));
    let rack = |id: &BrokerId| image.broker(*id).unwrap().rack.clone().unwrap();
    for factor in 1..=6 {
        let mut placement = Placement::new(&image);
        let placed: Vec<_> = (0..60).map(|partition| placement.place(log(partition), factor)).collect();
        for replicas in &placed {
            let racks: BTreeSet<_> = replicas.iter().map(rack).collect();
            assert_eq!((replicas.len(), racks.len()), (factor, factor.min(3)), "{replicas:?}");
        }
        for (id, _) in brokers {
            let held = placed.iter().filter(|replicas| replicas.contains(&BrokerId(id))).count();
            let fair = 60 * factor / 6;
            assert!(held.abs_diff(fair) <= 3, "factor {factor}: {id} holds {held} of {fair}");
        }
    }
}

#[test]
fn fenced_brokers_get_nothing() {
    let mut placement = Placement::new(&image(&[(1, None, true), (2, None, false), (3, None, true)]));
    assert_eq!(placement.live(), 1);
    assert_eq!(placement.place(log(0), 3), [BrokerId(2)]);
}

#[test]
fn a_replica_is_replaced_by_one_of_a_rack_that_is_free() {
    let brokers = [(1, "a"), (2, "b"), (3, "c"), (4, "b"), (5, "c")];
    let image = image(&brokers.map(|(id, rack)| (id, Some(rack), false)));
    let mut placement = Placement::without(&image, BrokerId(3));
    let replicas = [3, 1, 2].map(BrokerId);
    assert_eq!(placement.replace(log(0), &replicas, BrokerId(3)), Some(BrokerId(5)));
    let all = [1, 2, 3, 4, 5].map(BrokerId);
    assert_eq!(placement.replace(log(0), &all, BrokerId(3)), None);
}
