//! The simulator's command line.

// The futures of whole nodes are deep.
#![recursion_limit = "256"]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod commands;

use anyhow::Result;
use clap::{Parser, Subcommand};
use commands::{exhaustive, explain, list, quorum, replay, run};
use std::process::ExitCode;

/// Runs Highwater on simulated machines that crash, lose power, lose messages and have bad disks. One seed decides
/// everything.
#[derive(Debug, Parser)]
#[command(name = "highwater-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a scenario file, or all of a folder, over many seeds
    Run(run::Run),
    /// Repeats one seed of a scenario, and shows what happened
    Replay(replay::Replay),
    /// Opens every state that a power loss can leave of short scripts of the store
    Exhaustive(exhaustive::Exhaustive),
    /// Runs a bare quorum under faults over many seeds
    Quorum(quorum::Quorum),
    /// Lists the scenarios of a folder
    List(list::List),
    /// Tells what a scenario is, and what it does with a seed
    Explain(explain::Explain),
}

/// Exit codes: 0 if all is well, 1 if a property was violated, 2 if nothing could be run.
fn main() -> ExitCode {
    highwater_sim::executor::catch_panics();
    let done: Result<ExitCode> = match Cli::parse().command {
        Command::Run(command) => command.execute(),
        Command::Replay(command) => command.execute(),
        Command::Exhaustive(command) => Ok(command.execute()),
        Command::Quorum(command) => command.execute(),
        Command::List(command) => command.execute(),
        Command::Explain(command) => command.execute(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
