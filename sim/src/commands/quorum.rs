//! `highwater-sim quorum`: many seeds of a bare quorum.

use super::{activate, mutant_option};
use anyhow::Result;
use clap::Args;
use highwater_sim::checkers;
use highwater_sim::quorum::{Campaign, run};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  highwater-sim quorum --seeds 500
  highwater-sim quorum --first-seed 17 --seeds 1 --trace 200")]
pub struct Quorum {
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many are run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Run one seed in so many twice, and compare; 0 for none
    #[arg(long, default_value_t = 20)]
    repeat_one_in: u64,
    /// Begin no more seeds after so many failures; 0 for no such bound
    #[arg(long, default_value_t = 0)]
    most_failures: u64,
    /// Show the hash of each seed
    #[arg(long)]
    hashes: bool,
    /// Show so many events of the first failure, disk operations among them
    #[arg(long, default_value_t = 60)]
    trace: usize,
    /// Switches a planted bug on (builds with --cfg highwater_mutants)
    #[arg(long, value_name = "ID")]
    mutant: Option<String>,
}

impl Quorum {
    pub fn execute(self) -> Result<ExitCode> {
        activate(self.mutant.as_deref())?;
        let Self { first_seed, seeds, jobs, repeat_one_in, most_failures, .. } = self;
        let campaign = Campaign { first_seed, seeds, jobs, repeat_one_in, most_failures };
        let summary = campaign.run(&|_| {});
        if self.hashes {
            summary.hashes.iter().for_each(|(seed, hash)| println!("seed {seed}: {hash:016x}"));
        }
        for seed in &summary.diverged {
            println!("seed {seed} of the bare quorum violates determinism: two runs differ");
        }
        for outcome in &summary.failed {
            if let Some(failure) = &outcome.failure {
                println!("seed {} of the bare quorum violates {failure}", outcome.seed);
            }
        }
        if let Some(first) = summary.failed.first() {
            println!();
            run(first.seed, Some(self.trace)).events.iter().for_each(|event| println!("  {event}"));
            let property = first.failure.as_ref().map_or("", |failure| failure.property());
            if let Some((name, sentence)) = checkers::all_names().iter().find(|(name, _)| *name == property) {
                println!("{name} says: {sentence}");
            }
            println!(
                "repeat: highwater-sim quorum --first-seed {} --seeds 1{}",
                first.seed,
                mutant_option(self.mutant.as_deref())
            );
            if let Some(id) = &self.mutant {
                let runs: Vec<String> = summary
                    .failed
                    .iter()
                    .map(|outcome| (outcome.seed.wrapping_sub(first_seed) + 1).to_string())
                    .collect();
                println!("planted bug {id}: killed by runs {} ({property})", runs.join(" "));
            }
        }
        println!("{summary}");
        Ok(if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
