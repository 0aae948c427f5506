//! Kills the release binary over and over: `cargo run --release -p highwater-tests --bin crash-test`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::disallowed_types)]

use anyhow::{Context, Result, bail};
use clap::Parser;
use highwater_tests::crash::{CrashTest, PRODUCERS};
use highwater_tests::{install, ledger, workspace};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How many violations are printed.
const SHOWN: usize = 20;

/// Kills a broker over and over while stock clients produce to it, and checks that it kept what it acknowledged.
#[derive(Debug, Parser)]
#[command(name = "crash-test")]
struct Options {
    /// How often the broker is killed.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// The broker's binary; built if not given.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Draws the moments at which it is killed; the time of day if not given.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = Options::parse();
    let started = Instant::now();
    let seed = match options.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let binary = workspace::binary(options.binary.as_deref())?;
    let cache = workspace::cache_dir()?;
    for client in PRODUCERS {
        install::install(client, &cache)?;
    }
    println!("seed {seed}, {} rounds", options.rounds);
    let dir = workspace::run_dir("crash-test")?;
    let again = format!("seed {seed}; what it left is in {}", dir.display());
    let seen =
        CrashTest { rounds: options.rounds, seed }.run(&binary, &cache, &dir).context(again.clone())?;

    for ledger in &seen.ledgers {
        let (acknowledged, sent) = (ledger.acknowledged.len(), ledger.sent);
        println!("{}: {acknowledged} acknowledged in {} partitions", ledger.stream, sent_partitions(ledger));
        if acknowledged == 0 {
            bail!("{} had nothing acknowledged of {sent}", ledger.stream);
        }
    }
    let violations = ledger::verify(&seen.ledgers, &seen.log);
    for violation in violations.iter().take(SHOWN) {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        bail!("{} violations; {again}", violations.len());
    }
    println!(
        "{} records in the log, every acknowledged one at its offset, in order; {} kills, {} of them while starting; \
         {:.1} s",
        seen.log.len(),
        options.rounds + seen.early_kills + 1,
        seen.early_kills,
        started.elapsed().as_secs_f64()
    );
    std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    Ok(())
}

fn sent_partitions(ledger: &ledger::Ledger) -> usize {
    let partitions: std::collections::BTreeSet<_> =
        ledger.acknowledged.iter().map(|ack| ack.partition).collect();
    partitions.len()
}
