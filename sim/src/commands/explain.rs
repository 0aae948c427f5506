//! `highwater-sim explain`: what a scenario is, and what it does with a seed.

use anyhow::Result;
use clap::Args;
use highwater_faults::{Regime, Scenario, ScenarioFile};
use highwater_sim::{checkers, scenario, world};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Explain {
    /// The scenario file
    path: PathBuf,
    /// Tell what is drawn from this seed too
    #[arg(long)]
    seed: Option<u64>,
}

impl Explain {
    pub fn execute(&self) -> Result<ExitCode> {
        match scenario::read(&self.path)? {
            ScenarioFile::Disk(scenario) => {
                println!("{}: {}", scenario.name, scenario.description);
                println!("Random histories of one store; the seed decides all of it.");
            }
            ScenarioFile::Cluster(scenario) => self.explain(&scenario),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn explain(&self, scenario: &Scenario) {
        println!("{}: {}", scenario.name, scenario.description);
        let regime = match scenario.regime {
            Regime::WithinBudget => {
                "within budget: nothing acknowledged may be lost, and all comes back by itself"
            }
            Regime::Unlimited => "unlimited: loss may happen, never silently; damage is never served",
        };
        let (brokers, clients) = (scenario.cluster.brokers, scenario.workload.clients());
        println!("{brokers} brokers, {clients} clients, {:?} of simulated time; {regime}", scenario.duration);
        for topic in &scenario.topics {
            println!("topic {}: {} partitions, {:?}", topic.name, topic.partitions, topic.configs);
        }
        for fault in &scenario.script {
            println!("\n{fault}");
        }
        println!("properties that are checked:");
        for (name, sentence) in checkers::all_names() {
            println!("  {name:<4} {sentence}");
        }
        if let Some(seed) = self.seed {
            let plan = world::plan(scenario, seed);
            println!("\nseed {seed} draws {} faults:", plan.actions.len());
            for timed in plan.actions {
                println!("{}", highwater_faults::ScriptedFault::from(timed));
            }
        }
    }
}
