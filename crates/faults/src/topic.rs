//! Topics of a scenario, and the names of their partitions.

use std::collections::BTreeMap;
use std::fmt;

/// A topic that is there from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: u32,
    /// How many replicas each has.
    pub replicas: u32,
    /// Topic configurations by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// A partition, written `orders-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionName {
    /// Its topic.
    pub topic: String,
    /// Its number, from 0.
    pub partition: i32,
}

impl PartitionName {
    /// Reads `topic-partition`; the topic's name may have hyphens of its own.
    pub fn parse(text: &str) -> Option<Self> {
        let (topic, partition) = text.rsplit_once('-')?;
        let partition: i32 = partition.parse().ok()?;
        (!topic.is_empty() && partition >= 0).then(|| Self { topic: topic.to_owned(), partition })
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
