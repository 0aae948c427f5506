//! A cluster of the release binary under faults: `cargo run --release -p highwater-tests --bin cluster-test`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::disallowed_types)]

use anyhow::{Context, Result, bail};
use clap::Parser;
use highwater_tests::cluster::rounds::{Fault, PRODUCERS, READER, verify};
use highwater_tests::cluster::{ClusterTest, lab};
use highwater_tests::{install, workspace};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How many violations are printed.
const SHOWN: usize = 20;

/// Kills, pauses, restarts and cuts off the nodes of a cluster while stock clients produce to it, and checks that
/// every acknowledged record is at its offset, on every replica.
///
/// Each node runs in a network namespace of its own where those can be made (as root, or where users may make them);
/// elsewhere all nodes run on this machine's loopback, and no network is cut.
#[derive(Debug, Parser)]
#[command(name = "cluster-test")]
struct Options {
    /// How many faults there are, one after another.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// How many nodes the cluster has.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// A fault to draw from; all that are possible if none is named.
    #[arg(long = "fault", value_enum)]
    faults: Vec<Fault>,
    /// The nodes' binary; built if not given.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Draws the faults and their moments; the time of day if not given.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let options = Options::parse();
    let seed = match options.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let test =
        ClusterTest { rounds: options.rounds, nodes: options.nodes, faults: options.faults.clone(), seed };
    let binary = workspace::binary(options.binary.as_deref())?;
    if lab::is_entered() {
        return test_here(&test, &binary).map(|()| ExitCode::SUCCESS);
    }
    // From the inside of the network nothing can be fetched.
    let cache = workspace::cache_dir()?;
    for client in PRODUCERS.iter().chain([&READER]) {
        install::install(client, &cache)?;
    }
    if !lab::is_possible() {
        println!("network namespaces cannot be made here: no network will be cut");
        return test_here(&test, &binary).map(|()| ExitCode::SUCCESS);
    }
    let binary = binary.to_str().context("a path that is text")?;
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // Whatever was chosen here must not be chosen anew.
    if options.binary.is_none() {
        arguments.extend(["--binary".to_owned(), binary.to_owned()]);
    }
    if options.seed.is_none() {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    let status = lab::enter(&arguments)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn test_here(test: &ClusterTest, binary: &std::path::Path) -> Result<()> {
    let started = Instant::now();
    println!("seed {}, {} rounds, {} nodes", test.seed, test.rounds, test.nodes);
    let dir = workspace::run_dir("cluster-test")?;
    let again = format!("seed {}; what it left is in {}", test.seed, dir.display());
    let seen = test.run(binary, &workspace::cache_dir()?, &dir).context(again.clone())?;
    for ledger in &seen.ledgers {
        println!("{}: {} acknowledged", ledger.stream, ledger.acknowledged.len());
        if ledger.acknowledged.is_empty() {
            bail!("{} had nothing acknowledged of {}; {again}", ledger.stream, ledger.sent);
        }
    }
    let violations = verify(&seen);
    for violation in violations.iter().take(SHOWN) {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        bail!("{} violations; {again}", violations.len());
    }
    println!(
        "{} records in the log, every acknowledged one at its offset, in order, the same on every replica; {:.1} s",
        seen.log.len(),
        started.elapsed().as_secs_f64()
    );
    std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))
}
