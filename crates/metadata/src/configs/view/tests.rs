//! Where values come from.

use super::*;
use crate::configs::{Durability, TimestampType};
use crate::records::{BrokerConfigRecord, MetadataRecord};

/// A broker with these settings, and a topic with these.
struct Setup {
    image: Image,
    statics: StaticConfig,
    overrides: BTreeMap<String, String>,
}

impl Setup {
    fn new(
        statics: &[(&str, &str)],
        all: &[(&str, &str)],
        one: &[(&str, &str)],
        topic: &[(&str, &str)],
    ) -> Self {
        let mut image = Image::new();
        for (broker, configs) in [(None, all), (Some(BrokerId(1)), one)] {
            for (name, value) in configs {
                let (name, value) = ((*name).to_owned(), Some((*value).to_owned()));
                image
                    .apply(&MetadataRecord::BrokerConfig(BrokerConfigRecord { broker, name, value }), 1)
                    .unwrap();
            }
        }
        let statics = StaticConfig::new(statics.iter().copied()).unwrap();
        let overrides = topic.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { image, statics, overrides }
    }

    fn view(&self) -> ConfigView<'_> {
        ConfigView { image: &self.image, statics: &self.statics, broker: BrokerId(1) }
    }

    fn check(&self, name: &str, expected: &str) {
        let entries = self.view().describe_new_topic(&self.overrides, 1);
        let entry = entries.iter().find(|entry| entry.key.name == name).unwrap();
        let synonyms: Vec<_> = entry
            .synonyms
            .iter()
            .map(|it| format!("{}:{}={}", it.source.number(), it.name, it.value))
            .collect();
        let value = entry.value.as_deref().unwrap_or("null");
        assert_eq!(format!("{value} from {} [{}]", entry.source.number(), synonyms.join(" ")), expected);
    }
}

#[test]
fn the_nearest_place_that_sets_a_value_wins_and_the_others_are_told() {
    let name = "log.retention.ms";
    Setup::new(&[(name, "4")], &[(name, "3")], &[(name, "2")], &[("retention.ms", "1")]).check(
        "retention.ms",
        "1 from 1 [1:retention.ms=1 2:log.retention.ms=2 3:log.retention.ms=3 4:log.retention.ms=4 \
         5:log.retention.ms=604800000]",
    );
    Setup::new(&[(name, "4")], &[(name, "3")], &[], &[]).check(
        "retention.ms",
        "3 from 3 [3:log.retention.ms=3 4:log.retention.ms=4 5:log.retention.ms=604800000]",
    );
    Setup::new(&[], &[], &[], &[]).check("retention.ms", "604800000 from 5 [5:log.retention.ms=604800000]");
    Setup::new(&[], &[], &[], &[]).check("remote.copy.lag.ms", "0 from 5 [5:remote.copy.lag.ms=0]");
}

#[test]
fn coarser_units_count_where_the_finer_are_not_set() {
    Setup::new(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")], &[], &[], &[]).check(
        "retention.ms",
        "180000 from 4 [4:log.retention.minutes=3 4:log.retention.hours=2 5:log.retention.ms=604800000]",
    );
    Setup::new(&[("log.retention.ms", "1")], &[("log.retention.hours", "1")], &[], &[]).check(
        "retention.ms",
        "3600000 from 3 [3:log.retention.hours=1 4:log.retention.ms=1 5:log.retention.ms=604800000]",
    );
    Setup::new(&[("log.retention.hours", "-1")], &[], &[], &[])
        .check("retention.ms", "-1 from 4 [4:log.retention.hours=-1 5:log.retention.ms=604800000]");
    Setup::new(&[("log.roll.hours", "2147483647")], &[], &[], &[])
        .check("segment.ms", "7730941129200000 from 4 [4:log.roll.hours=2147483647 5:log.roll.ms=604800000]");
}

#[test]
fn a_value_that_another_version_took_and_this_one_does_not_is_passed_over() {
    Setup::new(&[], &[("log.retention.ms", "soon")], &[], &[("retention.ms", "later")])
        .check("retention.ms", "604800000 from 5 [5:log.retention.ms=604800000]");
}

#[test]
fn the_minimum_of_in_sync_replicas_follows_the_replication_factor() {
    let check = |setup: &Setup, factor, expected| {
        assert_eq!(setup.view().topic_with(&setup.overrides, factor).min_insync_replicas, expected);
    };
    let unset = Setup::new(&[], &[], &[], &[]);
    check(&unset, 1, 1);
    check(&unset, 2, 1);
    check(&unset, 3, 2);
    check(&unset, 5, 2);
    let set = Setup::new(&[("min.insync.replicas", "3")], &[], &[], &[]);
    check(&set, 1, 3);
    check(&set, 5, 3);
}

#[test]
fn typed_values_say_what_the_texts_say() {
    let setup = Setup::new(
        &[("message.max.bytes", "2000")],
        &[],
        &[],
        &[
            ("cleanup.policy", "compact, delete"),
            ("retention.bytes", "-1"),
            ("retention.ms", " 5 "),
            ("message.timestamp.type", "LogAppendTime"),
            ("durability", "replicated"),
        ],
    );
    let config = setup.view().topic_with(&setup.overrides, 1);
    assert!(config.cleanup_policy.compact && config.cleanup_policy.delete);
    assert_eq!(config.retention_bytes, None);
    assert_eq!(config.retention_ms, Some(5));
    assert_eq!(config.max_message_bytes, 2000);
    assert_eq!(config.message_timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(config.durability, Durability::Replicated);
    let settings = setup.view().broker();
    assert_eq!(settings.default_replication_factor, None);
    assert_eq!(settings.num_partitions, 1);
}

#[test]
fn a_broker_is_described_with_everything_and_all_brokers_with_what_is_set() {
    let setup = Setup::new(&[("num.partitions", "4")], &[("log.segment.bytes", "2048")], &[], &[]);
    let entries = setup.view().describe_broker();
    assert_eq!(entries.len(), broker_keys().len());
    let find = |name: &str| entries.iter().find(|entry| entry.key.name == name).unwrap();
    assert_eq!(
        (find("num.partitions").value.as_deref(), find("num.partitions").source),
        (Some("4"), Source::Static)
    );
    assert_eq!(find("log.segment.bytes").source, Source::AllBrokers);
    assert_eq!(
        (find("log.retention.ms").value.as_deref(), find("log.retention.ms").source),
        (None, Source::Default)
    );
    assert!(find("fetch.max.bytes").read_only() && !find("log.segment.bytes").read_only());
    let all = setup.view().describe_all_brokers();
    assert_eq!(all.iter().map(|entry| entry.key.name).collect::<Vec<_>>(), ["log.segment.bytes"]);
}
