//! `highwater-sim exhaustive`: every state that a power loss can leave of short scripts.

use clap::Args;
use highwater_sim::campaign;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Exhaustive {
    /// The seed of the scripts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many states are opened per cut, where there are more
    #[arg(long, default_value_t = 64)]
    states: usize,
    /// How many scripts are run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

impl Exhaustive {
    pub fn execute(&self) -> ExitCode {
        let reports = campaign::exhaustive(self.seed, self.states, self.jobs);
        println!("| script | cuts | of them complete | states opened | outcome |\n|---|---|---|---|---|");
        for report in &reports {
            let outcome = match &report.failure {
                None => "clean".to_owned(),
                Some((cut, state, failure, _)) => {
                    format!("seed {} violates {failure} (cut {cut}, state {state})", self.seed)
                }
            };
            let (cuts, complete, states) = (report.cuts, report.complete_cuts, report.states);
            println!("| {} | {cuts} | {complete} | {states} | {outcome} |", report.name);
        }
        let failed = reports.iter().find_map(|report| Some((report.name, report.failure.as_ref()?)));
        let Some((name, (cut, state, failure, events))) = failed else { return ExitCode::SUCCESS };
        println!("\n{name}, cut {cut}, state {state}: {failure}");
        events.iter().for_each(|event| println!("  {event}"));
        ExitCode::FAILURE
    }
}
