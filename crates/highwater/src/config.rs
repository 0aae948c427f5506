//! The configuration file of `highwater serve`: TOML, checked whole before anything is started.
//!
//! The keys of this file are the node's own (where it listens, where its data lies). What Kafka calls broker
//! configurations stands in `[kafka]` under Kafka's names; their table of types, defaults and documentation is in
//! `highwater-metadata`.

mod cluster;
mod reference;

pub use cluster::{DEFAULT_INTERNAL_PORT, InternalSection, RoleName};
pub use reference::{in_page, reference};

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A node's configuration as the file gives it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The node's number in its cluster.
    #[serde(default = "default_node_id")]
    pub node_id: i32,
    /// Where the data lies.
    pub data_dir: PathBuf,
    /// The cluster's id, 22 characters; taken from the data directory, or made, if left out.
    pub cluster_id: Option<String>,
    /// What the node does: `broker`, `controller`, or both. A broker if left out, and a controller if it is a voter.
    pub roles: Option<Vec<RoleName>>,
    /// The voters of the metadata quorum, `ID@HOST:PORT` of their internal ports. None: the node is alone.
    #[serde(default)]
    pub voters: Vec<String>,
    /// The rack that the node stands in.
    pub rack: Option<String>,
    /// What an acknowledgement with acks=all means: `sync` (on disk) or `replicated` (in page caches).
    #[serde(default)]
    pub durability: DurabilityName,
    /// Where Kafka clients connect.
    pub listener: Option<ListenerSection>,
    /// Where the other nodes of the cluster connect.
    pub internal: Option<InternalSection>,
    /// Metrics and health.
    #[serde(default)]
    pub admin: AdminSection,
    /// The node's own log.
    #[serde(default)]
    pub log: LogSection,
    /// Kafka's broker configurations, by Kafka's names.
    #[serde(default)]
    kafka: toml::Table,
}

/// `durability` in the file.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityName {
    /// Acknowledged when synced to disk.
    #[default]
    Sync,
    /// Acknowledged when in the page cache of every in-sync replica.
    Replicated,
}

/// `[listener]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerSection {
    /// The address that is listened on.
    pub listen: String,
    /// The address that clients are told to connect to; the one listened on if left out.
    pub advertised: Option<String>,
}

/// `[admin]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// Where `/metrics` and `/healthz` are served; empty for nowhere.
    pub listen: String,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// What is logged, as `tracing`'s filter directives: `info`, `highwater_broker=debug`, ...
    pub level: String,
    /// Text for people or JSON for machines.
    pub format: LogFormat,
}

/// How the node's log is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one object a line.
    Json,
}

impl Default for ListenerSection {
    fn default() -> Self {
        Self { listen: crate::DEFAULT_LISTEN.to_owned(), advertised: None }
    }
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { listen: crate::DEFAULT_ADMIN.to_owned() }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

fn default_node_id() -> i32 {
    1
}

/// The largest configuration file that is read, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Why a configuration was refused: with the file's name, the line where there is one, and what was meant if that
/// can be guessed.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl FileConfig {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |what: String| ConfigError { message: format!("{}: {what}", path.display()) };
        let length = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
        if length > MAX_CONFIG_BYTES {
            return Err(fail(format!("{length} bytes; a configuration has at most {MAX_CONFIG_BYTES}")));
        }
        let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| fail(format!("not UTF-8: {error}")))?;
        Self::parse(text).map_err(|error| fail(error.message))
    }

    /// Checks a file's text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError {
            message: with_suggestion(error.to_string().trim_end(), error.message()),
        })?;
        config.check()?;
        Ok(config)
    }

    /// The broker configurations of `[kafka]`, by whole name: `num.partitions = 3` and `"num.partitions" = 3` are
    /// the same.
    pub fn kafka(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut flat = BTreeMap::new();
        flatten("", &self.kafka, &mut flat)?;
        Ok(flat)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError { message });
        if self.node_id < 0 {
            return fail(format!("node_id is {}; it must not be negative", self.node_id));
        }
        if self.data_dir.as_os_str().is_empty() {
            return fail("data_dir is empty".to_owned());
        }
        if let Some(id) = &self.cluster_id
            && let Err(error) = id.parse::<highwater_types::ClusterId>()
        {
            return fail(format!("cluster_id {id:?}: {error}"));
        }
        if let Err(error) = crate::logging::filter(&self.log.level) {
            return fail(format!("log.level {:?}: {error:#}", self.log.level));
        }
        self.check_cluster().map_err(|message| ConfigError { message })?;
        for (name, value) in self.kafka()? {
            crate::settings::check_broker_config(&name, &value).map_err(|message| ConfigError { message })?;
        }
        Ok(())
    }
}

fn flatten(
    prefix: &str,
    table: &toml::Table,
    flat: &mut BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let text = match value {
            toml::Value::Table(inner) => {
                flatten(&name, inner, flat)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Array(items) => list(&name, items)?,
            toml::Value::Datetime(_) => {
                return Err(ConfigError {
                    message: format!("kafka.{name}: a date is not a configuration value"),
                });
            }
        };
        if flat.insert(name.clone(), text).is_some() {
            return Err(ConfigError { message: format!("kafka.{name} is given twice") });
        }
    }
    Ok(())
}

/// Kafka writes lists with commas.
fn list(name: &str, items: &[toml::Value]) -> Result<String, ConfigError> {
    let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
    texts
        .map(|texts| texts.join(","))
        .ok_or_else(|| ConfigError { message: format!("kafka.{name}: a list here has strings only") })
}

/// Adds "did you mean" to serde's message about an unknown key.
fn with_suggestion(whole: &str, message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let nearest = quoted.next().filter(|_| is_unknown).and_then(|given| nearest(given, quoted));
    match nearest {
        Some(known) => format!("{whole}\ndid you mean `{known}`?"),
        None => whole.to_owned(),
    }
}

/// The known name nearest to what was given, if one is near.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(given.len()) / 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        FileConfig::parse(text).expect_err("the configuration is refused").to_string()
    }

    #[test]
    fn the_least_configuration_has_safe_defaults() {
        let config = FileConfig::parse("data_dir = '/data'").expect("accepted");
        assert_eq!(config.durability, DurabilityName::Sync);
        assert_eq!(config.listener.unwrap_or_default().listen, "127.0.0.1:9092");
        assert_eq!(config.node_id, 1);
    }

    #[test]
    fn kafka_names_are_the_same_quoted_and_bare() {
        let bare = FileConfig::parse("data_dir = 'd'\n[kafka]\nnum.partitions = 3").expect("accepted");
        let quoted = FileConfig::parse("data_dir = 'd'\n[kafka]\n'num.partitions' = '3'").expect("accepted");
        assert_eq!(bare.kafka().expect("flat"), quoted.kafka().expect("flat"));
    }

    #[test]
    fn unknown_keys_are_errors_with_a_suggestion() {
        insta::assert_snapshot!(error_of("data_dri = '/data'"), @r"
        TOML parse error at line 1, column 1
          |
        1 | data_dri = '/data'
          | ^^^^^^^^
        unknown field `data_dri`, expected one of `node_id`, `data_dir`, `cluster_id`, `roles`, `voters`, `rack`, `durability`, `listener`, `internal`, `admin`, `log`, `kafka`
        did you mean `data_dir`?
        ");
        assert!(error_of("data_dir = 'd'\ndurability = 'synch'").ends_with("did you mean `sync`?"));
    }

    #[test]
    fn wrong_values_are_named() {
        for (text, part) in [
            ("data_dir = ''", "data_dir is empty"),
            ("data_dir = 'd'\nnode_id = -1", "must not be negative"),
            ("data_dir = 'd'\ncluster_id = 'short'", "cluster_id \"short\""),
            ("data_dir = 'd'\n[log]\nlevel = '=='", "log.level"),
            ("data_dir = 'd'\n[log]\nlevel = 'loud'", "\"loud\" is no level"),
            ("data_dir = 'd'\n[log]\nlevel = ''", "\"\" is no level"),
            ("data_dir = 'd'\n[kafka]\nnum.partitions = 'many'", "num.partitions"),
            ("data_dir = 'd'\n[kafka]\nnum.partition = 1", "Did you mean num.partitions?"),
            ("", "missing field `data_dir`"),
        ] {
            let error = error_of(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
