//! Configurations: every name with its type, default, rule and documentation, and what is in force where.
//!
//! A value comes from the first of these that sets it, and the place is told with it ([`Source`]): the topic; this
//! broker, dynamically; all brokers, dynamically; this broker's own configuration file or command line; the default.
//! Topic configurations have synonyms among the broker's (`retention.ms` and `log.retention.hours`, say), which set
//! the default for topics without a value of their own.

mod broker_keys;
mod broker_settings;
mod key;
mod membership;
mod reference;
mod registry;
mod statics;
mod topic_config;
mod topic_keys;
mod view;

pub use broker_settings::BrokerSettings;
pub use key::{Effect, Key, Rule, Synonym, Update, ValueType};
pub use membership::{CLUSTER_WIDE, MembershipRules};
pub use reference::reference;
pub use registry::{broker_key, broker_keys, suggestion, topic_key, topic_keys};
pub use statics::{StaticConfig, StaticConfigError};
pub use topic_config::{
    CleanupPolicy, CompressionType, Durability, ThrottledReplicas, TimestampType, TopicConfig,
};
pub use view::{ConfigView, Entry, Source, SynonymValue};

pub(crate) use key::parse_list;
pub(crate) use registry::unknown;
pub(crate) use view::check_topic_configs;
