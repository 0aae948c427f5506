//! The plan of a seed.
//!
//! Each kind of fault draws from a stream of its own, so that a change to one does not shift the others.

mod actions;

use crate::{DiskDelays, FaultKind, LinkDelays, Machine, Plan, Role, Scenario, Scope, Timed};
use actions::Actions;
use highwater_env::Rng;
use rand::{Rng as _, RngExt};
use std::collections::BTreeSet;
use std::time::Duration;

/// With this probability a seed leaves a kind of fault out.
const LEFT_OUT: f64 = 0.4;
/// Between these factors, a seed's interval differs from the scenario's.
const INTERVAL_FACTORS: (f64, f64) = (0.6, 1.5);
/// Nothing happens before this: the cluster has just come up.
const QUIET_START: Duration = Duration::from_millis(500);

/// Faults that hit what no sync has covered yet. A seed without any of them proves little.
const HARMFUL: &[FaultKind] = &[
    FaultKind::Crash,
    FaultKind::PowerCut,
    FaultKind::PowerCutOfAll,
    FaultKind::PowerCutInRecovery,
    FaultKind::PowerCutOfSome,
    FaultKind::CrashThenPowerCut,
    FaultKind::WriteError,
    FaultKind::SyncError,
];

/// The plan of one seed.
pub fn draw(scenario: &Scenario, rng: &mut Rng) -> Plan {
    let seed = rng.next_u64();
    let swarm = choose_kinds(scenario, seed);
    let mut actions = Vec::new();
    for &kind in &swarm {
        let mut rng = stream(seed, kind.name());
        let mut mean = scenario.random.intervals[&kind];
        if scenario.random.swarm {
            mean = mean.mul_f64(rng.random_range(INTERVAL_FACTORS.0..INTERVAL_FACTORS.1));
        }
        let draws = Actions::new(kind, scenario, &mut rng);
        for subject in subjects(kind.scope(), scenario) {
            let mut at = QUIET_START;
            loop {
                at = at.saturating_add(exponential(&mut rng, mean));
                if at >= scenario.duration {
                    break;
                }
                let (what, target) = draws.draw(&mut rng, subject.as_ref());
                actions.push(Timed { at, what, target });
            }
        }
    }
    actions.sort_by_key(|timed| timed.at);
    let repair_after = spread(&mut stream(seed, "repair"), 200.0, 5_000.0);
    Plan {
        swarm,
        actions,
        link: link_delays(scenario, seed),
        disk: disk_delays(scenario, seed),
        repair_after,
    }
}

/// A generator for one purpose, by name.
fn stream(seed: u64, purpose: &str) -> Rng {
    // FNV-1a: the streams stay what they are when a purpose is added.
    let number = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Rng::from_stream(seed, number)
}

fn choose_kinds(scenario: &Scenario, seed: u64) -> BTreeSet<FaultKind> {
    let all = scenario.random.intervals.keys().copied();
    if !scenario.random.swarm {
        return all.collect();
    }
    let taken = |kind: &FaultKind| {
        // Not the stream that draws the faults, whose first numbers would then always be of one half.
        !stream(seed, &format!("{} left out", kind.name())).random_bool(LEFT_OUT)
    };
    let mut swarm: BTreeSet<FaultKind> = all.clone().filter(taken).collect();
    let harmful: Vec<FaultKind> = all.filter(|kind| HARMFUL.contains(kind)).collect();
    if !harmful.is_empty() && !harmful.iter().any(|kind| swarm.contains(kind)) {
        swarm.insert(harmful[stream(seed, "harm").random_range(0..harmful.len())]);
    }
    swarm
}

/// Who has faults of their own rate: none for the whole cluster.
fn subjects(scope: Scope, scenario: &Scenario) -> Vec<Option<Role>> {
    let brokers = (1..=scenario.cluster.brokers).map(Machine::Broker);
    let nodes: Vec<Machine> =
        brokers.chain((1..=scenario.cluster.controllers).map(Machine::Controller)).collect();
    match scope {
        Scope::Cluster => vec![None],
        Scope::EachBroker => nodes.into_iter().map(|node| Some(node.into())).collect(),
        Scope::EachLink => {
            let clients = (1..=scenario.workload.clients()).map(Machine::Client);
            let machines: Vec<Machine> = nodes.iter().copied().chain(clients).collect();
            let links = nodes.iter().enumerate().flat_map(|(place, &node)| {
                machines[place + 1..].iter().map(move |&other| Some(Role::Link(node, other)))
            });
            links.collect()
        }
    }
}

/// A length of time with this mean, as there is between events that know nothing of each other. Whole microseconds, so
/// that it can be written down.
fn exponential(rng: &mut Rng, mean: Duration) -> Duration {
    let share: f64 = rng.random_range(0.0..1.0);
    let time = mean.mul_f64(-(1.0 - share).ln());
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// A length of time between two bounds, in whole milliseconds; every order of magnitude is as likely.
fn spread(rng: &mut Rng, least_ms: f64, most_ms: f64) -> Duration {
    let exponent = rng.random_range(least_ms.ln()..most_ms.ln());
    Duration::from_millis(exponent.exp().round() as u64)
}

fn link_delays(scenario: &Scenario, seed: u64) -> Option<LinkDelays> {
    let mut rng = stream(seed, "link delays");
    if !scenario.random.link_delays || (scenario.random.swarm && rng.random_bool(LEFT_OUT)) {
        return None;
    }
    let min = Duration::from_millis(rng.random_range(0..=30));
    Some(LinkDelays { min, mean: min.max(Duration::from_millis(rng.random_range(30..=100))) })
}

fn disk_delays(scenario: &Scenario, seed: u64) -> DiskDelays {
    let mut rng = stream(seed, "disk delays");
    let yield_one_in = *pick(&mut rng, &[1, 2, 4]);
    if !scenario.random.disk_delays {
        return DiskDelays { yield_one_in, delay_one_in: 0, delay_max: Duration::ZERO };
    }
    DiskDelays {
        yield_one_in,
        delay_one_in: *pick(&mut rng, &[0, 1, 3, 10]),
        delay_max: Duration::from_micros(*pick(&mut rng, &[200, 1_000, 5_000, 20_000])),
    }
}

/// One of some values, with even odds.
fn pick<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    &values[rng.random_range(0..values.len())]
}

#[cfg(test)]
mod tests;
