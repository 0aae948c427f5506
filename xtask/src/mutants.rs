//! `cargo xtask mutants`: planted bugs against the simulator.

use crate::arguments::Arguments;
use crate::commands::build_instrumented;
use crate::layers::{self, OUTSIDE};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

const DEFAULT_SEEDS: u64 = 1_000;
/// A bug that has been killed so often needs no more runs.
const ENOUGH_KILLS: u64 = 5;
/// The scenarios that were not written for any of the bugs.
const SCENARIOS: [&str; 2] = ["scenarios/fast", "scenarios/slow"];

/// The package whose bugs are looked for in a bare quorum, which takes far less time than a cluster.
const QUORUM: &str = "highwater-quorum";

/// The simulator's package.
const SIMULATOR: &str = "highwater-sim";

/// What a bug, or clean code, did over its seeds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kills {
    /// The runs that failed, as they are told: "seed 3 of power", and the property.
    failed: Vec<(String, String)>,
    /// Their numbers, from 1.
    runs: Vec<u64>,
}

/// Runs every planted bug, or those named, over the same seeds as the clean code. Fails when clean code fails or a
/// bug survives.
pub fn mutants(workspace: &Workspace, arguments: &mut Arguments) -> Result<ExitCode> {
    let seeds = arguments.option("--seeds")?.unwrap_or(DEFAULT_SEEDS);
    let engine: String = arguments.option("--engine")?.unwrap_or_else(|| "executor".to_owned());
    let mut chosen = arguments.words()?;
    let planted = planted(workspace)?;
    for id in &chosen {
        ensure!(planted.contains_key(id), "there is no planted bug {id:?}; there are: {:?}", planted.keys());
    }
    if chosen.is_empty() {
        chosen = planted.keys().cloned().collect();
    }
    let simulated = simulated(workspace)?;
    let simulator = build_instrumented(workspace)?;
    let simulate = |package: &str, mutant: Option<&str>| {
        simulate(&simulator, workspace, seeds, &engine, package, mutant)
    };

    println!(
        "| planted bug | first kill | runs that it took | runs between kills, median | kill rate |\n|---|---|---|---|---|"
    );
    let mut survived = 0;
    let mut most = 0;
    for id in &chosen {
        let package = &planted[id];
        if !simulated.contains(package) {
            println!("| {id} | not run: no scenario runs {package} | | | |");
            survived += 1;
            continue;
        }
        let kills = kills(&simulate(package, Some(id))?, true)?;
        let Some(((history, property), &run)) = kills.failed.first().zip(kills.runs.first()) else {
            println!("| {id} | SURVIVED {seeds} runs | | | |");
            survived += 1;
            continue;
        };
        let last = kills.runs.last().copied().unwrap_or(run);
        let rate = 100.0 * kills.runs.len() as f64 / last as f64;
        println!("| {id} | {history}: {property} | {run} | {} | {rate:.1} % |", median_gap(&kills.runs));
        most = most.max(last);
    }
    // What clean code does as well was not done by a planted bug.
    let mut failed = 0;
    for package in [SIMULATOR, QUORUM] {
        // Whichever of the two the chosen bugs were looked for in.
        if !chosen.iter().any(|id| (planted[id] == QUORUM) == (package == QUORUM)) {
            continue;
        }
        let clean = kills(&simulate(package, None)?, false)?;
        for (history, property) in &clean.failed {
            println!("| CLEAN CODE FAILED | {history}: {property} | | | |");
        }
        failed += clean.failed.len();
    }
    let killed = chosen.len() - survived;
    println!(
        "\n{killed} of {} planted bugs killed; clean code over {seeds} runs: {}",
        chosen.len(),
        match failed {
            0 => "clean".to_owned(),
            failed => format!("{failed} FAILED"),
        }
    );
    Ok(if failed == 0 && survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many runs lie between two kills, most of the time.
fn median_gap(runs: &[u64]) -> u64 {
    let mut gaps: Vec<u64> =
        std::iter::once(0).chain(runs.iter().copied()).zip(runs).map(|(before, &run)| run - before).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or_default()
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

fn simulate(
    simulator: &Path,
    workspace: &Workspace,
    seeds: u64,
    engine: &str,
    package: &str,
    mutant: Option<&str>,
) -> Result<Output> {
    let mut command = Command::new(simulator);
    command.current_dir(workspace.root());
    if package == QUORUM {
        command.arg("quorum");
    } else {
        command.arg("run").args(SCENARIOS).args(["--details", "0", "--engine", engine]);
    }
    command.args(["--repeat-one-in", "0", "--seeds", &seeds.to_string()]);
    if let Some(id) = mutant {
        command.args(["--mutant", id, "--most-failures", &ENOUGH_KILLS.to_string()]);
    }
    command.output().with_context(|| simulator.display().to_string())
}

/// The runs that the simulator's output reports. That it could not run is an error and not a kill.
fn kills(output: &Output, mutant: bool) -> Result<Kills> {
    let text = String::from_utf8_lossy(&output.stdout);
    // "seed N of SCENARIO violates PROPERTY: ...".
    let failed: Vec<(String, String)> = text
        .lines()
        .filter(|line| line.starts_with("seed "))
        .filter_map(|line| line.split_once(" violates "))
        .map(|(history, rest)| (history.to_owned(), rest.split(':').next().unwrap_or(rest).to_owned()))
        .collect();
    // "planted bug ID: killed by runs N N N (PROPERTY)".
    let runs = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("planted bug ")?.split_once(": killed by runs ")?.1.split_once(" (")
        })
        .flat_map(|(runs, _)| runs.split(' ').filter_map(|run| run.parse().ok()))
        .collect();
    // A build without planted bugs, or an unknown option, ends the simulator before its first run.
    if failed.is_empty() != output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!(
            "the simulator{}: {}: {}",
            if mutant { " with a planted bug" } else { "" },
            output.status,
            told.trim()
        );
    }
    Ok(Kills { failed, runs })
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

    fn check(code: i32, stdout: &str, expected: Option<(&[&str], &[u64])>) {
        let status = ExitStatus::from_raw(code << 8);
        let output = Output { status, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() };
        let found = kills(&output, true).ok().map(|kills| {
            let failed = kills.failed.iter().map(|(history, property)| format!("{history}: {property}"));
            (failed.collect::<Vec<_>>(), kills.runs)
        });
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(found, expected.map(|(lines, runs)| (owned(lines), runs.to_vec())), "{stdout}");
    }

    #[test]
    fn a_simulator_that_cannot_run_has_killed_nothing() {
        let killed =
            "seed 3 of power violates S10: a: b\nplanted bug x: killed by runs 3 17 (S10)\n\na table";
        check(1, killed, Some((&["seed 3 of power: S10"], &[3, 17])));
        check(0, "a table", Some((&[], &[])));
        check(1, "", None);
        check(2, "", None);
    }

    #[test]
    fn the_median_is_of_the_runs_between_kills() {
        assert_eq!(median_gap(&[3]), 3);
        assert_eq!(median_gap(&[3, 4, 10]), 3);
        assert_eq!(median_gap(&[]), 0);
    }

    #[test]
    fn the_simulator_runs_the_product() {
        let workspace = Workspace::around(env!("CARGO_MANIFEST_DIR")).unwrap();
        let simulated = simulated(&workspace).unwrap();
        for package in ["highwater-log", "highwater-broker", "highwater-metadata"] {
            assert!(simulated.iter().any(|name| name == package), "{simulated:?}");
        }
        assert_eq!(
            planted(&workspace).unwrap().get("log-no-fsync").map(String::as_str),
            Some("highwater-log")
        );
    }
}
