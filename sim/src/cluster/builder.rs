//! How a cluster is set up.

use super::{Cluster, Faults};
use crate::executor::EngineKind;
use highwater_faults::{ClusterSpec, TopicSpec};
use std::time::Duration;

/// The variable that asks for a longer trace: a number of events.
const TRACE: &str = "HIGHWATER_TRACE";
/// How long a check may take if nothing is said, in simulated time.
const CHECK_WITHIN: Duration = Duration::from_secs(600);

/// How a cluster is set up: [`Cluster::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before build() and run()"]
pub struct ClusterBuilder {
    pub(super) spec: ClusterSpec,
    pub(super) topics: Vec<TopicSpec>,
    pub(super) faults: Faults,
    pub(super) engine: EngineKind,
    pub(super) trace: Option<usize>,
    pub(super) check_within: Duration,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            spec: ClusterSpec::default(),
            topics: Vec::new(),
            faults: Faults::none(),
            engine: EngineKind::default(),
            trace: None,
            check_within: CHECK_WITHIN,
        }
    }
}

impl ClusterBuilder {
    /// So many brokers; one if nothing is said.
    pub fn brokers(mut self, brokers: u32) -> Self {
        self.spec.brokers = brokers;
        self
    }

    /// A broker configuration by Kafka's name, for all brokers.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.spec.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A topic that is there before the applications start, with three replicas if there are as many brokers.
    pub fn topic(self, name: &str, partitions: u32) -> Self {
        self.topic_with(name, partitions, &[])
    }

    /// A topic that is there before the applications start, with configurations by Kafka's names.
    pub fn topic_with(mut self, name: &str, partitions: u32, configs: &[(&str, &str)]) -> Self {
        let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.topics.push(TopicSpec { name: name.to_owned(), partitions, replicas: 1, configs });
        self
    }

    /// What goes wrong; nothing if nothing is said.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// What runs the nodes; the simulator's own executor if nothing is said.
    pub fn engine(mut self, engine: EngineKind) -> Self {
        self.engine = engine;
        self
    }

    /// Keeps so many of the newest events, operations of disks among them, whether the test fails or not. The variable
    /// `HIGHWATER_TRACE` does the same from outside.
    pub fn trace(mut self, events: usize) -> Self {
        self.trace = Some(events);
        self
    }

    /// How long the check may take in simulated time; ten minutes if nothing is said.
    pub fn check_within(mut self, limit: Duration) -> Self {
        self.check_within = limit;
        self
    }

    /// The cluster of a seed.
    pub fn build(mut self, seed: u64) -> Cluster {
        if let Some(events) = std::env::var(TRACE).ok().and_then(|text| text.trim().parse().ok()) {
            self.trace = Some(events);
        }
        for topic in &mut self.topics {
            topic.replicas = self.spec.brokers.min(3);
        }
        Cluster::new(self, seed)
    }
}
