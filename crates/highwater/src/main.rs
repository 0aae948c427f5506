//! The `highwater` binary: see `highwater --help`.

// The futures of whole nodes are deep.
#![recursion_limit = "256"]

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    highwater::cli::run(highwater::cli::Cli::parse())
}
