//! Kafka's broker configurations as the configuration file and the command line see them.

use crate::output::Output;
use highwater_metadata::configs::{Effect, StaticConfig, Update, broker_keys};
use serde_json::json;

/// Says what is wrong with one setting, if anything is.
pub fn check_broker_config(name: &str, value: &str) -> Result<(), String> {
    StaticConfig::default().set(name, value.to_owned()).map_err(|error| format!("kafka.{name}: {error}"))
}

/// Prints every configuration that `[kafka]` may hold.
pub fn list(output: &Output) -> anyhow::Result<()> {
    let rows: Vec<_> = broker_keys()
        .iter()
        .map(|key| {
            let default = key.default.unwrap_or("");
            let acts = matches!(key.effect, Effect::Acts);
            let dynamic = key.update == Update::Dynamic;
            let value = json!({
                "name": key.name,
                "default": key.default,
                "dynamic": dynamic,
                "acts": acts,
                "documentation": key.documentation(),
            });
            let cells = vec![key.name.to_owned(), default.to_owned(), key.documentation()];
            (value, cells)
        })
        .collect();
    output.table(&["NAME", "DEFAULT", "DOCUMENTATION"], &rows)
}
