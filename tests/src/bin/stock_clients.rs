//! Stock Kafka clients against the release binary: `cargo run --release -p highwater-tests --bin stock-clients`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::disallowed_types)]

use anyhow::{Context, Result, bail};
use clap::Parser;
use highwater_tests::clients::{PROFILES, Profile, READER, profile};
use highwater_tests::suite::{Suite, Target};
use highwater_tests::{corpus, install, workspace};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Runs stock Kafka clients against a broker and compares what they read with what they sent.
///
/// The clients are installed into the target folder (kcat into the system, if it is missing); a fresh broker is
/// started for each. Exit code 1 if any fails.
#[derive(Debug, Parser)]
#[command(name = "stock-clients")]
struct Options {
    /// A client to try; all of them if none is named.
    #[arg(long = "client")]
    clients: Vec<String>,
    /// The broker's binary; built if not given.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// How many records each client sends.
    #[arg(long, default_value_t = 100_000)]
    records: usize,
    /// A running broker to try instead of a binary of this project.
    #[arg(long, requires = "advertised", conflicts_with = "binary")]
    bootstrap: Option<SocketAddr>,
    /// The address that the running broker tells clients to connect to. It must be free: the proxy that cuts
    /// connections listens there.
    #[arg(long, requires = "bootstrap")]
    advertised: Option<SocketAddr>,
    /// Draws where connections are cut.
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
    let profiles: Vec<&'static Profile> = if options.clients.is_empty() {
        PROFILES.iter().collect()
    } else {
        options.clients.iter().map(|name| profile(name)).collect::<Result<_>>()?
    };
    let target = match (options.bootstrap, options.advertised) {
        (Some(broker), Some(advertised)) => Target::Running { broker, advertised },
        _ => Target::Binary(workspace::binary(options.binary.as_deref())?),
    };
    let cache = workspace::cache_dir()?;
    let dir = workspace::run_dir("stock-clients")?;
    let lines = corpus::lines(options.records)?;
    println!("{} lines of text, {} bytes", lines.len(), lines.iter().map(String::len).sum::<usize>());
    let suite = Suite { lines: &lines, cache: &cache, seed: options.seed };

    let mut failed = Vec::new();
    let mut summary = String::new();
    for profile in profiles {
        let started = Instant::now();
        let outcome = try_client(&suite, profile, &target, &dir);
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        summary += &format!("{:<16} {verdict:<7} {:6.1} s\n", profile.name, started.elapsed().as_secs_f64());
        if let Err(error) = outcome {
            eprintln!("{} failed: {error:#}", profile.name);
            failed.push(profile.name);
        }
    }
    println!("\n{summary}\n{:.1} s in all", started.elapsed().as_secs_f64());
    if !failed.is_empty() {
        bail!("failed: {}; what they left is in {}", failed.join(", "), dir.display());
    }
    std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    Ok(())
}

fn try_client(suite: &Suite<'_>, profile: &'static Profile, target: &Target, dir: &Path) -> Result<()> {
    install::install(profile.name, suite.cache)?;
    if !profile.consumes {
        install::install(READER, suite.cache)?;
    }
    suite.run(profile, target, &dir.join(profile.name))
}
