//! The command line, and what only several processes can show.

use highwater_sim::run::{How, Run};
use highwater_sim::{EngineKind, scenario};
use std::path::Path;
use std::process::{Command, Output};

fn simulator(arguments: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Command::new(env!("CARGO_BIN_EXE_highwater-sim")).current_dir(folder).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Hash seeds, addresses and the like differ per process: nothing of them may reach a run.
#[test]
fn a_seed_is_the_same_run_in_every_process() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, seeds) in [("scenarios/fast/disk-honest.toml", 1..6), ("scenarios/fast/power.toml", 1..2)] {
        let file = scenario::read(&folder.join(path)).unwrap();
        for seed in seeds {
            let here = Run::of(&file, seed, How { engine: EngineKind::Turmoil, trace: None });
            let there = simulator(&["replay", &seed.to_string(), "--scenario", path]);
            assert!(there.status.success(), "{}", text(&there));
            let expected = format!("seed {seed} of {}: hash {:016x}, ", file.name(), here.hash);
            assert!(text(&there).contains(&expected), "{expected} is missing in:\n{}", text(&there));
        }
    }
}

#[test]
fn scenarios_are_run_and_told_in_tables() {
    let junit = std::env::temp_dir().join(format!("highwater-sim-{}.xml", std::process::id()));
    let path = junit.to_string_lossy();
    let output = simulator(&["run", "scenarios/fast/disk-honest.toml", "--seeds", "20", "--junit", &path]);
    assert!(output.status.success(), "{}", text(&output));
    let text = text(&output);
    for part in ["| disk-honest | 20 |", "| power loss |", "| log: unproven tail rewritten |"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let written = std::fs::read_to_string(&junit).unwrap();
    std::fs::remove_file(&junit).unwrap();
    assert!(written.contains("<testsuite name=\"disk-honest\" tests=\"20\" failures=\"0\""), "{written}");
}

#[test]
fn a_run_that_is_cut_short_says_so() {
    let output = simulator(&["run", "scenarios/fast/disk-honest.toml", "--time-budget", "0s"]);
    assert!(text(&output).contains("cut short: 0 of 200 runs were made"), "{}", text(&output));
}

#[test]
fn scenarios_are_listed_and_explained() {
    assert!(text(&simulator(&["list"])).contains("scenarios/fast/power.toml"));
    let explained = text(&simulator(&["explain", "scenarios/fast/power.toml", "--seed", "3"]));
    for part in ["power: ", "do = \"power-cut\"", "S14", "seed 3 draws"] {
        assert!(explained.contains(part), "{part} is missing in:\n{explained}");
    }
}

#[cfg(not(highwater_mutants))]
#[test]
fn planted_bugs_need_a_build_that_has_them() {
    let output = simulator(&["run", "scenarios/fast", "--mutant", "log-no-fsync"]);
    assert_eq!(output.status.code(), Some(2), "neither clean nor a violation");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--cfg highwater_mutants"));
}

#[cfg(highwater_mutants)]
#[test]
fn a_planted_bug_is_found_and_told() {
    let output =
        simulator(&["run", "scenarios/fast/disk-honest.toml", "--mutant", "log-no-fsync", "--seeds", "5"]);
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    for part in
        ["violates S14", "repeat it with: highwater-sim replay", "planted bug log-no-fsync: killed by runs"]
    {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}
