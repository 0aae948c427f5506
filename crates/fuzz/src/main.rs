//! `highwater-fuzz`: damaged input against every parser of outside bytes.

// Its output is what it is for, and it runs by the clock.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::disallowed_types)]

use anyhow::{Context, Result, ensure};
use clap::Parser;
use highwater_fuzz::hex::{hex, unhex};
use highwater_fuzz::runner::{Budget, Failure, Report, input, run, run_input, watch};
use highwater_fuzz::{Target, targets};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Damages valid input and runs it through every parser of outside bytes.
#[derive(Parser)]
struct Cli {
    /// What to fuzz; everything if nothing is named.
    targets: Vec<String>,
    /// How long the targets run, all together.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many cases each target runs, whatever the time.
    #[arg(long)]
    cases: Option<u64>,
    /// Decides everything; drawn from the clock if not given, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs this one case of the seed, and prints its input.
    #[arg(long)]
    case: Option<u64>,
    /// Goes on after a failure, and prints the first one of each kind.
    #[arg(long)]
    keep_going: bool,
    /// Runs this file of hexadecimal digits instead, through the one target named.
    #[arg(long, conflicts_with_all = ["case", "seed", "cases"])]
    input: Option<PathBuf>,
    /// Where inputs that went wrong are left.
    #[arg(long, default_value = "target/fuzz")]
    out: PathBuf,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let known: Vec<&str> = targets::all().iter().map(|target| target.name()).collect();
    for name in &cli.targets {
        ensure!(
            known.contains(&name.as_str()),
            "there is no target {name:?}; there are: {}",
            known.join(", ")
        );
    }
    let chosen = |name: &str| cli.targets.is_empty() || cli.targets.iter().any(|chosen| chosen == name);
    let mut chosen: Vec<Box<dyn Target>> =
        targets::all().into_iter().filter(|target| chosen(target.name())).collect();
    if let Some(path) = &cli.input {
        ensure!(cli.targets.len() == 1, "name the target that the input is for");
        return run_file(&mut *chosen[0], path);
    }
    let seed = cli.seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()));
    let current = Arc::new(Mutex::new(String::new()));
    let watched = Arc::clone(&current);
    watch(move |case| {
        let target = watched.lock().map(|name| name.clone()).unwrap_or_default();
        repeat_command(&target, seed, case)
    });
    let share = Duration::from_secs(cli.seconds) / u32::try_from(chosen.len())?;
    let mut failed = false;
    for mut target in chosen {
        target.name().clone_into(&mut *current.lock().expect("nobody panics while holding a name"));
        failed |= fuzz(&mut *target, seed, share, &cli)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn repeat_command(target: &str, seed: u64, case: u64) -> String {
    format!("cargo xtask fuzz {target} --seed {seed} --case {case}")
}

/// Runs a target; returns whether a case went wrong.
fn fuzz(target: &mut dyn Target, seed: u64, share: Duration, cli: &Cli) -> Result<bool> {
    let (mut first, mut left) = match (cli.case, cli.cases) {
        (Some(case), _) => {
            println!("{}", hex(&input(target, seed, case)));
            (case, Budget::Cases(1))
        }
        (None, Some(cases)) => (0, Budget::Cases(cases)),
        (None, None) => (0, Budget::Time(share)),
    };
    let mut kinds = BTreeSet::new();
    let (mut cases, mut time) = (0, Duration::ZERO);
    loop {
        let report = run(target, seed, first, left);
        cases += report.cases;
        time += report.time;
        let Some(failure) = report.failure else { break };
        // Numbers differ from case to case where the bug is the same.
        let kind: String = failure.message.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        if kinds.insert(kind) {
            print_failure(target, seed, &failure, &cli.out)?;
        }
        if !cli.keep_going {
            break;
        }
        first += report.cases;
        left = match left {
            Budget::Time(limit) => Budget::Time(limit.saturating_sub(report.time)),
            Budget::Cases(limit) => Budget::Cases(limit - report.cases),
        };
    }
    let report = Report { cases, time, failure: None };
    println!("{}: seed {seed}: {report}", target.name());
    Ok(!kinds.is_empty())
}

fn print_failure(target: &dyn Target, seed: u64, failure: &Failure, out: &Path) -> Result<()> {
    let name = target.name();
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let path = out.join(format!("{name}-{seed}-{}.hex", failure.case));
    std::fs::write(&path, hex(&failure.input)).with_context(|| path.display().to_string())?;
    println!("{name}: FAILED: {}", failure.message);
    println!("  which is: {}", target.describe(&failure.input));
    println!("  input:    {}", path.display());
    println!("  repeat:   {}", repeat_command(name, seed, failure.case));
    Ok(())
}

fn run_file(target: &mut dyn Target, path: &Path) -> Result<ExitCode> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let input = unhex(&text)?;
    println!("{}: {}", target.name(), target.describe(&input));
    match run_input(target, 0, &input) {
        Ok(()) => {
            println!("{}: does well", target.name());
            Ok(ExitCode::SUCCESS)
        }
        Err(message) => {
            println!("{}: FAILED: {message}", target.name());
            Ok(ExitCode::FAILURE)
        }
    }
}
