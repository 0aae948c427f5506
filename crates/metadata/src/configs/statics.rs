//! What one broker's own configuration file, environment and command line set.

use super::key::{Key, Update};
use super::registry::{broker_key, broker_keys, unknown};
use std::collections::BTreeMap;

/// A setting that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StaticConfigError(pub String);

/// The broker configurations that were set at start, all of them known and valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticConfig {
    values: BTreeMap<&'static str, String>,
}

impl StaticConfig {
    /// Checks settings; the errors name every one that cannot be taken.
    pub fn new<N: AsRef<str>, V: Into<String>>(
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Vec<StaticConfigError>> {
        let mut config = Self::default();
        let mut errors = Vec::new();
        for (name, value) in settings {
            if let Err(error) = config.set(name.as_ref(), value.into()) {
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// Sets one.
    pub fn set(&mut self, name: &str, value: String) -> Result<(), StaticConfigError> {
        let key: &'static Key =
            broker_key(name).ok_or_else(|| StaticConfigError(unknown("broker", broker_keys(), name)))?;
        if let Update::Elsewhere(own) = key.update {
            let problem =
                format!("{name} is not set among Kafka's configurations, but as {own}, beside them");
            return Err(StaticConfigError(problem));
        }
        key.check(&value).map_err(StaticConfigError)?;
        self.values.insert(key.name, value);
        Ok(())
    }

    /// The value that was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_setting_is_named() {
        let errors = StaticConfig::new([
            ("num.partitions", "0"),
            ("log.retention.hours", "24"),
            ("log.retention.hour", "24"),
            ("remote.storage", "x"),
            ("log.dirs", "/data"),
        ])
        .unwrap_err();
        let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        "0" is not a value of num.partitions: a whole number from 1 to 2147483647 is expected
        Unknown broker config name: log.retention.hour. Did you mean log.retention.hours?
        Unknown broker config name: remote.storage
        log.dirs is not set among Kafka's configurations, but as data_dir, beside them
        "#);
    }

    #[test]
    fn settings_are_found_again() {
        let config = StaticConfig::new([("num.partitions", "3")]).unwrap();
        assert_eq!(config.get("num.partitions"), Some("3"));
        assert_eq!(config.get("log.retention.hours"), None);
    }
}
