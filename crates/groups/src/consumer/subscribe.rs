//! Which topics members want, of those that there are.

use super::Consumers;
use super::heartbeat::Draft;
use crate::Record;
use crate::records::ConsumerGroupValue;
use crate::topics::Topics;
use highwater_assign::{Demand, Member};
use highwater_types::TopicId;
use highwater_wire::Str;
use regex_automata::meta::{Config, Regex};
use std::collections::{BTreeMap, BTreeSet};

/// The memory that a regular expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// A regular expression, for whole names.
pub(super) fn compiled(regex: &str) -> Result<Regex, String> {
    let config = Config::new().nfa_size_limit(Some(MAX_REGEX_BYTES)).hybrid_cache_capacity(MAX_REGEX_BYTES);
    let whole = format!("^(?:{regex})$");
    Regex::builder().configure(config).build(&whole).map_err(|error| error.to_string())
}

/// Names of topics as a record has them, which do not keep the bytes in memory that they were read from.
pub(super) fn sorted(names: &[Str]) -> Vec<Str> {
    let mut names: Vec<Str> = names.iter().map(|name| Str::from(&**name)).collect();
    names.sort();
    names.dedup();
    names
}

impl Consumers {
    /// What each member wants of what there is; where that is, if any of them says where it is itself.
    pub(super) fn demand(&self, topics: &dyn Topics) -> Demand<TopicId> {
        let mut demand = Demand::default();
        let mut matched: BTreeMap<&Str, Vec<Str>> = BTreeMap::new();
        let mut names = None;
        for member in self.members.values() {
            if let Some(regex) = &member.regex
                && !matched.contains_key(regex)
            {
                let names = names.get_or_insert_with(|| topics.names());
                let found = compiled(regex).map_or_else(
                    |_| Vec::new(),
                    |regex| names.iter().filter(|name| regex.is_match(name.as_bytes())).cloned().collect(),
                );
                matched.insert(regex, found);
            }
        }
        let mut ids: BTreeMap<Str, Option<TopicId>> = BTreeMap::new();
        for member in self.members.values() {
            let by_regex = member.regex.iter().filter_map(|regex| matched.get(regex)).flatten();
            let mut wants = BTreeSet::new();
            for name in member.topics.iter().chain(by_regex) {
                let id = ids.entry(name.clone()).or_insert_with(|| {
                    let (id, count) = topics.topic(name)?;
                    demand.topics.insert(id, count);
                    Some(id)
                });
                wants.extend(*id);
            }
            demand.members.insert(member.id.clone(), Member { topics: wants, rack: member.rack.clone() });
        }
        if demand.asks_for_racks() {
            demand.racks = demand.topics.keys().map(|topic| (*topic, topics.racks(*topic))).collect();
        }
        demand
    }

    /// Whether any member wants a topic by name.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        self.members.values().any(|member| {
            let matches = |regex: &Str| compiled(regex).is_ok_and(|regex| regex.is_match(topic.as_bytes()));
            member.topics.contains(topic) || member.regex.as_ref().is_some_and(matches)
        })
    }
}

impl Draft<'_> {
    /// Begins another epoch if members want something else, or the topics are not what they were.
    pub(super) fn bump_epoch(&mut self, changed: bool, topics: &dyn Topics) {
        let version = topics.version();
        if !changed && self.consumers.seen == Some(version) {
            return;
        }
        self.consumers.seen = Some(version);
        let metadata_hash = hash(&self.consumers.demand(topics));
        if changed || metadata_hash != self.consumers.metadata_hash {
            let epoch = self.consumers.epoch + 1;
            let value = ConsumerGroupValue { epoch, metadata_hash };
            self.add(Record::ConsumerGroup(self.group.clone(), Some(value)));
        }
    }
}

/// A number for the topics, how many partitions they have, and where these are if that matters: FNV-1a, so that it is
/// the same on every machine.
fn hash(demand: &Demand<TopicId>) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (topic, count) in &demand.topics {
        take(&topic.0.0);
        take(&count.to_be_bytes());
        for racks in demand.racks.get(topic).into_iter().flatten() {
            // Neither a name nor the end of a partition's racks can pass for part of another name.
            for rack in racks {
                take(rack.as_bytes());
                take(&[0xff]);
            }
            take(&[0xfe]);
        }
    }
    hash as i64
}
