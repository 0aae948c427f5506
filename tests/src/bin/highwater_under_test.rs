//! The `highwater` binary, built as part of this package for `cargo test`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    highwater::cli::run(highwater::cli::Cli::parse())
}
