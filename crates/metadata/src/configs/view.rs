//! Which value of a configuration is in force, and where it comes from.

use super::broker_settings::BrokerSettings;
use super::key::{Key, Update};
use super::membership::MembershipRules;
use super::registry::{broker_keys, topic_key, topic_keys, unknown};
use super::statics::StaticConfig;
use super::topic_config::TopicConfig;
use crate::image::{Image, Topic};
use highwater_types::BrokerId;
use std::collections::BTreeMap;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic itself.
    Topic,
    /// The broker, set while it runs.
    Broker,
    /// All brokers, set while they run.
    AllBrokers,
    /// The broker's own configuration file, environment or command line.
    Static,
    /// Nobody set it.
    Default,
}

impl Source {
    /// Kafka's number for the source, from DescribeConfigs version 1 on.
    pub const fn number(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Broker => 2,
            Self::AllBrokers => 3,
            Self::Static => 4,
            Self::Default => 5,
        }
    }
}

/// A place that sets a value, be it in force or hidden by one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynonymValue {
    /// The name it is set under.
    pub name: &'static str,
    /// The value as it is set there, in that name's unit.
    pub value: String,
    /// The place.
    pub source: Source,
}

/// A configuration with the value in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The configuration.
    pub key: &'static Key,
    /// The value; none: not set.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Every place that sets it, the one in force first.
    pub synonyms: Vec<SynonymValue>,
}

impl Entry {
    /// Whether it can be changed while the broker runs.
    pub fn read_only(&self) -> bool {
        self.key.update != Update::Dynamic
    }
}

/// The configurations in force for one broker: the image's, and its own.
#[derive(Clone, Copy, Debug)]
pub struct ConfigView<'a> {
    /// The cluster's state.
    pub image: &'a Image,
    /// The broker's own settings.
    pub statics: &'a StaticConfig,
    /// The broker.
    pub broker: BrokerId,
}

impl<'a> ConfigView<'a> {
    /// A topic's configuration.
    pub fn topic(&self, topic: &Topic) -> TopicConfig {
        self.topic_with(topic.configs(), topic.replication_factor())
    }

    /// The configuration of a topic with these settings of its own and this replication factor.
    pub fn topic_with(&self, overrides: &BTreeMap<String, String>, replication_factor: usize) -> TopicConfig {
        TopicConfig::from_lookup(|key| self.topic_value(key, overrides, replication_factor).value)
    }

    /// What decides who may be in sync and lead.
    pub fn membership(&self, topic: &Topic) -> MembershipRules {
        let factor = topic.replication_factor();
        MembershipRules::from_lookup(|key| self.topic_value(key, topic.configs(), factor).value)
    }

    /// This broker's configuration.
    pub fn broker(&self) -> BrokerSettings {
        BrokerSettings::from_lookup(|key| {
            let mut set = self.set_by(key.name).map(|(_, value)| value);
            set.find(|value| key.check(value).is_ok()).or(key.default)
        })
    }

    /// Every configuration of a topic, in order of names.
    pub fn describe_topic(&self, topic: &Topic) -> Vec<Entry> {
        let factor = topic.replication_factor();
        topic_keys().iter().map(|key| self.topic_value(key, topic.configs(), factor)).collect()
    }

    /// Every configuration of a topic that would be created with these settings.
    pub fn describe_new_topic(
        &self,
        overrides: &BTreeMap<String, String>,
        replication_factor: usize,
    ) -> Vec<Entry> {
        topic_keys().iter().map(|key| self.topic_value(key, overrides, replication_factor)).collect()
    }

    /// What a topic has for a name that it does not set itself.
    pub(crate) fn topic_fallback(&self, key: &'static Key) -> Option<String> {
        self.topic_value(key, &BTreeMap::new(), 0).value
    }

    /// Every configuration of this broker, in order of names.
    pub fn describe_broker(&self) -> Vec<Entry> {
        broker_keys().iter().map(|key| self.broker_value(key)).collect()
    }

    /// The configurations that are set for all brokers, in order of names.
    pub fn describe_all_brokers(&self) -> Vec<Entry> {
        let Some(configs) = self.image.broker_configs(None) else { return Vec::new() };
        broker_keys()
            .iter()
            .filter_map(|key| {
                let value = configs.get(key.name)?;
                let (value, source) = (value.clone(), Source::AllBrokers);
                let synonyms = vec![SynonymValue { name: key.name, value: value.clone(), source }];
                Some(Entry { key, value: Some(value), source, synonyms })
            })
            .collect()
    }

    fn topic_value(
        &self,
        key: &'static Key,
        overrides: &BTreeMap<String, String>,
        replication_factor: usize,
    ) -> Entry {
        // Several settings can be in unlike units: each is kept with its value in the topic's.
        let mut found = Vec::new();
        if let Some(value) = overrides.get(key.name).filter(|value| key.check(value).is_ok()) {
            let (name, source) = (key.name, Source::Topic);
            found.push((value.clone(), SynonymValue { name, value: value.clone(), source }));
        }
        let broker_first = found.len();
        for synonym in key.synonyms {
            for (source, value) in self.set_by(synonym.name) {
                let Some(converted) = convert(value, synonym.factor) else { continue };
                if key.check(&converted).is_ok() {
                    let value = value.to_owned();
                    found.push((converted, SynonymValue { name: synonym.name, value, source }));
                }
            }
        }
        // The place counts first, the order of the names second: the sort is stable.
        found[broker_first..].sort_by_key(|(_, synonym)| synonym.source.number());
        let default = match key.default {
            None if key.name == "min.insync.replicas" => {
                Some(default_min_insync_replicas(replication_factor))
            }
            default => default,
        };
        if let Some(default) = default {
            let name = key.synonyms.first().map_or(key.name, |synonym| synonym.name);
            let value = default.to_owned();
            found.push((value.clone(), SynonymValue { name, value, source: Source::Default }));
        }
        entry(key, found)
    }

    fn broker_value(&self, key: &'static Key) -> Entry {
        let mut found = Vec::new();
        for (source, value) in self.set_by(key.name).filter(|(_, value)| key.check(value).is_ok()) {
            let value = value.to_owned();
            found.push((value.clone(), SynonymValue { name: key.name, value, source }));
        }
        if let Some(default) = key.default {
            let value = default.to_owned();
            found.push((value.clone(), SynonymValue { name: key.name, value, source: Source::Default }));
        }
        entry(key, found)
    }

    /// What each place sets for a broker configuration, the foremost place first.
    fn set_by(&self, name: &str) -> impl Iterator<Item = (Source, &'a str)> {
        let of_image = |broker| {
            let configs = self.image.broker_configs(broker)?;
            configs.get(name).map(String::as_str)
        };
        let places = [
            (Source::Broker, of_image(Some(self.broker))),
            (Source::AllBrokers, of_image(None)),
            (Source::Static, self.statics.get(name)),
        ];
        places.into_iter().filter_map(|(source, value)| Some((source, value?)))
    }
}

/// Checks the settings of a topic, one by one and together.
pub(crate) fn check_topic_configs(
    view: &ConfigView<'_>,
    configs: &BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, value) in configs {
        let key = topic_key(name).ok_or_else(|| unknown("topic", topic_keys(), name))?;
        key.check(value)?;
    }
    let config = view.topic_with(configs, 1);
    if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
        return Err(format!(
            "min.compaction.lag.ms ({}) is greater than max.compaction.lag.ms ({})",
            config.min_compaction_lag_ms, config.max_compaction_lag_ms
        ));
    }
    Ok(())
}

fn entry(key: &'static Key, found: Vec<(String, SynonymValue)>) -> Entry {
    let (value, source) = match found.first() {
        Some((value, place)) => (Some(value.clone()), place.source),
        None => (None, Source::Default),
    };
    Entry { key, value, source, synonyms: found.into_iter().map(|(_, synonym)| synonym).collect() }
}

/// The value in the topic's unit. A negative value means "without limit" in every unit.
fn convert(value: &str, factor: i64) -> Option<String> {
    if factor == 1 {
        return Some(value.to_owned());
    }
    let number: i64 = value.trim().parse().ok()?;
    Some(if number < 0 { "-1".to_owned() } else { number.saturating_mul(factor).to_string() })
}

/// With two replicas a minimum of two would stop at the first failure; from three up it is what makes one failure
/// harmless.
fn default_min_insync_replicas(replication_factor: usize) -> &'static str {
    if replication_factor >= 3 { "2" } else { "1" }
}

#[cfg(test)]
mod tests;
