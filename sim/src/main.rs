//! The simulator's command line.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use highwater_faults::ScenarioFile;
use highwater_sim::campaign::{self, Campaign, Failed, Summary};
use highwater_sim::logs::{self, Regime};
use highwater_sim::scenario;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs Highwater on simulated machines: one seed decides everything.
#[derive(Debug, Parser)]
#[command(name = "highwater-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Random histories of a store on a disk that fails
    Disk(Disk),
    /// Runs a scenario file, or all of a folder
    Run(Run),
    /// Runs one history again, with every disk operation among its events
    Replay(Replay),
}

#[derive(Debug, Args)]
struct Disk {
    /// How many histories, per regime
    #[arg(long, default_value_t = 200)]
    histories: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// What the disk may do
    #[arg(long, value_enum, default_value_t = RegimeChoice::Both)]
    regime: RegimeChoice,
    /// Instead of random histories: short scripts, cut at every disk operation, and every state that a power loss can
    /// leave there
    #[arg(long)]
    exhaustive: bool,
    /// With --exhaustive: how many states are opened per cut, where there are more
    #[arg(long, default_value_t = 64)]
    states: usize,
    /// How many failures are told in full
    #[arg(long, default_value_t = 1)]
    details: usize,
    /// Switches a planted bug on (builds with --cfg highwater_mutants)
    #[arg(long)]
    mutant: Option<String>,
}

#[derive(Debug, Args)]
struct Run {
    /// The file or folder
    path: PathBuf,
    /// How many seeds, per scenario
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// How many failures are told in full
    #[arg(long, default_value_t = 1)]
    details: usize,
    /// Switches a planted bug on (builds with --cfg highwater_mutants)
    #[arg(long)]
    mutant: Option<String>,
}

#[derive(Debug, Args)]
struct Replay {
    /// The seed
    seed: u64,
    /// What the disk may do
    #[arg(long, value_enum, default_value_t = RegimeChoice::Honest)]
    regime: RegimeChoice,
    /// How many of the newest events are shown
    #[arg(long, default_value_t = 400)]
    events: usize,
    /// Switches a planted bug on (builds with --cfg highwater_mutants)
    #[arg(long)]
    mutant: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RegimeChoice {
    /// What a successful sync covered stays
    Honest,
    /// Bits rot, writes are lost or go elsewhere
    Lying,
    /// One after the other
    Both,
}

impl RegimeChoice {
    fn regimes(self) -> &'static [Regime] {
        match self {
            Self::Honest => &[Regime::Honest],
            Self::Lying => &[Regime::Lying],
            Self::Both => &[Regime::Honest, Regime::Lying],
        }
    }
}

/// Exit codes: 0 if all is well, 1 if a property was violated, 2 if nothing could be run.
fn main() -> ExitCode {
    // A panic of the code under test is a failure that is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let done = match Cli::parse().command {
        Command::Disk(disk) => run_disk(&disk),
        Command::Run(run) => run_scenarios(&run),
        Command::Replay(replay) => run_replay(&replay),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

#[cfg(highwater_mutants)]
fn activate(mutant: Option<&str>) -> Result<()> {
    if let Some(id) = mutant {
        highwater_types::activate(id);
    }
    Ok(())
}

#[cfg(not(highwater_mutants))]
fn activate(mutant: Option<&str>) -> Result<()> {
    anyhow::ensure!(
        mutant.is_none(),
        "this build has no planted bugs: build with RUSTFLAGS=\"--cfg tokio_unstable --cfg highwater_mutants\""
    );
    Ok(())
}

fn run_disk(disk: &Disk) -> Result<ExitCode> {
    activate(disk.mutant.as_deref())?;
    if disk.exhaustive {
        return Ok(run_exhaustive(disk));
    }
    let mut summary = Summary::default();
    for &regime in disk.regime.regimes() {
        let campaign =
            Campaign { regime, first_seed: disk.first_seed, seeds: disk.histories, jobs: disk.jobs };
        summary.merge(campaign.run());
    }
    Ok(tell(&summary, disk.mutant.as_deref(), disk.details))
}

fn run_scenarios(run: &Run) -> Result<ExitCode> {
    activate(run.mutant.as_deref())?;
    let mut summary = Summary::default();
    println!("| scenario | seeds | records acknowledged | faults injected | failed |\n|---|---|---|---|---|");
    for file in scenario::read_all(&run.path)? {
        let scenario = match file {
            ScenarioFile::Disk(scenario) => scenario,
            // Read and so checked, but only histories of stores are run from here.
            ScenarioFile::Cluster(_) => continue,
        };
        let campaign = Campaign {
            regime: scenario::disk_regime(scenario.regime),
            first_seed: run.first_seed,
            seeds: run.seeds,
            jobs: run.jobs,
        };
        let part = campaign.run();
        let faults: u64 = part.faults.values().sum();
        let (seeds, acknowledged, failed) = (part.histories, part.acknowledged, part.failed.len());
        println!("| {} | {seeds} | {acknowledged} | {faults} | {failed} |", scenario.name);
        summary.merge(part);
    }
    println!();
    Ok(tell(&summary, run.mutant.as_deref(), run.details))
}

fn run_exhaustive(disk: &Disk) -> ExitCode {
    let reports = campaign::exhaustive(disk.first_seed, disk.states, disk.jobs);
    println!("| script | cuts | of them complete | states opened | outcome |\n|---|---|---|---|---|");
    for report in &reports {
        let outcome = match &report.failure {
            None => "clean".to_owned(),
            Some((cut, state, failure, _)) => {
                format!("seed {} violates {failure} (cut {cut}, state {state})", disk.first_seed)
            }
        };
        let (cuts, complete, states) = (report.cuts, report.complete_cuts, report.states);
        println!("| {} | {cuts} | {complete} | {states} | {outcome} |", report.name);
    }
    let failed: Vec<_> =
        reports.iter().filter_map(|report| Some((report.name, report.failure.as_ref()?))).collect();
    for (name, (cut, state, failure, events)) in failed.iter().take(disk.details) {
        println!("\n{name}, cut {cut}, state {state}: {failure}");
        events.iter().for_each(|event| println!("  {event}"));
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what came of a campaign.
fn tell(summary: &Summary, mutant: Option<&str>, details: usize) -> ExitCode {
    for (number, failed) in summary.failed.iter().enumerate() {
        println!("{}", if number < details { failed.report(mutant) } else { failed.headline() });
    }
    for seed in &summary.diverged {
        println!("seed {seed} violates determinism: a second run had another hash");
    }
    if let (Some(id), Some(first)) = (mutant, summary.failed.first()) {
        let rate = 100.0 * summary.failed.len() as f64 / summary.histories as f64;
        let seed = first.seed;
        println!(
            "planted bug {id}: first killed by seed {seed} ({}), kill rate {rate:.1} %",
            first.checker()
        );
    }
    println!("\n{}", summary.tables());
    if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_replay(replay: &Replay) -> Result<ExitCode> {
    activate(replay.mutant.as_deref())?;
    let &[regime] = replay.regime.regimes() else { bail!("name one regime: honest or lying") };
    let outcome = logs::run(replay.seed, regime, Some(replay.events));
    println!("seed {}, hash {:016x}, {} disk operations", replay.seed, outcome.hash, outcome.operations);
    let Some(failure) = outcome.failure else {
        println!("nothing failed");
        return Ok(ExitCode::SUCCESS);
    };
    println!(
        "{}",
        Failed { seed: replay.seed, regime, failure, events: outcome.events }
            .report(replay.mutant.as_deref())
    );
    Ok(ExitCode::FAILURE)
}
