//! Whole clusters under faults: runs repeat themselves, do enough, and find nothing where nothing is wrong.

use highwater_faults::{Scenario, ScenarioFile};
use highwater_sim::scenario;
use highwater_sim::world::{self, Options, Outcome};
use std::path::Path;
use std::time::Duration;

/// A scenario of the repository.
fn named(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fast").join(format!("{name}.toml"));
    match scenario::read(&path).unwrap() {
        ScenarioFile::Cluster(scenario) => *scenario,
        ScenarioFile::Disk(_) => panic!("{name} is no scenario of a cluster"),
    }
}

fn run(scenario: &Scenario, seed: u64) -> Outcome {
    world::run(scenario, seed, &Options::default())
}

#[test]
fn a_run_does_enough_and_finds_nothing_where_nothing_is_wrong() {
    let mut scenario = named("churn");
    scenario.random.intervals.clear();
    scenario.script.clear();
    let outcome = run(&scenario, 1);
    assert_eq!(outcome.failure, None, "{:#?}", outcome.events);
    assert!(outcome.acknowledged > 5_000, "{}", outcome.acknowledged);
    let least = scenario.duration.as_secs() * 100;
    assert!(outcome.operations >= least, "{} operations, and not {least}", outcome.operations);
    assert!(outcome.simulated >= scenario.duration);
    assert!(!outcome.counts, "without a fault nothing is proved");
}

#[test]
fn under_faults_a_run_repeats_itself_and_loses_nothing() {
    let mut counting = 0;
    for (seed, name) in (1..).zip(["power", "sick-disk", "bad-network", "clocks", "churn"]) {
        let mut scenario = named(name);
        scenario.duration = Duration::from_secs(20);
        let (first, second) = (run(&scenario, seed), run(&scenario, seed));
        assert_eq!(first.failure, None, "{name}, seed {seed}: {:#?}", first.events);
        assert_eq!(first.hash, second.hash, "{name}, seed {seed}");
        assert_eq!((first.acknowledged, first.operations), (second.acknowledged, second.operations));
        assert!(first.acknowledged > 200, "{name}, seed {seed}: {}", first.acknowledged);
        assert!(first.operations >= 100 * 20, "{name}, seed {seed}: {}", first.operations);
        counting += u32::from(first.counts);
    }
    assert!(counting >= 3, "{counting} of 5 runs prove something");
}

#[test]
fn another_seed_is_another_run() {
    let mut scenario = named("steady");
    scenario.duration = Duration::from_secs(3);
    assert_ne!(run(&scenario, 1).hash, run(&scenario, 2).hash);
}

#[test]
fn a_cluster_that_cannot_be_configured_is_told() {
    let mut scenario = named("steady");
    scenario.cluster.settings.insert("no.such.setting".to_owned(), "1".to_owned());
    let told = run(&scenario, 1).failure.unwrap().to_string();
    assert!(told.contains("no.such.setting"), "{told}");
}

/// In a build with planted bugs, which `cargo xtask` makes for the same purpose: a node that never syncs is found out.
#[cfg(highwater_mutants)]
#[test]
fn a_node_that_does_not_sync_is_found_out() {
    highwater_types::activate("log-no-fsync");
    let scenario = named("power");
    let caught = (1..=20).filter(|&seed| run(&scenario, seed).failure.is_some()).count();
    assert!(caught > 0, "twenty seeds find nothing");
}
