//! Random histories and the exhaustive scripts, as many as fit into an ordinary test run.
//!
//! `HIGHWATER_SIM_HISTORIES` asks for another number of histories per regime, `HIGHWATER_SIM_STATES` for another number
//! of states per cut.

use highwater_sim::campaign::{self, Campaign};
use highwater_sim::run::How;
use highwater_sim::scenario;
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

fn check(name: &str) {
    let seeds = number("HIGHWATER_SIM_HISTORIES", 500);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fast").join(name);
    let scenarios = scenario::read_all(&[path]).unwrap();
    let campaign = Campaign {
        scenarios: &scenarios,
        how: How::default(),
        first_seed: 1,
        seeds,
        jobs: 1,
        deadline: None,
        stop: &AtomicBool::new(false),
        most_failures: 0,
        repeat_one_in: 20,
    };
    let summary = campaign.run(&|_| ());
    let failures: Vec<String> = summary.failed.iter().map(|failed| failed.report(name, "")).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert_eq!(summary.diverged, [], "seeds whose second run differed");
    assert!(summary.acknowledged() > seeds * 10, "{summary:?}");
    assert!(summary.faults["power loss"] > seeds / 2, "{summary:?}");
}

#[test]
fn on_an_honest_disk_nothing_acknowledged_is_lost() {
    check("disk-honest.toml");
}

#[test]
fn on_a_lying_disk_damage_is_never_served() {
    check("disk-lying.toml");
}

#[test]
fn every_state_after_a_power_loss_can_be_recovered_from() {
    let states = number("HIGHWATER_SIM_STATES", 16) as usize;
    let reports = campaign::exhaustive(1, states, 1);
    for report in &reports {
        assert_eq!(report.failure, None, "{}", report.name);
        assert!(report.states > report.cuts, "{report:?}");
    }
}
