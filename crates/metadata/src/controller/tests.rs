//! Decisions, as tables of requests and answers. Every decision's records are applied to the image.

use super::*;
use crate::configs::{ConfigView, StaticConfig};
use crate::records::BrokerRecord;
use highwater_types::LeaderEpoch;
use highwater_types::{ClusterId, ProducerId, Uuid};
use std::cell::Cell;

struct Cluster {
    image: Image,
    statics: StaticConfig,
    next_id: Cell<u128>,
}

impl Cluster {
    fn new(brokers: i32) -> Self {
        let mut image = Image::new();
        image.apply_all(&bootstrap(&image, ClusterId(Uuid::from_random(1))), 0).unwrap();
        for id in 1..=brokers {
            let broker = BrokerRecord { id: BrokerId(id), ..BrokerRecord::default() };
            image.apply_all(&[MetadataRecord::Broker(broker)], 1).unwrap();
        }
        Self { image, statics: StaticConfig::default(), next_id: Cell::new(1) }
    }

    fn with_statics(mut self, statics: &[(&str, &str)]) -> Self {
        self.statics = StaticConfig::new(statics.iter().copied()).unwrap();
        self
    }

    fn with_topics(mut self, topics: &[(&str, i32)]) -> Self {
        for (name, partitions) in topics {
            self.check_create(&[new(name, *partitions, -1)], &["ok"]);
        }
        self
    }

    fn view(&self) -> ConfigView<'_> {
        ConfigView { image: &self.image, statics: &self.statics, broker: BrokerId(1) }
    }

    fn draw(&self) -> TopicId {
        self.next_id.set(self.next_id.get() + 1);
        TopicId(Uuid::from_random(self.next_id.get()))
    }

    fn check<T: std::fmt::Debug>(&mut self, decision: Decision<T>, expected: &[&str]) -> Vec<T> {
        let answers: Vec<_> = decision
            .answers
            .iter()
            .map(|answer| match answer {
                Ok(_) => "ok".to_owned(),
                Err(refusal) => format!("{} {}", refusal.code.number(), refusal.message),
            })
            .collect();
        assert_eq!(answers, expected);
        self.image.apply_all(&decision.records, 9).expect("a decision's records can be applied");
        decision.answers.into_iter().flatten().collect()
    }

    fn check_create(&mut self, topics: &[NewTopic], expected: &[&str]) -> Vec<CreatedTopic> {
        let decision = create_topics(&self.view(), topics, false, || self.draw());
        self.check(decision, expected)
    }

    fn check_alter(
        &mut self,
        resource: Resource,
        changes: &[(&str, AlterOperation, Option<&str>)],
        expected: &str,
    ) {
        let changes = changes
            .iter()
            .map(|(name, operation, value)| ConfigChange {
                name: (*name).to_owned(),
                operation: *operation,
                value: value.map(str::to_owned),
            })
            .collect();
        let decision = incremental_alter_configs(&self.view(), &[(resource, changes)], false);
        self.check(decision, &[expected]);
    }

    fn check_set(&mut self, resource: Resource, name: &str, value: &str, expected: &str) {
        self.check_alter(resource, &[(name, AlterOperation::Set, Some(value))], expected);
    }

    fn value(&self, topic: &str, name: &str) -> Option<&str> {
        self.image.topic(topic).unwrap().configs().get(name).map(String::as_str)
    }
}

fn new(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions, replication_factor, ..NewTopic::default() }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    NewTopic {
        assignments: assignments
            .iter()
            .map(|(index, brokers)| (PartitionIndex(*index), ids(brokers)))
            .collect(),
        ..new(name, -1, -1)
    }
}

fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> NewTopic {
    NewTopic {
        configs: configs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect(),
        ..new(name, 1, 1)
    }
}

fn topic(name: &str) -> Resource {
    Resource::Topic(name.to_owned())
}

fn more(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> NewPartitions {
    let ids = |ids: &&[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    NewPartitions {
        name: name.to_owned(),
        count,
        assignments: assignments.map(|assignments| assignments.iter().map(ids).collect()),
    }
}

#[test]
fn topics_are_created_with_defaults() {
    let mut cluster = Cluster::new(1).with_statics(&[("num.partitions", "4")]);
    let created = cluster.check_create(&[new("a", -1, -1), new("b", 2, 1)], &["ok", "ok"]);
    assert_eq!((created[0].partitions, created[0].replication_factor), (4, 1));
    let found = cluster.image.topic("a").unwrap();
    assert_eq!((found.id(), found.partitions().len()), (created[0].id, 4));
    let partition = &found.partitions()[0];
    assert_eq!((partition.leader, partition.leader_epoch), (Some(BrokerId(1)), LeaderEpoch(0)));
    assert_eq!((&partition.replicas, &partition.isr), (&vec![BrokerId(1)], &vec![BrokerId(1)]));
}

#[test]
fn the_default_replication_factor_is_three_or_what_the_brokers_allow() {
    for (brokers, factor) in [(1, 1), (2, 2), (3, 3), (5, 3)] {
        let mut cluster = Cluster::new(brokers);
        assert_eq!(cluster.check_create(&[new("a", 1, -1)], &["ok"])[0].replication_factor, factor);
    }
    let mut one = Cluster::new(1);
    one.check_create(
        &[new("a", 1, 2)],
        &["38 Replication factor 2 is larger than the number of live brokers, 1."],
    );
    // A factor that the operator chose is not made smaller in silence.
    let mut set = Cluster::new(1).with_statics(&[("default.replication.factor", "3")]);
    set.check_create(
        &[new("a", 1, -1)],
        &["38 Replication factor 3 is larger than the number of live brokers, 1."],
    );
    let mut none = Cluster::new(0);
    none.check_create(
        &[new("a", 1, -1)],
        &["38 Replication factor 1 is larger than the number of live brokers, 0."],
    );
}

#[test]
fn topics_that_cannot_be_are_refused_each_for_itself() {
    let mut cluster = Cluster::new(1).with_topics(&[("old", 1), ("x.y", 1)]);
    cluster.check_create(
        &[
            new("old", 1, 1),
            new("twice", 1, 1),
            new("twice", 2, 1),
            new("a/b", 1, 1),
            new("x_y", 1, 1),
            new("p.q", 1, 1),
            new("p_q", 1, 1),
            new("none", 0, 1),
            new("minus", -2, 1),
            new("factor", 1, 0),
            new("many", 10_000, 1),
            new("huge", i32::MAX, 1),
            configured("config", &[("retention.ms", Some("soon"))]),
            configured("unknown", &[("retention.msec", Some("1"))]),
            configured("null", &[("retention.ms", None)]),
            configured("lag", &[("min.compaction.lag.ms", Some("2")), ("max.compaction.lag.ms", Some("1"))]),
        ],
        &[
            "36 Topic \"old\" already exists.",
            "42 Topic \"twice\" is in the request more than once.",
            "42 Topic \"twice\" is in the request more than once.",
            "17 topic name \"a/b\" holds '/': letters, digits, '.', '_' and '-' are allowed",
            "17 Topic \"x_y\" collides with \"x.y\": names must differ in more than '.' and '_'.",
            "ok",
            "17 Topic \"p_q\" collides with \"p.q\": names must differ in more than '.' and '_'.",
            "37 Number of partitions 0 is not positive, and not -1 (the default).",
            "37 Number of partitions -2 is not positive, and not -1 (the default).",
            "38 Replication factor 0 is not positive, and not -1 (the default).",
            "44 The request would make more than 10000 changes at once: split it into several",
            "44 The request would make more than 10000 changes at once: split it into several",
            "40 \"soon\" is not a value of retention.ms: a whole number from -1 to 9223372036854775807 is expected",
            "40 Unknown topic config name: retention.msec. Did you mean retention.ms?",
            "40 Null value not supported for topic configs: retention.ms",
            "40 min.compaction.lag.ms (2) is greater than max.compaction.lag.ms (1)",
        ],
    );
    assert_eq!(cluster.image.topic_count(), 3);
}

#[test]
fn replicas_can_be_assigned_by_hand() {
    let mut cluster = Cluster::new(3);
    let created = cluster.check_create(&[assigned("a", &[(1, &[3, 1]), (0, &[2, 3])])], &["ok"]);
    assert_eq!((created[0].partitions, created[0].replication_factor), (2, 2));
    let partitions = cluster.image.topic("a").unwrap().partitions();
    assert_eq!(partitions[0].replicas, [BrokerId(2), BrokerId(3)]);
    assert_eq!(partitions[1].leader, Some(BrokerId(3)));
    cluster.check_create(
        &[
            assigned("b", &[(0, &[1]), (2, &[1])]),
            assigned("c", &[(0, &[1]), (0, &[2])]),
            assigned("d", &[(0, &[])]),
            assigned("e", &[(0, &[9])]),
            assigned("f", &[(0, &[1, 1])]),
            assigned("g", &[(0, &[1]), (1, &[1, 2])]),
            NewTopic { partitions: 1, ..assigned("h", &[(0, &[1])]) },
            NewTopic { replication_factor: 1, ..assigned("i", &[(0, &[1])]) },
        ],
        &[
            "39 A manual assignment's partitions are not numbered from 0 without gaps.",
            "39 A manual assignment names a partition twice.",
            "39 A manual assignment holds a partition without replicas.",
            "39 A manual assignment names broker 9, which is not a live broker.",
            "39 A manual assignment names broker 1 twice for one partition.",
            "39 A manual assignment gives one partition 2 replicas and another 1.",
            "42 A manual assignment was given, but the number of partitions was not set to -1.",
            "42 A manual assignment was given, but the replication factor was not set to -1.",
        ],
    );
}

#[test]
fn validation_alone_changes_nothing() {
    let cluster = Cluster::new(1).with_topics(&[("a", 1)]);
    let created = create_topics(&cluster.view(), &[new("b", 1, 1)], true, || cluster.draw());
    let grown = create_partitions(&cluster.view(), &[more("a", 2, None)], true);
    let change = (topic("a"), vec![("retention.ms".to_owned(), Some("1".to_owned()))]);
    let altered = alter_configs(&cluster.view(), &[change], true);
    assert!(created.answers[0].is_ok() && grown.answers[0].is_ok() && altered.answers[0].is_ok());
    assert!(created.records.is_empty() && grown.records.is_empty() && altered.records.is_empty());
}

#[test]
fn an_id_that_is_taken_is_drawn_again() {
    let mut cluster = Cluster::new(1).with_topics(&[("a", 1)]);
    let taken = cluster.image.topic("a").unwrap().id();
    let mut draws = vec![TopicId(Uuid::from_random(77)), taken, TopicId::default()];
    let decision = create_topics(&cluster.view(), &[new("b", 1, 1)], false, || draws.pop().unwrap());
    assert_eq!(cluster.check(decision, &["ok"])[0].id, TopicId(Uuid::from_random(77)));
    let decision = create_topics(&cluster.view(), &[new("c", 1, 1)], false, || taken);
    cluster.check(decision, &["-1 No unused topic id was drawn; try again."]);
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut cluster = Cluster::new(1).with_topics(&[("a", 1), ("b", 1), ("c", 1)]);
    let id = |cluster: &Cluster, name: &str| TopicRef::Id(cluster.image.topic(name).unwrap().id());
    let name = |name: &str| TopicRef::Name(name.to_owned());
    let topics = [
        name("a"),
        id(&cluster, "b"),
        name("x"),
        TopicRef::Id(TopicId(Uuid::from_random(99))),
        name("c"),
        id(&cluster, "c"),
    ];
    let decision = delete_topics(&cluster.view(), &topics);
    let deleted = cluster.check(
        decision,
        &[
            "ok",
            "ok",
            "3 This server does not host this topic.",
            "100 This server does not host this topic ID.",
            "42 Topic \"c\" is in the request more than once.",
            "42 Topic \"c\" is in the request more than once.",
        ],
    );
    assert_eq!(deleted[1].name(), "b");
    assert_eq!(cluster.image.topics().map(|topic| topic.name()).collect::<Vec<_>>(), ["c"]);
    let mut cluster = cluster.with_statics(&[("delete.topic.enable", "false")]);
    let decision = delete_topics(&cluster.view(), &[name("c")]);
    cluster.check(decision, &["73 Topic deletion is disabled (delete.topic.enable)."]);
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut cluster = Cluster::new(2).with_topics(&[("a", 2), ("b", 1), ("c", 1), ("d", 1)]);
    let two: &[&[i32]] = &[&[2, 1], &[1, 2]];
    let requests = [
        more("a", 4, None),
        more("b", 3, Some(two)),
        more("x", 2, None),
        more("c", 1, None),
        more("c", 2, None),
        more("d", 1, None),
    ];
    let decision = create_partitions(&cluster.view(), &requests, false);
    cluster.check(
        decision,
        &[
            "ok",
            "ok",
            "3 This server does not host this topic.",
            "42 Topic \"c\" is in the request more than once.",
            "42 Topic \"c\" is in the request more than once.",
            "37 Topic \"d\" has 1 partition(s); 1 would not be an increase.",
        ],
    );
    assert_eq!(cluster.image.topic("a").unwrap().partitions().len(), 4);
    assert_eq!(cluster.image.topic("b").unwrap().partitions()[1].leader, Some(BrokerId(2)));
    for (request, expected) in [
        (more("d", 0, None), "37 Topic \"d\" has 1 partition(s); 0 would not be an increase."),
        (more("d", 2, Some(two)), "39 1 partition(s) would be added, and 2 assignment(s) are given."),
        (more("d", 2, Some(&[&[1]])), "39 A manual assignment gives one partition 1 replicas and another 2."),
        (
            more("d", i32::MAX, None),
            "44 The request would make more than 10000 changes at once: split it into several",
        ),
    ] {
        let decision = create_partitions(&cluster.view(), &[request], false);
        cluster.check(decision, &[expected]);
    }
}

#[test]
fn configurations_change_by_name() {
    use AlterOperation::{Append, Delete, Set, Subtract};
    let mut cluster = Cluster::new(1).with_topics(&[("a", 1)]);
    let changes = [("retention.ms", Set, Some("5")), ("cleanup.policy", Append, Some("compact"))];
    cluster.check_alter(topic("a"), &changes, "ok");
    assert_eq!(cluster.value("a", "retention.ms"), Some("5"));
    assert_eq!(cluster.value("a", "cleanup.policy"), Some("delete,compact"));
    cluster.check_alter(topic("a"), &[("cleanup.policy", Append, Some("compact"))], "ok");
    assert_eq!(cluster.value("a", "cleanup.policy"), Some("delete,compact"));
    cluster.check_alter(topic("a"), &[("cleanup.policy", Subtract, Some("delete"))], "ok");
    assert_eq!(cluster.value("a", "cleanup.policy"), Some("compact"));
    cluster.check_alter(topic("a"), &[("retention.ms", Delete, None)], "ok");
    assert_eq!(cluster.value("a", "retention.ms"), None);
    for (change, expected) in [
        (("retention.ms", Set, None), "42 Null value not supported for : retention.ms"),
        (
            ("retention.ms", Append, Some("1")),
            "40 Cannot append to or subtract from retention.ms: it is not a list.",
        ),
        (
            ("cleanup.policy", Subtract, Some("compact")),
            "40 \"\" is not a value of cleanup.policy: one or more of compact, delete are expected, with commas between",
        ),
        (("colour", Delete, None), "40 Unknown topic config name: colour"),
        (
            ("remote.storage.enable", Set, Some("true")),
            "40 \"true\" is not a value of remote.storage.enable: true or false is expected, and only false is \
             accepted, because tiered storage is not built",
        ),
    ] {
        cluster.check_alter(topic("a"), &[change], expected);
    }
    let twice = [("retention.ms", Set, Some("5")), ("retention.ms", Delete, None)];
    cluster.check_alter(topic("a"), &twice, "42 Config retention.ms is in the request more than once.");
    // One wrong name, and nothing of the resource changes.
    let half = [("retention.ms", Set, Some("9")), ("colour", Set, Some("red"))];
    cluster.check_alter(topic("a"), &half, "40 Unknown topic config name: colour");
    assert_eq!(cluster.value("a", "retention.ms"), None);
    cluster.check_set(topic("x"), "retention.ms", "1", "3 Topic \"x\" does not exist.");
}

#[test]
fn what_does_not_change_is_not_recorded() {
    let mut cluster = Cluster::new(1).with_topics(&[("a", 1)]);
    cluster.check_set(topic("a"), "retention.ms", "5", "ok");
    let again = (topic("a"), vec![("retention.ms".to_owned(), Some("5".to_owned()))]);
    assert_eq!(alter_configs(&cluster.view(), &[again], false).records, []);
}

#[test]
fn a_whole_configuration_replaces_the_old_one() {
    let mut cluster = Cluster::new(1).with_topics(&[("a", 1), ("b", 1)]);
    cluster.check_set(topic("a"), "retention.ms", "5", "ok");
    cluster.check_set(topic("a"), "segment.ms", "6", "ok");
    let of = |name: &str, value: Option<&str>| vec![(name.to_owned(), value.map(str::to_owned))];
    let decision = alter_configs(
        &cluster.view(),
        &[(topic("a"), of("segment.ms", Some("7"))), (topic("b"), of("segment.ms", None))],
        false,
    );
    cluster.check(decision, &["ok", "42 Null value not supported for : segment.ms"]);
    assert_eq!((cluster.value("a", "retention.ms"), cluster.value("a", "segment.ms")), (None, Some("7")));
    let twice = [(topic("a"), vec![]), (topic("a"), vec![])];
    let decision = alter_configs(&cluster.view(), &twice, false);
    let refused = "42 Each resource must appear at most once in a request.";
    cluster.check(decision, &[refused, refused]);
}

#[test]
fn brokers_are_configured_one_or_all() {
    let mut cluster = Cluster::new(1).with_topics(&[("a", 1)]);
    let one = || Resource::Broker(Some(BrokerId(1)));
    let all = || Resource::Broker(None);
    cluster.check_set(all(), "log.retention.ms", "5", "ok");
    assert_eq!(cluster.view().topic(cluster.image.topic("a").unwrap()).retention_ms, Some(5));
    cluster.check_set(one(), "log.retention.ms", "6", "ok");
    assert_eq!(cluster.view().topic(cluster.image.topic("a").unwrap()).retention_ms, Some(6));
    cluster.check_set(
        one(),
        "fetch.max.bytes",
        "5000",
        "42 Cannot update fetch.max.bytes while the broker runs: it is read when the broker starts.",
    );
    cluster.check_set(one(), "colour", "red", "40 Unknown broker config name: colour");
    let unknown = Resource::Broker(Some(BrokerId(9)));
    cluster.check_set(unknown, "log.retention.ms", "1", "102 Broker 9 is not registered.");
}

#[test]
fn producer_ids_are_given_out_once() {
    let mut cluster = Cluster::new(1);
    let mut last = ProducerId(0);
    for _ in 0..3 {
        let decision = allocate_producer_ids(&cluster.image, BrokerId(1));
        let block = cluster.check(decision, &["ok"])[0];
        assert_eq!(block.first, last);
        assert_eq!(block.end.0 - block.first.0, 1000);
        last = block.end;
    }
}

#[test]
fn the_cluster_is_named_once_and_a_broker_registers_when_it_differs() {
    let cluster = Cluster::new(1);
    assert_eq!(bootstrap(&cluster.image, ClusterId(Uuid::from_random(2))), []);
    let mut broker = cluster.image.broker(BrokerId(1)).unwrap().clone();
    assert_eq!(register_broker(&cluster.image, broker.clone()), []);
    broker.rack = Some("r".to_owned());
    assert_eq!(register_broker(&cluster.image, broker).len(), 1);
}
