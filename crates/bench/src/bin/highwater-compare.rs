//! `highwater-compare`: floor and broker in turn; prints the tables of the performance page.

use anyhow::{Context, Result};
use clap::Parser;
use highwater_bench::compare::{Binaries, Options, compare};
use std::path::PathBuf;

/// Runs floor and broker in turn and prints medians and ratios.
#[derive(Parser)]
struct Cli {
    /// Which scenarios; all if none is named.
    names: Vec<String>,
    /// How often each is run.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A folder for data, on the disk that is to be measured; what is in it is removed.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The broker, if not the one beside this program.
    #[arg(long)]
    broker: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let own = std::env::current_exe()?;
    let beside = own.parent().context("a program stands in a folder")?;
    compare(&Options {
        binaries: Binaries {
            floor: beside.join("highwater-floor"),
            broker: cli.broker.unwrap_or_else(|| beside.join("highwater")),
        },
        dir: cli.dir.unwrap_or_else(|| beside.join("bench-data")),
        rounds: cli.rounds,
        names: cli.names,
    })
}
