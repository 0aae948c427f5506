//! `highwater-sim list`: the scenarios of a folder.

use anyhow::{Context, Result, ensure};
use clap::Args;
use highwater_faults::ScenarioFile;
use highwater_sim::scenario;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct List {
    /// The folder; its folders are looked into
    #[arg(default_value = "scenarios")]
    path: PathBuf,
}

impl List {
    pub fn execute(&self) -> Result<ExitCode> {
        let mut folders = vec![self.path.clone()];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
            let mut paths: Vec<PathBuf> =
                entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
            paths.sort();
            for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "toml")) {
                found += 1;
                println!("{:<40} {}", path.display(), describe(&scenario::read(path)?));
            }
            folders.extend(paths.into_iter().rev().filter(|path| path.is_dir()));
        }
        ensure!(found > 0, "{} has no scenarios", self.path.display());
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(file: &ScenarioFile) -> &str {
    match file {
        ScenarioFile::Disk(scenario) => &scenario.description,
        ScenarioFile::Cluster(scenario) => &scenario.description,
    }
}
