//! The node's own log, on standard error.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The filter that `tracing`'s directives stand for. A lone word that is no level would be taken for the name of a
/// module that logs everything, and the node would say nothing: it is refused.
pub fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let mistyped = level.split(',').map(str::trim).find(|directive| {
        let lone = directive.chars().all(|letter| letter.is_ascii_alphanumeric());
        lone && directive.parse::<usize>().is_err()
            && !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive))
    });
    if let Some(mistyped) = mistyped {
        let levels = LEVELS.join(", ");
        anyhow::bail!("{mistyped:?} is no level: {levels}, or directives such as highwater_broker=debug");
    }
    // The Raft library calls normal what comes and goes in a cluster an error; what matters the node says itself.
    let library = if level.contains("openraft") { "" } else { "openraft=off," };
    Ok(EnvFilter::try_new(format!("{library}{level}"))?)
}

/// Starts logging for the rest of the process. `level` is `tracing`'s filter directives.
pub fn start(level: &str, format: LogFormat) -> anyhow::Result<()> {
    start_with(level, format, false)
}

/// The same for a process with several nodes: each line names the thread, which bears the node's name.
pub fn start_for_several(level: &str, format: LogFormat) -> anyhow::Result<()> {
    start_with(level, format, true)
}

fn start_with(level: &str, format: LogFormat, thread_names: bool) -> anyhow::Result<()> {
    let filter = filter(level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_thread_names(thread_names);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().with_ansi(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}
