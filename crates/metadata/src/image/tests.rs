//! The fold of records: what each does, what contradicts, and that a snapshot leads to the same state.

use super::*;
use crate::records::{PartitionRecord, RemoveBrokerRecord, RemoveTopicRecord};
use crate::{decode, encode};
use highwater_types::{BrokerEpoch, LeaderEpoch, Uuid};
use proptest::prelude::*;

fn topic_id(number: u8) -> TopicId {
    TopicId(Uuid([number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]))
}

fn topic(id: u8, name: &str) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { id: topic_id(id), name: name.to_owned() })
}

fn partition(id: u8, index: i32, leader_epoch: i32, partition_epoch: i32) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        topic: topic_id(id),
        partition: PartitionIndex(index),
        replicas: vec![BrokerId(1), BrokerId(2)],
        isr: vec![BrokerId(1)],
        leader: Some(BrokerId(1)),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch,
        ..PartitionRecord::default()
    })
}

fn config(id: u8, name: &str, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::TopicConfig(TopicConfigRecord {
        topic: topic_id(id),
        name: name.to_owned(),
        value: value.map(str::to_owned),
    })
}

fn broker_config(broker: Option<i32>, name: &str, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::BrokerConfig(BrokerConfigRecord {
        broker: broker.map(BrokerId),
        name: name.to_owned(),
        value: value.map(str::to_owned),
    })
}

fn broker(id: i32, fenced: bool) -> MetadataRecord {
    MetadataRecord::Broker(BrokerRecord { id: BrokerId(id), fenced, ..BrokerRecord::default() })
}

fn cluster(number: u8, version: u32) -> MetadataRecord {
    MetadataRecord::Cluster(ClusterRecord {
        cluster_id: ClusterId(Uuid([number; 16])),
        metadata_version: version,
    })
}

fn producer_ids(next: i64) -> MetadataRecord {
    MetadataRecord::ProducerIds(ProducerIdsRecord { broker: BrokerId(1), next: ProducerId(next) })
}

fn image(records: &[MetadataRecord]) -> Image {
    let mut image = Image::new();
    image.apply_all(records, 5).unwrap();
    image
}

fn check_refused(before: &[MetadataRecord], record: MetadataRecord, message: &str) {
    let mut image = image(before);
    let was = image.clone();
    assert_eq!(image.apply(&record, 7).expect_err(message).to_string(), message);
    assert_eq!(image, was, "a refused record must change nothing");
}

#[test]
fn a_topic_lives_from_its_record_to_its_removal() {
    let mut image = image(&[cluster(1, 1), topic(1, "a"), partition(1, 0, 0, 0)]);
    let log = LogId { topic: topic_id(1), partition: PartitionIndex(1) };
    assert_eq!(image.apply(&partition(1, 1, 0, 0), 7), Ok(Change::PartitionCreated(log)));
    assert_eq!(image.apply(&partition(1, 1, 1, 1), 7), Ok(Change::PartitionChanged(log)));
    assert_eq!(image.partition(log).unwrap().leader_epoch, LeaderEpoch(1));
    assert_eq!(image.apply(&config(1, "k", Some("v")), 7), Ok(Change::TopicConfig(topic_id(1))));
    let found = image.topic("a").unwrap();
    assert_eq!(found.logs().count(), 2);
    assert_eq!(found.configs().get("k").map(String::as_str), Some("v"));
    assert_eq!(found.replication_factor(), 2);
    let removal = MetadataRecord::RemoveTopic(RemoveTopicRecord { id: topic_id(1) });
    let Change::TopicDeleted(last) = image.apply(&removal, 7).unwrap() else { panic!("another change") };
    assert_eq!(last.logs().count(), 2);
    assert!(image.topic("a").is_none() && image.topic_by_id(topic_id(1)).is_none());
    // The name is free again, for another topic without the old one's configuration.
    image.apply(&topic(2, "a"), 7).unwrap();
    assert!(image.topic("a").unwrap().configs().is_empty());
}

#[test]
fn brokers_come_and_go() {
    let mut image = image(&[broker(2, false), broker(1, false), broker(3, true)]);
    assert_eq!(image.live_brokers(), [BrokerId(1), BrokerId(2)]);
    image.apply(&broker_config(Some(1), "k", Some("v")), 7).unwrap();
    let removal = MetadataRecord::RemoveBroker(RemoveBrokerRecord { id: BrokerId(1) });
    assert_eq!(image.apply(&removal, 7), Ok(Change::BrokerRemoved(BrokerId(1))));
    assert_eq!(image.broker_configs(Some(BrokerId(1))), None);
    assert!(image.apply(&removal, 7).is_err());
}

#[test]
fn a_change_does_not_reach_images_cloned_before_it() {
    let mut image = image(&[topic(1, "a"), partition(1, 0, 0, 0)]);
    let before = image.clone();
    image.apply_all(&[partition(1, 0, 1, 1), config(1, "k", Some("v"))], 7).unwrap();
    assert_eq!(before.topic("a").unwrap().partitions()[0].leader_epoch, LeaderEpoch(0));
    assert!(before.topic("a").unwrap().configs().is_empty());
}

#[test]
fn contradictions_are_refused() {
    let topics = [cluster(1, 1), topic(1, "a"), partition(1, 0, 3, 5), producer_ids(1000)];
    let check = |record, message: &str| check_refused(&topics, record, message);
    let id = topic_id(1);
    check(topic(1, "b"), &format!("topic \"b\" would get the id {id}, which is taken"));
    check(topic(2, "a"), "a second topic would be named \"a\"");
    check(
        partition(1, 2, 0, 0),
        &format!("partition {id}-2 does not follow the 1 partitions that its topic has"),
    );
    check(
        partition(1, 0, 3, 5),
        &format!("partition {id}-0 would go from leader epoch 3 and partition epoch 5 to 3 and 5"),
    );
    check(
        partition(1, 0, 2, 6),
        &format!("partition {id}-0 would go from leader epoch 3 and partition epoch 5 to 2 and 6"),
    );
    check(
        partition(2, 0, 0, 0),
        &format!("a record speaks of topic id {}, which does not exist", topic_id(2)),
    );
    check(producer_ids(999), "the next producer id would fall from 1000 to 999");
    check(cluster(1, 0), "the cluster's metadata version would fall from 1 to 0");
    check(
        cluster(1, 2),
        "the cluster's metadata has version 2, and this program knows versions up to 1: \
         start a newer version of the program",
    );
    check(
        cluster(2, 1),
        "the metadata belongs to cluster AQEBAQEBAQEBAQEBAQEBAQ, and a record in it names cluster \
         AgICAgICAgICAgICAgICAg",
    );
}

#[test]
fn replicas_must_hold_together() {
    let check = |replicas: &[i32], isr: &[i32], leader: Option<i32>, problem: Option<&str>| {
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        let record = MetadataRecord::Partition(PartitionRecord {
            topic: topic_id(1),
            partition: PartitionIndex(0),
            replicas: ids(replicas),
            isr: ids(isr),
            leader: leader.map(BrokerId),
            ..PartitionRecord::default()
        });
        let result = image(&[topic(1, "a")]).apply(&record, 1);
        let log = LogId { topic: topic_id(1), partition: PartitionIndex(0) };
        match problem {
            Some(problem) => {
                assert_eq!(result.unwrap_err().to_string(), format!("partition {log}: {problem}"))
            }
            None => assert_eq!(result, Ok(Change::PartitionCreated(log))),
        }
    };
    check(&[1, 2, 3], &[2, 3], Some(2), None);
    check(&[1], &[], None, None);
    check(&[], &[], None, Some("it has no replicas"));
    check(&[1, 2, 1], &[1], Some(1), Some("a broker is named twice"));
    check(&[1, 2], &[1, 1], Some(1), Some("a broker is named twice"));
    check(&[1, 2], &[3], None, Some("an in-sync replica is not a replica"));
    check(&[1, 2], &[1], Some(2), Some("the leader is not in sync"));
}

#[test]
fn several_records_are_applied_all_or_none() {
    let mut image = image(&[topic(1, "a")]);
    let was = image.clone();
    assert!(image.apply_all(&[topic(2, "b"), topic(3, "a")], 7).is_err());
    assert_eq!(image, was);
}

#[test]
fn topics_are_listed_by_name_from_any_point() {
    let image = image(&[topic(1, "c"), topic(2, "a"), topic(3, "b.x")]);
    let names =
        |topics: Vec<&Arc<Topic>>| topics.iter().map(|topic| topic.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(image.topics().collect()), ["a", "b.x", "c"]);
    assert_eq!(names(image.topics_from("b").collect()), ["b.x", "c"]);
    assert_eq!(names(image.topics_from("c").collect()), ["c"]);
    assert_eq!(image.colliding_topic("b_x"), Some("b.x"));
    assert_eq!(image.colliding_topic("b.x"), None);
}

#[test]
fn a_registration_has_the_epoch_of_its_entry() {
    let mut image = Image::new();
    let registration = |epoch: i64, fenced: bool| {
        let (id, epoch) = (BrokerId(1), BrokerEpoch(epoch));
        MetadataRecord::Broker(BrokerRecord { id, epoch, fenced, ..BrokerRecord::default() })
    };
    image.apply(&registration(-1, true), 5).unwrap();
    image.apply(&registration(5, false), 8).unwrap();
    let broker = image.broker(BrokerId(1)).unwrap();
    assert_eq!((broker.epoch, broker.fenced), (BrokerEpoch(5), false));
    let was = image.clone();
    // What was decided about the registration before, late, and a registration out of order.
    let stale = "broker 1 is registered with epoch 5, and a record speaks of epoch 4";
    assert_eq!(image.apply(&registration(4, false), 9).unwrap_err().to_string(), stale);
    assert!(image.apply(&registration(-1, true), 5).is_err());
    assert_eq!(image, was);
    image.apply(&registration(-1, true), 9).unwrap();
    assert_eq!(image.broker(BrokerId(1)).unwrap().epoch, BrokerEpoch(9));
}

#[test]
fn partitions_remember_when_they_were_created() {
    let mut image = Image::new();
    image.apply_all(&[topic(1, "a"), partition(1, 0, 0, 0)], 6).unwrap();
    image.apply(&partition(1, 0, 1, 1), 8).unwrap();
    image.apply(&partition(1, 1, 0, 0), 8).unwrap();
    let created: Vec<_> =
        image.topic("a").unwrap().partitions().iter().map(|partition| partition.created).collect();
    assert_eq!(created, [6, 8]);
}

#[test]
fn partitions_without_leader_and_in_reassignment_are_found_without_a_search() {
    let state = |epoch: i32, leader: Option<i32>, adding: &[i32]| {
        MetadataRecord::Partition(PartitionRecord {
            topic: topic_id(1),
            replicas: vec![BrokerId(1), BrokerId(2)],
            isr: vec![BrokerId(1)],
            adding: adding.iter().copied().map(BrokerId).collect(),
            leader: leader.map(BrokerId),
            partition_epoch: epoch,
            ..PartitionRecord::default()
        })
    };
    let mut image = image(&[topic(1, "a"), state(0, None, &[]), topic(2, "b"), partition(2, 0, 0, 0)]);
    let found = |image: &Image| (image.leaderless().count(), image.reassigning().count());
    assert_eq!(found(&image), (1, 0));
    image.apply(&state(1, Some(1), &[2]), 7).unwrap();
    assert_eq!(found(&image), (0, 1));
    image.apply(&state(2, None, &[2]), 7).unwrap();
    assert_eq!(found(&image), (1, 1));
    image.apply(&MetadataRecord::RemoveTopic(RemoveTopicRecord { id: topic_id(1) }), 7).unwrap();
    assert_eq!(found(&image), (0, 0));
}

#[test]
fn features_have_levels_beside_the_metadata_version() {
    let feature = |name: &str, level| MetadataRecord::Feature(FeatureRecord { name: name.to_owned(), level });
    let mut image = image(&[cluster(1, 1), feature("a", 2), feature("z", 1)]);
    assert_eq!(image.features().collect::<Vec<_>>(), [("a", 2), ("metadata.version", 1), ("z", 1)]);
    image.apply(&feature("a", 0), 7).unwrap();
    assert_eq!((image.feature("a"), image.feature("z"), image.feature("metadata.version")), (0, 1, 1));
    assert!(image.apply(&feature("metadata.version", 2), 7).is_err());
}

/// A partition in one of many states, some of which do not hold together.
fn state(id: u8, index: i32, epoch: i32, flags: &[bool]) -> MetadataRecord {
    let some =
        |flag: bool, ids: &[i32]| ids.iter().filter(|_| flag).copied().map(BrokerId).collect::<Vec<_>>();
    MetadataRecord::Partition(PartitionRecord {
        topic: topic_id(id),
        partition: PartitionIndex(index),
        replicas: some(true, &[1, 2, 3]),
        isr: some(flags[0], &[1]),
        elr: some(flags[1], &[2]),
        last_known_elr: some(flags[2], &[3]),
        adding: some(flags[3], &[2]),
        removing: some(flags[4], &[1, 3]),
        leader: Some(BrokerId(1)).filter(|_| flags[5]),
        leader_epoch: LeaderEpoch(1),
        partition_epoch: epoch,
        unclean_epoch: Some(LeaderEpoch(1)).filter(|_| flags[2]),
        created: Some(3).filter(|_| flags[0]),
    })
}

/// Records over a handful of topics, brokers and names, so that they meet.
fn any_record() -> impl Strategy<Value = MetadataRecord> {
    let id = 1u8..5;
    let name = prop_oneof![Just("k"), Just("l")];
    let value = prop_oneof![Just(None), Just(Some("v")), Just(Some(""))];
    prop_oneof![
        (1u8..2, 0u32..2).prop_map(|(id, version)| cluster(id, version)),
        (1i32..4, any::<bool>()).prop_map(|(id, fenced)| broker(id, fenced)),
        ("[ab]", 0u16..3)
            .prop_map(|(name, level)| { MetadataRecord::Feature(FeatureRecord { name, level }) }),
        (id.clone(), 0i32..3, 0i32..6, proptest::collection::vec(any::<bool>(), 6))
            .prop_map(|(id, index, epoch, flags)| state(id, index, epoch, &flags)),
        (1i32..4).prop_map(|id| MetadataRecord::RemoveBroker(RemoveBrokerRecord { id: BrokerId(id) })),
        (id.clone(), "[ab]").prop_map(|(id, name)| topic(id, &name)),
        id.clone().prop_map(|id| MetadataRecord::RemoveTopic(RemoveTopicRecord { id: topic_id(id) })),
        (id.clone(), 0i32..3, 0i32..4, 0i32..4)
            .prop_map(|(id, index, leader, epoch)| { partition(id, index, leader, epoch) }),
        (id, name.clone(), value.clone()).prop_map(|(id, name, value)| config(id, name, value)),
        (proptest::option::of(1i32..3), name, value)
            .prop_map(|(id, name, value)| broker_config(id, name, value)),
        (0i64..9).prop_map(producer_ids),
    ]
}

proptest! {
    #[test]
    fn the_snapshot_leads_to_the_same_state(records in proptest::collection::vec(any_record(), 0..60)) {
        let mut image = Image::new();
        for (index, record) in (0..).zip(&records) {
            let was = image.clone();
            if image.apply(record, index).is_err() {
                prop_assert_eq!(&image, &was);
            }
        }
        let mut replayed = Image::new();
        for record in image.to_records() {
            let frame = encode(&record).unwrap();
            replayed.apply(&decode(&frame).unwrap(), 1_000).unwrap();
        }
        prop_assert_eq!(&replayed, &image);
        let ids: Vec<_> = image.topics().map(|topic| topic.id()).collect();
        prop_assert_eq!(ids.len(), image.topic_count());
    }
}
