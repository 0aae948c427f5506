//! `highwater-floor`: the least any broker must do.

use clap::Parser;
use highwater_bench::floor::{FloorOptions, serve};

/// The least any broker must do: Produce 9 and Fetch 12, no promises.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: FloorOptions,
}

fn main() -> anyhow::Result<()> {
    serve(&Cli::parse().options)
}
