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

/// What the simulator's histories do with one planted bug, or with clean code.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// No property was broken.
    Clean,
    /// A property was broken: by which seed, how often.
    Broken(String),
}

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

    println!("| planted bug | seeds | outcome |\n|---|---|---|");
    let clean = verdict(&simulate(&simulator, workspace, seeds, None)?, None)?;
    let mut failed = clean != Verdict::Clean;
    match clean {
        Verdict::Clean => println!("| (none) | {seeds} | clean |"),
        Verdict::Broken(how) => println!("| (none) | {seeds} | FAILED: {how} |"),
    }
    for id in &chosen {
        let package = &planted[id];
        if !simulated.contains(package) {
            println!("| {id} | 0 | not run: no simulated history runs {package} |");
            continue;
        }
        match verdict(&simulate(&simulator, workspace, seeds, Some(id))?, Some(id))? {
            Verdict::Broken(how) => println!("| {id} | {seeds} | {how} |"),
            Verdict::Clean => {
                failed = true;
                println!("| {id} | {seeds} | SURVIVED |");
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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

/// What the simulator's output says. That it could not run is an error and no verdict.
fn verdict(output: &Output, mutant: Option<&str>) -> Result<Verdict> {
    if output.status.success() {
        return Ok(Verdict::Clean);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let told = match mutant {
        // "planted bug ID: first killed by seed ...".
        Some(id) => text.lines().find_map(|line| line.strip_prefix(&format!("planted bug {id}: "))),
        None => text.lines().find(|line| line.starts_with("seed ") && line.contains(" violates ")),
    };
    match told {
        Some(how) => Ok(Verdict::Broken(how.trim().to_owned())),
        None => bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()),
    }
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

    fn check(code: i32, stdout: &str, mutant: Option<&str>, expected: Option<Verdict>) {
        let status = ExitStatus::from_raw(code << 8);
        let output = Output { status, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() };
        assert_eq!(verdict(&output, mutant).ok(), expected, "{stdout}");
    }

    #[test]
    fn a_simulator_that_cannot_run_has_killed_nothing() {
        let killed = "seed 3 (honest disk) violates S10\nplanted bug x: first killed by seed 3 (S10), kill rate 2.0 %\n";
        let how = "first killed by seed 3 (S10), kill rate 2.0 %".to_owned();
        check(1, killed, Some("x"), Some(Verdict::Broken(how)));
        check(1, killed, Some("y"), None);
        check(1, killed, None, Some(Verdict::Broken("seed 3 (honest disk) violates S10".to_owned())));
        check(0, "", Some("x"), Some(Verdict::Clean));
        check(1, "", Some("x"), None);
        check(2, "", None, None);
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
