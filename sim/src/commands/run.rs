//! `highwater-sim run`: many seeds of one scenario or several.

use super::{Engine, activate, mutant_option};
use anyhow::{Context, Result, bail};
use clap::Args;
use highwater_sim::campaign::{Campaign, Deadline, Failed, Summary};
use highwater_sim::run::How;
use highwater_sim::{checkers, junit, scenario};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  highwater-sim run scenarios/fast --seeds 200
  highwater-sim run scenarios/fast/power.toml --first-seed 1000 --time-budget 10m --junit results.xml")]
pub struct Run {
    /// Scenario files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How many seeds, over all scenarios, which take turns
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed of each scenario
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many are run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// What runs the nodes of clusters
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Begin no more seeds after this time, such as 90s or 10m
    #[arg(long, value_parser = duration)]
    time_budget: Option<Duration>,
    /// Begin no more seeds after so many failures; 0 for no such bound
    #[arg(long, default_value_t = 0)]
    most_failures: u64,
    /// Run one seed in so many twice, and compare; 0 for none
    #[arg(long, default_value_t = 20)]
    repeat_one_in: u64,
    /// Write the results here too, for CI
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How many failures are told in full
    #[arg(long, default_value_t = 1)]
    details: usize,
    /// Switches a planted bug on (builds with --cfg highwater_mutants)
    #[arg(long, value_name = "ID")]
    mutant: Option<String>,
}

fn duration(text: &str) -> Result<Duration> {
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().context("a number and a unit, such as 90s or 10m")?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        other => bail!("no unit {other:?}: s, m or h"),
    };
    number.checked_mul(seconds).map(Duration::from_secs).context("more time than there is")
}

impl Run {
    pub fn execute(self) -> Result<ExitCode> {
        activate(self.mutant.as_deref())?;
        let scenarios = scenario::read_all(&self.paths)?;
        let stop = Arc::new(AtomicBool::new(false));
        // The first interrupt ends the campaign in order; a second one ends the process.
        signal_hook::flag::register_conditional_shutdown(
            signal_hook::consts::SIGINT,
            130,
            Arc::clone(&stop),
        )?;
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop))?;
        let bar = bar(self.seeds);
        let campaign = Campaign {
            scenarios: &scenarios,
            how: How { engine: self.engine.kind()?, trace: None },
            first_seed: self.first_seed,
            seeds: self.seeds,
            jobs: self.jobs,
            deadline: self.time_budget.map(Deadline::after),
            stop: &stop,
            most_failures: self.most_failures,
            repeat_one_in: self.repeat_one_in,
        };
        let summary = campaign.run(&|run| {
            if run.failure.is_some() {
                bar.set_message(format!("{} seed {} FAILED", run.scenario, run.seed));
            }
            bar.inc(1);
        });
        bar.finish_and_clear();
        self.tell(&summary, &campaign);
        if let Some(path) = &self.junit {
            std::fs::write(path, junit::render(&summary)).with_context(|| path.display().to_string())?;
        }
        Ok(if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn tell(&self, summary: &Summary, campaign: &Campaign<'_>) {
        for (number, failed) in summary.failed.iter().enumerate() {
            if number < self.details {
                println!("{}\n", self.report(failed, campaign));
            } else {
                println!("{}", failed.headline());
            }
        }
        for diverged in &summary.diverged {
            println!(
                "seed {} of {} violates determinism: two runs part at event {}\n  {}\n  {}",
                diverged.seed, diverged.scenario, diverged.event, diverged.lines[0], diverged.lines[1]
            );
        }
        if let (Some(id), Some(first)) = (&self.mutant, summary.failed.first()) {
            let runs: Vec<String> =
                summary.failed.iter().map(|failed| (failed.number + 1).to_string()).collect();
            println!("planted bug {id}: killed by runs {} ({})", runs.join(" "), first.failure.property());
        }
        println!("{summary}");
    }

    fn report(&self, failed: &Failed, campaign: &Campaign<'_>) -> String {
        let found = campaign.scenarios.iter().find(|found| found.file.name() == failed.scenario);
        let file = found.map(|found| found.path.display().to_string()).unwrap_or_default();
        let shown = Failed { events: campaign.excerpt(failed), ..failed.clone() };
        let options = self.engine.option() + &mutant_option(self.mutant.as_deref());
        let property = failed.failure.property();
        let rule = checkers::all_names().iter().find(|(name, _)| *name == property);
        let rule = rule.map(|(name, sentence)| format!("\n{name} says: {sentence}")).unwrap_or_default();
        shown.report(&file, &options) + &rule
    }
}

/// Progress, on a terminal.
fn bar(seeds: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(seeds).with_style(style)
}
