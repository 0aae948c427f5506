//! `cargo xtask mutants`: planted bugs against the simulator.

use crate::arguments::Arguments;
use crate::commands::cargo;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

const DEFAULT_SEEDS: u64 = 100;

/// The simulator's exit code when a run broke a property; others mean that it could not run.
const VIOLATED: i32 = 1;

/// Runs every planted bug, or those named, over the same seeds as the clean code. Fails when clean code fails or a
/// bug survives.
pub fn mutants(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    let seeds = arguments.option("--seeds")?.unwrap_or(DEFAULT_SEEDS);
    let chosen = arguments.words()?;
    let planted = planted(workspace)?;
    for id in &chosen {
        ensure!(planted.contains(id), "there is no planted bug {id:?}; there are: {planted:?}");
    }
    let ids: Vec<String> = if chosen.is_empty() { planted.into_iter().collect() } else { chosen };

    let simulator = build(workspace)?;
    let mut failed = false;
    println!("| planted bug | seeds | outcome |\n|---|---|---|");
    let clean = simulate(&simulator, workspace, seeds, None)?;
    let (verdict, ok) = verdict(&clean, false)?;
    println!("| (none) | {seeds} | {verdict} |");
    failed |= !ok;
    for id in &ids {
        let output = simulate(&simulator, workspace, seeds, Some(id))?;
        let (verdict, ok) = self::verdict(&output, true)?;
        println!("| {id} | {seeds} | {verdict} |");
        failed |= !ok;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The names of all switches in the product's sources.
fn planted(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for file in workspace.files()? {
        // The macro's own file shows its use in its documentation.
        let is_product =
            file.starts_with("crates/") && file.ends_with(".rs") && !file.starts_with("crates/types/");
        if is_product {
            ids.extend(switches(&workspace.read(&file)?));
        }
    }
    Ok(ids)
}

fn switches(source: &str) -> impl Iterator<Item = String> {
    let id = |rest: &str| rest.split_once('"').map(|(id, _)| id.to_owned());
    source.split("mutant!(\"").skip(1).filter_map(id)
}

fn build(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let target = workspace.target().join("mutants");
    let status = cargo(workspace)
        .args(["build", "--quiet", "--release", "-p", "highwater-sim", "--bin", "highwater-sim"])
        .env("CARGO_TARGET_DIR", &target)
        // The variable replaces what .cargo/config.toml says, so that is repeated.
        .env("RUSTFLAGS", "--cfg tokio_unstable --cfg highwater_mutants")
        .status()
        .context("cargo build")?;
    ensure!(status.success(), "building the simulator: {status}");
    Ok(target.join("release").join("highwater-sim"))
}

fn simulate(simulator: &Path, workspace: &Workspace, seeds: u64, mutant: Option<&str>) -> Result<Output> {
    let mut command = Command::new(simulator);
    command.current_dir(workspace.root()).args(["run", "scenarios/fast", "--seeds", &seeds.to_string()]);
    if let Some(id) = mutant {
        command.args(["--mutant", id]);
    }
    command.output().with_context(|| simulator.display().to_string())
}

/// One cell of the table, and whether that is as it should be.
fn verdict(output: &Output, planted: bool) -> Result<(String, bool)> {
    let violated = match output.status.code() {
        Some(0) => false,
        Some(VIOLATED) => true,
        _ => anyhow::bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let told =
        text.lines().find(|line| line.contains("seed") && line.contains("violat")).unwrap_or_default().trim();
    Ok(match (planted, violated) {
        (true, true) => (format!("killed: {told}"), true),
        (true, false) => ("SURVIVED".to_owned(), false),
        (false, true) => (format!("FAILED: {told}"), false),
        (false, false) => ("clean".to_owned(), true),
    })
}

#[cfg(test)]
mod tests {
    use super::switches;

    #[test]
    fn switches_are_found_by_name() {
        let source =
            "if mutant!(\"log-no-fsync\") { a } else if highwater_types::mutant!(\"read-rot\") && b {}";
        assert_eq!(switches(source).collect::<Vec<_>>(), ["log-no-fsync", "read-rot"]);
    }
}
