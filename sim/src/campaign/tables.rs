//! A summary as tables.

use super::{ScenarioSummary, Summary};
use std::fmt;

impl ScenarioSummary {
    /// The scenario's line of the table of results.
    fn line(&self) -> String {
        let Self { name, seeds, counted, acknowledged, operations, faults, failed, .. } = self;
        let each = |what: f64| if *seeds == 0 { 0.0 } else { what / *seeds as f64 };
        let simulated = self.simulated.as_secs_f64();
        let speed = if simulated > 0.0 {
            format!("{:.0}", simulated / self.took.as_secs_f64())
        } else {
            String::new()
        };
        let core_seconds = each(self.took.as_secs_f64());
        let verdict = if *failed == 0 { "clean".to_owned() } else { format!("{failed} FAILED") };
        format!(
            "| {name} | {seeds} | {counted} | {acknowledged} | {operations} | {faults} | {core_seconds:.2} | {speed} | \
             {verdict} |"
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| scenario | seeds | of them count | records acknowledged | client operations | faults | core-seconds per seed | \
             simulated seconds per core-second | verdict |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|")?;
        for scenario in &self.scenarios {
            writeln!(f, "{}", scenario.line())?;
        }
        if !self.faults.is_empty() {
            writeln!(f, "\n| fault | injected |\n|---|---|")?;
            for (fault, count) in &self.faults {
                writeln!(f, "| {fault} | {count} |")?;
            }
        }
        if !self.reached.is_empty() {
            writeln!(f, "\n| mark | reached |\n|---|---|")?;
            for (mark, count) in &self.reached {
                writeln!(f, "| {mark} | {count} |")?;
            }
        }
        for scenario in self.scenarios.iter().filter(|scenario| scenario.seeds > 0) {
            for mark in &scenario.wanted {
                writeln!(f, "never reached by {}: {mark}", scenario.name)?;
            }
        }
        writeln!(f, "\n{} runs, hash of all {:016x}", self.runs(), self.hash)?;
        if self.runs() < self.asked {
            writeln!(f, "cut short: {} of {} runs were made", self.runs(), self.asked)?;
        }
        Ok(())
    }
}
