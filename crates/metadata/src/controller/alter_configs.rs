//! Changing configurations, whole (AlterConfigs) or name by name (IncrementalAlterConfigs).

use super::work::Work;
use super::{Decision, Draft};
use crate::configs::{
    CLUSTER_WIDE, ConfigView, Key, Update, ValueType, broker_key, broker_keys, check_topic_configs,
    parse_list, topic_key, topic_keys, unknown,
};
use crate::image::Topic;
use crate::records::{BrokerConfigRecord, MetadataRecord, TopicConfigRecord};
use crate::refusal::{Refusal, RefusalCode};
use highwater_types::BrokerId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MIN_ISR: &str = "min.insync.replicas";

/// What a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic, by name.
    Topic(String),
    /// A broker; none: all brokers.
    Broker(Option<BrokerId>),
}

/// What is done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOperation {
    /// It is set.
    Set,
    /// It is removed, so that the default holds again.
    Delete,
    /// Parts are added to a list.
    Append,
    /// Parts are taken out of a list.
    Subtract,
}

impl AlterOperation {
    /// The operation of this number in Kafka's protocol.
    pub const fn from_number(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// A change of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The name.
    pub name: String,
    /// What is done.
    pub operation: AlterOperation,
    /// With what; not looked at when the value is removed.
    pub value: Option<String>,
}

/// A name and its new value in a whole configuration.
pub type Setting = (String, Option<String>);

/// Decides on changes by name. A resource's changes are carried out all or none.
pub fn incremental_alter_configs(
    view: &ConfigView<'_>,
    resources: &[(Resource, Vec<ConfigChange>)],
    validate_only: bool,
) -> Decision<()> {
    decide(view, resources, validate_only, |target, changes| {
        let mut next = target.current();
        for change in changes {
            let key = target.key(&change.name)?;
            // A list that is not set starts from what is in force, so that appending to it takes nothing away.
            let current = next.get(key.name).cloned().or_else(|| target.fallback(view, key));
            let value = changed_value(key, change, current)?;
            match value {
                Some(value) => next.insert(change.name.clone(), value),
                None => next.remove(&change.name),
            };
        }
        target.check_and_record(view, changes.iter().map(|change| change.name.as_str()), &next)
    })
}

/// Decides on whole configurations: what a resource's new one does not name is removed, but for what cannot be
/// changed while a broker runs.
pub fn alter_configs(
    view: &ConfigView<'_>,
    resources: &[(Resource, Vec<Setting>)],
    validate_only: bool,
) -> Decision<()> {
    decide(view, resources, validate_only, |target, configs| {
        let mut next = BTreeMap::new();
        for (name, value) in configs {
            target.key(name)?;
            let value = value.clone().ok_or_else(|| null_value(name))?;
            next.insert(name.clone(), value);
        }
        target.check_and_record(view, configs.iter().map(|(name, _)| name.as_str()), &next)
    })
}

/// A name of a change, for finding duplicates.
trait Named {
    fn name(&self) -> &str;
}

impl Named for ConfigChange {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Setting {
    fn name(&self) -> &str {
        &self.0
    }
}

fn decide<C: Named>(
    view: &ConfigView<'_>,
    resources: &[(Resource, Vec<C>)],
    validate_only: bool,
    mut alter: impl FnMut(Target<'_>, &[C]) -> Result<Vec<MetadataRecord>, Refusal>,
) -> Decision<()> {
    let mut draft = Draft::new();
    let mut times: BTreeMap<&Resource, usize> = BTreeMap::new();
    for (resource, _) in resources {
        *times.entry(resource).or_default() += 1;
    }
    let answers = resources
        .iter()
        .map(|(resource, changes)| {
            if times.get(resource).is_some_and(|&times| times > 1) {
                let message = "Each resource must appear at most once in a request.";
                return Err(Refusal::new(RefusalCode::InvalidRequest, message));
            }
            let mut names = BTreeSet::new();
            if let Some(twice) = changes.iter().find(|change| !names.insert(change.name())) {
                let message = format!("Config {} is in the request more than once.", shortened(twice.name()));
                return Err(Refusal::new(RefusalCode::InvalidRequest, message));
            }
            draft.add(alter(Target::find(view, resource)?, changes)?)
        })
        .collect();
    let decision = draft.finish_validated(validate_only, answers);
    Decision { records: settled(view, decision.records), ..decision }
}

/// The records, and what a smaller `min.insync.replicas` makes of partitions: it must be in force nowhere before the
/// replicas that it leaves behind cannot be elected any more.
fn settled(view: &ConfigView<'_>, records: Vec<MetadataRecord>) -> Vec<MetadataRecord> {
    let mut topics = BTreeSet::new();
    for record in &records {
        match record {
            MetadataRecord::TopicConfig(record) if record.name == MIN_ISR => {
                topics.insert(record.topic);
            }
            MetadataRecord::BrokerConfig(record) if record.name == MIN_ISR => {
                topics.extend(view.image.topics().map(|topic| topic.id()));
            }
            _ => {}
        }
    }
    if topics.is_empty() {
        return records;
    }
    let mut work = Work::new(view);
    records.into_iter().for_each(|record| work.push(record));
    topics.into_iter().for_each(|topic| work.settle(topic));
    work.into_records()
}

/// What is altered, and what is set on it.
enum Target<'a> {
    Topic(&'a Arc<Topic>),
    Broker(Option<BrokerId>, Option<&'a BTreeMap<String, String>>),
}

impl<'a> Target<'a> {
    fn find(view: &ConfigView<'a>, resource: &Resource) -> Result<Self, Refusal> {
        match resource {
            Resource::Topic(name) => view.image.topic(name).map(Self::Topic).ok_or_else(|| {
                Refusal::new(RefusalCode::UnknownTopicOrPartition, format!("Topic {name:?} does not exist."))
            }),
            Resource::Broker(Some(id)) if view.image.broker(*id).is_none() => {
                let message = format!("Broker {id} is not registered.");
                Err(Refusal::new(RefusalCode::BrokerIdNotRegistered, message))
            }
            Resource::Broker(id) => Ok(Self::Broker(*id, view.image.broker_configs(*id))),
        }
    }

    fn fallback(&self, view: &ConfigView<'_>, key: &'static Key) -> Option<String> {
        match self {
            Self::Topic(_) => view.topic_fallback(key),
            Self::Broker(..) => key.default.map(str::to_owned),
        }
    }

    fn current(&self) -> BTreeMap<String, String> {
        match self {
            Self::Topic(topic) => topic.configs().clone(),
            Self::Broker(_, configs) => configs.cloned().unwrap_or_default(),
        }
    }

    fn key(&self, name: &str) -> Result<&'static Key, Refusal> {
        let (key, what, keys) = match self {
            Self::Topic(_) => (topic_key(name), "topic", topic_keys()),
            Self::Broker(..) => (broker_key(name), "broker", broker_keys()),
        };
        let key = key.ok_or_else(|| Refusal::new(RefusalCode::InvalidConfig, unknown(what, keys, name)))?;
        if key.update != Update::Dynamic {
            let message =
                format!("Cannot update {name} while the broker runs: it is read when the broker starts.");
            return Err(Refusal::new(RefusalCode::InvalidRequest, message));
        }
        if matches!(self, Self::Broker(Some(_), _)) && CLUSTER_WIDE.contains(&name) {
            let message = format!("All brokers must agree on {name}: set it on a topic, or for all brokers.");
            return Err(Refusal::new(RefusalCode::InvalidRequest, message));
        }
        Ok(key)
    }

    /// Checks the whole of what would be set, and records what differs from now among `names` and among what
    /// would be gone.
    fn check_and_record<'n>(
        &self,
        view: &ConfigView<'_>,
        names: impl Iterator<Item = &'n str>,
        next: &BTreeMap<String, String>,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let checked = match self {
            Self::Topic(_) => check_topic_configs(view, next),
            Self::Broker(..) => next.iter().try_for_each(|(name, value)| {
                let key = broker_key(name).ok_or_else(|| unknown("broker", broker_keys(), name))?;
                key.check(value)
            }),
        };
        checked.map_err(|problem| Refusal::new(RefusalCode::InvalidConfig, problem))?;
        let current = self.current();
        let mut names: BTreeSet<&str> = names.collect();
        names.extend(current.keys().map(String::as_str).filter(|name| !next.contains_key(*name)));
        let changed = names.into_iter().filter(|name| current.get(*name) != next.get(*name));
        Ok(changed.map(|name| self.record(name, next.get(name).cloned())).collect())
    }

    fn record(&self, name: &str, value: Option<String>) -> MetadataRecord {
        let name = name.to_owned();
        match self {
            Self::Topic(topic) => {
                MetadataRecord::TopicConfig(TopicConfigRecord { topic: topic.id(), name, value })
            }
            Self::Broker(broker, _) => {
                MetadataRecord::BrokerConfig(BrokerConfigRecord { broker: *broker, name, value })
            }
        }
    }
}

/// The value that a change leads to; none: removed.
fn changed_value(
    key: &'static Key,
    change: &ConfigChange,
    current: Option<String>,
) -> Result<Option<String>, Refusal> {
    if change.operation == AlterOperation::Delete {
        return Ok(None);
    }
    let value = change.value.as_deref().ok_or_else(|| null_value(&change.name))?;
    if change.operation == AlterOperation::Set {
        return Ok(Some(value.to_owned()));
    }
    if key.value_type != ValueType::List {
        let message = format!("Cannot append to or subtract from {}: it is not a list.", key.name);
        return Err(Refusal::new(RefusalCode::InvalidConfig, message));
    }
    let current = current.unwrap_or_default();
    let mut list = parse_list(&current);
    for part in parse_list(value) {
        if change.operation == AlterOperation::Subtract {
            list.retain(|present| *present != part);
        } else if !list.contains(&part) {
            list.push(part);
        }
    }
    Ok(Some(list.join(",")))
}

fn null_value(name: &str) -> Refusal {
    Refusal::new(RefusalCode::InvalidRequest, format!("Null value not supported for : {}", shortened(name)))
}

/// Bounds what of a request goes back in a message.
fn shortened(name: &str) -> String {
    name.chars().take(100).collect()
}
