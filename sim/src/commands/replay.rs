//! `highwater-sim replay`: one seed again, with every event.

use super::{Engine, activate};
use anyhow::{Result, ensure};
use clap::Args;
use highwater_sim::run::{How, Run};
use highwater_sim::scenario;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  highwater-sim replay 17 --scenario scenarios/fast/power.toml
  highwater-sim replay 17 --scenario scenarios/fast/power.toml --until 3400 --events 50")]
pub struct Replay {
    /// The seed
    seed: u64,
    /// The scenario file
    #[arg(long)]
    scenario: PathBuf,
    /// What runs the nodes of clusters
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// How many events are shown
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// Show those up to this one, by its number or a part of its text, and not up to the end
    #[arg(long, value_name = "EVENT")]
    until: Option<String>,
    /// Only events with this part
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Leave the operations of disks out
    #[arg(long)]
    no_disk: bool,
    /// Switches a planted bug on (builds with --cfg highwater_mutants)
    #[arg(long, value_name = "ID")]
    mutant: Option<String>,
}

impl Replay {
    pub fn execute(self) -> Result<ExitCode> {
        activate(self.mutant.as_deref())?;
        let file = scenario::read(&self.scenario)?;
        let run = Run::of(&file, self.seed, How { engine: self.engine.kind()?, trace: Some(usize::MAX) });
        let numbered: Vec<(usize, &str)> = (1..).zip(run.events.iter().map(String::as_str)).collect();
        let end = match &self.until {
            None => numbered.len(),
            Some(until) => {
                let number = until.parse::<usize>().ok();
                let found = numbered.iter().position(|(at, line)| match number {
                    Some(number) => *at == number,
                    None => line.contains(until.as_str()),
                });
                ensure!(found.is_some(), "there is no event {until:?}: there are {}", numbered.len());
                found.map_or(0, |found| found + 1)
            }
        };
        let wanted = |line: &str| {
            self.grep.as_ref().is_none_or(|part| line.contains(part.as_str()))
                && !(self.no_disk && line.get(13..16).is_some_and(|gap| gap == "   "))
        };
        let shown: Vec<_> = numbered[..end].iter().filter(|(_, line)| wanted(line)).collect();
        for (number, line) in &shown[shown.len().saturating_sub(self.events)..] {
            println!("{number:>7} {line}");
        }
        println!(
            "\nseed {} of {}: hash {:016x}, {} events, {} records acknowledged",
            run.seed,
            run.scenario,
            run.hash,
            run.events.len(),
            run.acknowledged
        );
        Ok(match run.failure {
            None => {
                println!("nothing failed");
                ExitCode::SUCCESS
            }
            Some(failure) => {
                println!("violates {failure}");
                ExitCode::FAILURE
            }
        })
    }
}
