use super::*;
use crate::{Action, FaultKind, Regime, ScriptedFault};
use highwater_env::Rng;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn scenario(head: &str, faults: &str) -> Scenario {
    let text =
        format!("[scenario]\nkind = \"cluster\"\n{head}\n[[topics]]\nname = \"orders\"\n[faults]\n{faults}");
    Scenario::parse(&text, "test.toml").unwrap()
}

fn plan(scenario: &Scenario, seed: u64) -> Plan {
    draw(scenario, &mut Rng::from_stream(seed, 0))
}

/// How often each kind of action is in these plans.
fn counts<'a>(plans: impl Iterator<Item = &'a Plan>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    plans.flat_map(|plan| &plan.actions).for_each(|timed| *counts.entry(timed.what.name()).or_default() += 1);
    counts
}

#[test]
fn some_of_the_first_seeds_have_each_fault() {
    let scenario = scenario("regime = \"unlimited\"\n[cluster]\nbrokers = 3", "usual = true");
    let plans: Vec<Plan> = (0..200).map(|seed| plan(&scenario, seed)).collect();
    let counts = counts(plans.iter());
    for name in Action::NAMES {
        assert!(counts.get(name).is_some_and(|&count| count > 20), "{name}: {counts:?}");
    }
    for kind in FaultKind::ALL {
        let with = plans.iter().filter(|plan| plan.swarm.contains(kind)).count();
        assert!((80..160).contains(&with), "{}: in {with} of 200 seeds", kind.name());
    }
}

#[test]
fn intervals_are_what_was_asked_for_on_average() {
    let scenario = scenario("duration = \"10m\"", "usual = true");
    for (&kind, interval) in &scenario.random.intervals {
        let mut only = scenario.clone();
        only.random.intervals.retain(|&other, _| other == kind);
        let subjects = subjects(kind.scope(), &only).len();
        for swarm in [false, true] {
            only.random.swarm = swarm;
            let plans: Vec<Plan> = (0..100).map(|seed| plan(&only, seed)).collect();
            let with = plans.iter().filter(|plan| plan.swarm.contains(&kind)).count();
            let faults: usize = plans.iter().map(|plan| plan.actions.len()).sum();
            let time = scenario.duration.as_secs_f64() * (with * subjects) as f64;
            let ratio = time / faults as f64 / interval.as_secs_f64();
            assert!((0.7..1.3).contains(&ratio), "{}: {ratio} of {interval:?}", kind.name());
        }
    }
}

#[test]
fn another_fault_does_not_shift_the_others() {
    let few = scenario("", "crash = \"5s\"\nreset = \"5s\"");
    let more = scenario("", "crash = \"5s\"\nreset = \"5s\"\nread_error = \"1s\"\nlink_delays = true");
    for seed in 0..50 {
        let mut actions = plan(&more, seed).actions;
        actions.retain(|timed| !matches!(timed.what, Action::FailRead { .. }));
        assert_eq!(actions, plan(&few, seed).actions);
    }
}

#[test]
fn a_seed_is_never_harmless_where_harm_is_asked_for() {
    let scenario = scenario("", "usual = true");
    for seed in 0..200 {
        let plan = plan(&scenario, seed);
        assert!(HARMFUL.iter().any(|kind| plan.swarm.contains(kind)), "seed {seed}: {:?}", plan.swarm);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_generator_gives_one_plan(seed: u64, brokers in 1u32..5) {
        let scenario = scenario(&format!("[cluster]\nbrokers = {brokers}\ncontrollers = {}", brokers.min(3)), "usual = true\nlink_delays = true");
        let plan = plan(&scenario, seed);
        prop_assert_eq!(&plan, &self::plan(&scenario, seed));
        prop_assert!(plan.actions.is_sorted_by_key(|timed| timed.at));
        prop_assert!(plan.actions.iter().all(|timed| timed.at < scenario.duration));
    }

    #[test]
    fn the_budget_is_kept(seed: u64) {
        let scenario = scenario("[cluster]\nbrokers = 3", "usual = true");
        let plan = plan(&scenario, seed);
        prop_assert!(plan.actions.iter().all(|timed| timed.what.regime() == Regime::WithinBudget));
    }

    #[test]
    fn the_budget_of_page_caches_is_one_at_a_time(seed: u64) {
        let scenario = scenario("[cluster]\nnodes = 3\ndurability = \"replicated\"", "usual = true");
        let several = |role: &Role| matches!(role, Role::EveryBroker | Role::EveryNode | Role::Nodes(_));
        let mut cuts = plan(&scenario, seed).actions.into_iter().filter(|timed| timed.what.name() == "power-cut");
        prop_assert!(cuts.all(|timed| !several(&timed.target)));
    }

    #[test]
    fn halves_are_never_empty_and_some_are_neither_one_nor_all(seed: u64, brokers in 2u32..5, controllers in 0u32..4) {
        let head = match controllers {
            0 => format!("[cluster]\nnodes = {brokers}"),
            _ => format!("[cluster]\nbrokers = {brokers}\ncontrollers = {controllers}"),
        };
        let nodes = brokers + controllers;
        let faults = if nodes > 2 { "power_cut_of_some = \"1s\"\nhalves = \"1s\"" } else { "halves = \"1s\"" };
        for timed in plan(&scenario(&head, faults), seed).actions {
            match (timed.what, timed.target) {
                (Action::Split { sides, .. }, Role::EveryNode) => {
                    let left = sides & ((1 << nodes) - 1);
                    prop_assert!(left != 0 && left != (1 << nodes) - 1);
                }
                (_, Role::Nodes(set)) => {
                    prop_assert!(set >> nodes == 0 && (2..nodes).contains(&set.count_ones()), "{set:b}");
                }
                (what, target) => prop_assert!(false, "{what:?} of {target}"),
            }
        }
    }

    #[test]
    fn what_is_drawn_can_be_written_down(seed: u64) {
        let mut scenario =
            scenario("regime = \"unlimited\"\n[cluster]\nbrokers = 3\ncontrollers = 3", "usual = true");
        let drawn: Vec<ScriptedFault> = plan(&scenario, seed).actions.into_iter().map(Into::into).collect();
        scenario.random.intervals.clear();
        let mut text = "[scenario]\nkind = \"cluster\"\nregime = \"unlimited\"\n[cluster]\nbrokers = 3\n\
                        controllers = 3\n[[topics]]\n\
                        name = \"orders\"\n".to_owned();
        drawn.iter().for_each(|fault| text.push_str(&fault.to_string()));
        prop_assert_eq!(Scenario::parse(&text, "drawn.toml").unwrap().script, drawn);
    }
}
