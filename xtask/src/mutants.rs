//! `cargo xtask mutants`: planted bugs against the simulator.

use crate::arguments::Arguments;
use crate::commands::cargo;
use crate::layers::{self, OUTSIDE};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

const DEFAULT_SEEDS: u64 = 200;

/// The simulator's package.
const SIMULATOR: &str = "highwater-sim";

/// The histories that broke a property: seed and regime, and the property.
type Broken = BTreeMap<String, String>;

/// Runs every planted bug, or those named, over the same seeds as the clean code. Fails when clean code fails or a
/// bug survives.
pub fn mutants(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    let seeds = arguments.option("--seeds")?.unwrap_or(DEFAULT_SEEDS);
    let mut chosen = arguments.words()?;
    let planted = planted(workspace)?;
    for id in &chosen {
        ensure!(planted.contains_key(id), "there is no planted bug {id:?}; there are: {:?}", planted.keys());
    }
    if chosen.is_empty() {
        chosen = planted.keys().cloned().collect();
    }
    let simulated = simulated(workspace)?;
    let simulator = build(workspace)?;

    println!("| planted bug | seeds | histories that kill it | the first of them |\n|---|---|---|---|");
    let clean = broken(&simulate(&simulator, workspace, seeds, None)?, false)?;
    let mut failed = !clean.is_empty();
    println!("| (none) | {seeds} | {} | {} |", clean.len(), first(&clean));
    for id in &chosen {
        let package = &planted[id];
        if !simulated.contains(package) {
            println!("| {id} | 0 | not run | no simulated history runs {package} |");
            continue;
        }
        let mut killers = broken(&simulate(&simulator, workspace, seeds, Some(id))?, true)?;
        // What clean code does as well was not done by the planted bug.
        killers.retain(|history, _| !clean.contains_key(history));
        failed |= killers.is_empty();
        let how = if killers.is_empty() { "SURVIVED".to_owned() } else { first(&killers) };
        println!("| {id} | {seeds} | {} | {how} |", killers.len());
    }
    if !clean.is_empty() {
        println!("\nCLEAN CODE FAILED; the histories in which it did count for nothing above.");
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The history with the lowest seed.
fn first(broken: &Broken) -> String {
    let seed = |history: &str| history.split(' ').nth(1).and_then(|seed| seed.parse::<u64>().ok());
    let lowest = broken.iter().min_by_key(|(history, _)| seed(history));
    lowest.map(|(history, property)| format!("{history}: {property}")).unwrap_or_default()
}

/// The names of all switches in the product's sources, and the package that each is in.
fn planted(workspace: &Workspace) -> Result<BTreeMap<String, String>> {
    let mut ids = BTreeMap::new();
    let files = workspace.files()?;
    for package in workspace.packages()? {
        let sources = format!("{}/src/", package.folder);
        // The macro's own package shows its use in its documentation, and the tools here in their tests.
        if package.name() == "highwater-types" || OUTSIDE.contains(&package.name()) {
            continue;
        }
        for file in files.iter().filter(|file| file.starts_with(&sources) && file.ends_with(".rs")) {
            let source = workspace.read(file)?;
            ids.extend(switches(&source).map(|id| (id, package.name().to_owned())));
        }
    }
    Ok(ids)
}

/// The packages that the simulator is built with.
fn simulated(workspace: &Workspace) -> Result<Vec<String>> {
    let packages = workspace.packages()?;
    let mut found = vec![SIMULATOR.to_owned()];
    let mut at = 0;
    while let Some(name) = found.get(at) {
        let package = packages.iter().find(|package| package.name() == name);
        let of_package = package.map(|package| layers::dependencies(&package.manifest)).unwrap_or_default();
        for (dependency, _) in of_package {
            let ours = packages.iter().any(|package| package.name() == dependency);
            if ours && !found.iter().any(|known| known == dependency) {
                found.push(dependency.to_owned());
            }
        }
        at += 1;
    }
    Ok(found)
}

fn switches(source: &str) -> impl Iterator<Item = String> {
    let id = |rest: &str| rest.split_once('"').map(|(id, _)| id.to_owned());
    source.split("mutant!(\"").skip(1).filter_map(id)
}

fn build(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let target = workspace.target().join("mutants");
    let status = cargo(workspace)
        .args(["build", "--quiet", "--release", "-p", SIMULATOR, "--bin", SIMULATOR])
        .env("CARGO_TARGET_DIR", &target)
        // The variable replaces what .cargo/config.toml says, so that is repeated.
        .env("RUSTFLAGS", "--cfg tokio_unstable --cfg highwater_mutants")
        .status()
        .context("cargo build")?;
    ensure!(status.success(), "building the simulator: {status}");
    Ok(target.join("release").join(SIMULATOR))
}

fn simulate(simulator: &Path, workspace: &Workspace, seeds: u64, mutant: Option<&str>) -> Result<Output> {
    let mut command = Command::new(simulator);
    command.current_dir(workspace.root()).args(["disk", "--details", "0", "--histories", &seeds.to_string()]);
    if let Some(id) = mutant {
        command.args(["--mutant", id]);
    }
    command.output().with_context(|| simulator.display().to_string())
}

/// The histories that the simulator's output reports. That it could not run is an error and not a kill.
fn broken(output: &Output, mutant: bool) -> Result<Broken> {
    let text = String::from_utf8_lossy(&output.stdout);
    // "seed N (REGIME) violates PROPERTY: ...".
    let broken: Broken = text
        .lines()
        .filter(|line| line.starts_with("seed "))
        .filter_map(|line| line.split_once(" violates "))
        .map(|(history, rest)| (history.to_owned(), rest.split(':').next().unwrap_or(rest).to_owned()))
        .collect();
    // A build without planted bugs, or an unknown option, ends the simulator before its first history.
    if broken.is_empty() != output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!(
            "the simulator{}: {}: {}",
            if mutant { " with a planted bug" } else { "" },
            output.status,
            told.trim()
        );
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn switches_are_found_by_name() {
        let source =
            "if mutant!(\"log-no-fsync\") { a } else if highwater_types::mutant!(\"read-rot\") && b {}";
        assert_eq!(switches(source).collect::<Vec<_>>(), ["log-no-fsync", "read-rot"]);
    }

    fn check(code: i32, stdout: &str, expected: Option<&[&str]>) {
        let status = ExitStatus::from_raw(code << 8);
        let output = Output { status, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() };
        let found = broken(&output, true).ok();
        let found: Option<Vec<String>> = found.map(|broken| {
            broken.iter().map(|(history, property)| format!("{history}: {property}")).collect()
        });
        let expected: Option<Vec<String>> =
            expected.map(|expected| expected.iter().map(|line| (*line).to_owned()).collect());
        assert_eq!(found, expected, "{stdout}");
    }

    #[test]
    fn a_simulator_that_cannot_run_has_killed_nothing() {
        let killed =
            "seed 3 (honest disk) violates S10: a: b\nplanted bug x: first killed by seed 3 (S10)\n\na table";
        check(1, killed, Some(&["seed 3 (honest disk): S10"]));
        check(0, "a table", Some(&[]));
        check(1, "", None);
        check(2, "", None);
    }

    #[test]
    fn the_first_history_is_the_one_with_the_lowest_seed() {
        let history = |seed| (format!("seed {seed} (honest disk)"), "S1".to_owned());
        assert_eq!(first(&[history(10), history(9)].into()), "seed 9 (honest disk): S1");
        assert_eq!(first(&Broken::new()), "");
    }

    #[test]
    fn the_simulator_runs_the_log() {
        let workspace = Workspace::around(env!("CARGO_MANIFEST_DIR")).unwrap();
        let simulated = simulated(&workspace).unwrap();
        assert!(simulated.iter().any(|name| name == "highwater-log"), "{simulated:?}");
        assert_eq!(
            planted(&workspace).unwrap().get("log-no-fsync").map(String::as_str),
            Some("highwater-log")
        );
    }
}
