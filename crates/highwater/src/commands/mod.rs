//! One file per command.

pub mod config;
pub mod consume;
pub mod dev;
pub mod log;
pub mod produce;
pub mod serve;
pub mod topic;

use clap::CommandFactory;
use std::process::ExitCode;

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut command = crate::cli::Cli::command();
    clap_complete::generate(shell, &mut command, "highwater", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
