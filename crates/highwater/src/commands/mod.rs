//! One file per command.

pub mod cluster;
pub mod config;
pub mod consume;
pub mod dev;
pub mod group;
pub mod log;
pub mod produce;
pub mod serve;
pub mod topic;

use clap::CommandFactory;
use std::io::Write;
use std::process::ExitCode;

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut command = crate::cli::Cli::command();
    // Into memory first: it panics where it cannot write, such as into `head`.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "highwater", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
