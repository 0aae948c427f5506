//! Lookup of configurations by name.

use super::broker_keys::BROKER_KEYS;
use super::key::Key;
use super::topic_keys::TOPIC_KEYS;
use std::sync::LazyLock;

/// How alike two names must be, from 0 to 1, for one to be suggested for the other.
const ALIKE: f64 = 0.7;

/// Every topic configuration, in order of names.
pub fn topic_keys() -> &'static [Key] {
    TOPIC_KEYS
}

/// Every broker configuration, in order of names: the broker's own, and those that set a topic configuration's
/// default.
pub fn broker_keys() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let mut keys = BROKER_KEYS.to_vec();
        for key in TOPIC_KEYS {
            for synonym in key.synonyms {
                if !keys.iter().any(|known| known.name == synonym.name) {
                    keys.push(Key { name: synonym.name, synonyms: &[], ..*key });
                }
            }
        }
        keys.sort_by_key(|key| key.name);
        keys
    });
    &KEYS
}

/// A topic configuration.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    find(topic_keys(), name)
}

/// A broker configuration.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    find(broker_keys(), name)
}

/// A known name that is much like this unknown one.
pub fn suggestion(keys: &'static [Key], name: &str) -> Option<&'static str> {
    let name: String =
        name.chars().take(100).collect::<String>().to_ascii_lowercase().replace(['_', '-'], ".");
    keys.iter()
        .map(|key| (strsim::normalized_damerau_levenshtein(key.name, &name), key.name))
        .filter(|&(likeness, _)| likeness >= ALIKE)
        .max_by(|(a, left), (b, right)| a.total_cmp(b).then(right.cmp(left)))
        .map(|(_, name)| name)
}

/// What to say of a name that is not known; `what` is "topic" or "broker".
pub(crate) fn unknown(what: &str, keys: &'static [Key], name: &str) -> String {
    let mut text = format!("Unknown {what} config name: {}", name.chars().take(100).collect::<String>());
    if let Some(near) = suggestion(keys, name) {
        text.push_str(&format!(". Did you mean {near}?"));
    }
    text
}

fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.binary_search_by(|key| key.name.cmp(name)).ok().map(|at| &keys[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn tables_are_sorted_and_names_are_unique() {
        for keys in [topic_keys(), broker_keys()] {
            for pair in keys.windows(2) {
                assert!(pair[0].name < pair[1].name, "{} before {}", pair[0].name, pair[1].name);
            }
            for key in keys {
                assert!(std::ptr::eq(find(keys, key.name).unwrap(), key));
            }
        }
    }

    #[test]
    fn defaults_keep_their_own_rules_and_every_name_is_documented() {
        for key in topic_keys().iter().chain(broker_keys()) {
            if let Some(default) = key.default {
                assert_eq!(key.check(default), Ok(()), "{}", key.name);
            }
            assert!(key.doc.ends_with('.'), "{}: {:?}", key.name, key.doc);
            assert!(key.documentation().ends_with('.'), "{}: {:?}", key.name, key.documentation());
        }
    }

    #[test]
    fn every_synonym_is_a_broker_configuration_of_a_fitting_type_and_of_one_topic_configuration() {
        let mut seen = BTreeSet::new();
        for key in topic_keys() {
            for synonym in key.synonyms {
                let broker = broker_key(synonym.name).expect(synonym.name);
                assert!(seen.insert(synonym.name), "{} twice", synonym.name);
                assert_eq!(synonym.factor == 1, broker.value_type == key.value_type, "{}", synonym.name);
            }
        }
    }

    #[test]
    fn every_topic_configuration_of_kafka_is_known() {
        let kafka = "cleanup.policy compression.gzip.level compression.lz4.level compression.type \
            compression.zstd.level delete.retention.ms file.delete.delay.ms flush.messages flush.ms \
            follower.replication.throttled.replicas index.interval.bytes leader.replication.throttled.replicas \
            local.retention.bytes local.retention.ms max.compaction.lag.ms max.message.bytes \
            message.timestamp.after.max.ms message.timestamp.before.max.ms message.timestamp.type \
            min.cleanable.dirty.ratio min.compaction.lag.ms min.insync.replicas preallocate remote.copy.lag.bytes \
            remote.copy.lag.ms remote.log.copy.disable remote.log.delete.on.disable remote.storage.enable \
            retention.bytes retention.ms segment.bytes segment.index.bytes segment.jitter.ms segment.ms \
            unclean.leader.election.enable";
        let names: Vec<_> =
            topic_keys().iter().map(|key| key.name).filter(|name| *name != "durability").collect();
        assert_eq!(names, kafka.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        let check = |name, expected| assert_eq!(suggestion(topic_keys(), name), expected, "{name}");
        check("retention.msec", Some("retention.ms"));
        check("retention_ms", Some("retention.ms"));
        check("RETENTION.MS", Some("retention.ms"));
        check("clean.policy", Some("cleanup.policy"));
        check("max.messages.bytes", Some("max.message.bytes"));
        check("colour", None);
        check("", None);
        check(&"x".repeat(10_000), None);
    }
}
