//! `highwater config`: checks a configuration file before a node is started with it.

use crate::cli::ConfigCommand;
use crate::config::FileConfig;
use crate::output::Output;
use crate::settings;
use anyhow::Context;
use serde_json::json;
use std::process::ExitCode;

/// Does what was asked.
pub fn run(command: &ConfigCommand, output: &Output) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check { file } => {
            let config = FileConfig::load(file)?;
            // As far as `serve` goes before it touches anything.
            let path = || file.display().to_string();
            let broker = super::serve::broker_config(&config).with_context(path)?;
            super::serve::admin_address(&config).with_context(path)?;
            let set = config.kafka()?.len();
            let listening = match broker.listeners.first() {
                Some(listener) => format!("listening on {}", listener.listen),
                None => "a controller alone".to_owned(),
            };
            let cluster = match broker.voters.len() {
                0 => String::new(),
                voters => format!(", in a cluster of {voters} voters"),
            };
            let text = format!(
                "{}: fine (node {}{cluster}, data in {}, {listening}, {set} Kafka configurations set)",
                file.display(),
                config.node_id,
                config.data_dir.display(),
            );
            output.item(&json!({ "file": file, "valid": true }), &text)?;
        }
        ConfigCommand::List => settings::list(output)?,
    }
    Ok(ExitCode::SUCCESS)
}
