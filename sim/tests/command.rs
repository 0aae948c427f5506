//! The command line, and what only several processes can show.

#![allow(clippy::unwrap_used)]

use highwater_sim::logs::{self, Regime};
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
    for seed in 1..6 {
        let here = logs::run(seed, Regime::Honest, None);
        let there = simulator(&["replay", &seed.to_string(), "--regime", "honest"]);
        assert!(there.status.success(), "{}", text(&there));
        let expected = format!("seed {seed}, hash {:016x}, {} disk operations", here.hash, here.operations);
        assert_eq!(text(&there).lines().next(), Some(expected.as_str()));
    }
}

#[test]
fn scenarios_are_run_and_told_in_tables() {
    let output = simulator(&["run", "scenarios/fast", "--seeds", "20"]);
    assert!(output.status.success(), "{}", text(&output));
    let text = text(&output);
    for part in
        ["| disk-honest | 20 |", "| disk-lying | 20 |", "| power loss |", "| log: unproven tail rewritten |"]
    {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[cfg(not(highwater_mutants))]
#[test]
fn planted_bugs_need_a_build_that_has_them() {
    let output = simulator(&["disk", "--mutant", "log-no-fsync"]);
    assert_eq!(output.status.code(), Some(2), "neither clean nor a violation");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--cfg highwater_mutants"));
}

#[cfg(highwater_mutants)]
#[test]
fn a_planted_bug_is_found_and_told() {
    let output = simulator(&["disk", "--mutant", "log-no-fsync", "--histories", "5"]);
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    for part in [
        "violates S14",
        "repeat it with: highwater-sim replay",
        "planted bug log-no-fsync: first killed by seed",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}
