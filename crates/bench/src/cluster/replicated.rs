//! What replication costs: three brokers against the floor alone, in turn.
//!
//! Both write into memory that the machine has had before: a hypervisor that supplies memory only when it is touched,
//! and takes back what is free, makes a GiB of page cache cost ten times as much processor time. The floor writes as
//! many bytes as the three brokers together.

use super::{NODES, Places, TOPIC, beside};
use crate::compare::{self, Binaries, SCENARIOS, Scenario};
use crate::floor::Durability;
use crate::load::{Connection, Outcome, ProduceLoad, describe, produce_to};
use crate::memory;
use crate::stats::median;
use anyhow::{Context, Result};
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

/// Each is written to over a connection of its own; each node leads as many.
const PARTITIONS: usize = 6;
/// How much of the load is written before it counts: one part in this many.
const WARM_UP: u64 = 8;
/// The loads, by their names in the comparison of single nodes.
const LOADS: [&str; 4] = ["replicated-1k", "sync-1k", "replicated-100b", "sync-100b"];

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Replicated {
    #[command(flatten)]
    places: Places,
    /// Which loads, by their names in the comparison of single nodes; four of them if none is named.
    names: Vec<String>,
    /// How often each is run.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many MiB of batches are written in a round.
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// Count the time, too, until all that was written is on the disk, as a load that goes on for longer than memory
    /// lasts would have to.
    #[arg(long)]
    to_disk: bool,
}

/// Prints what three brokers use, with three replicas and acks=all, beside what the floor uses alone.
pub fn replicated(options: &Replicated) -> Result<()> {
    let brokers = options.places.brokers()?;
    println!(
        "| load | broker | floor CPU s/GiB | CPU s/GiB of three | ratio (of rounds) | floor MiB/s | MiB/s | \
         records/s | CPU us/record |\n|---|---|---|---|---|---|---|---|---|"
    );
    let names: Vec<&str> = match options.names.as_slice() {
        [] => LOADS.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    for name in names {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        let scenario = scenario.with_context(|| format!("there is no load {name:?}"))?;
        let requests = (options.mib << 20) / scenario.batch_bytes.max(scenario.record_bytes) as u64;
        let scenario = &Scenario { requests, ..scenario.clone() };
        let alone = &Scenario { requests: requests * NODES as u64, ..scenario.clone() };
        let mut floor = Vec::new();
        let mut clusters = vec![Vec::new(); brokers.len()];
        for _ in 0..options.rounds {
            floor.push(compare::run_floor(&floor_options(options)?, alone)?);
            for (broker, outcomes) in brokers.iter().zip(&mut clusters) {
                outcomes.push(run(options, broker, scenario)?);
            }
        }
        for (broker, outcomes) in brokers.iter().zip(&clusters) {
            println!("{}", row(name, broker, &floor, outcomes));
        }
    }
    Ok(())
}

fn floor_options(options: &Replicated) -> Result<compare::Options> {
    Ok(compare::Options {
        binaries: Binaries { floor: beside("highwater-floor")?, broker: beside("highwater")? },
        dir: options.places.dir()?,
        rounds: 1,
        names: Vec::new(),
    })
}

/// One round of one build.
fn run(options: &Replicated, broker: &Path, scenario: &Scenario) -> Result<Outcome> {
    let durability = if scenario.durability == Durability::Sync { "sync" } else { "replicated" };
    let nodes = options.places.start(broker, durability, "")?;
    nodes.create_topic(PARTITIONS)?;
    let states = describe(&mut Connection::open(nodes.address(0))?, TOPIC)?;
    let leaders = states.iter().map(|state| nodes.address_of(state.leader.context("a leader")?));
    let leaders: Vec<SocketAddr> = leaders.collect::<Result<_>>()?;
    let mut load = ProduceLoad {
        server: leaders[0],
        pid: 0,
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        connections: PARTITIONS,
        depth: scenario.depth,
        record_bytes: scenario.record_bytes,
        batch_bytes: scenario.batch_bytes,
        requests: scenario.requests / WARM_UP,
    };
    produce_to(&load, &leaders, &nodes.pids())?;
    memory::supply(&options.places.dir()?, NODES as u64 * scenario.bytes())?;
    load.requests = scenario.requests;
    let mut outcome = produce_to(&load, &leaders, &nodes.pids())?;
    if options.to_disk {
        let began = Instant::now();
        rustix::fs::syncfs(File::open(options.places.dir()?)?)?;
        outcome.wall += began.elapsed();
    }
    Ok(outcome)
}

fn row(name: &str, broker: &Path, floor: &[Outcome], cluster: &[Outcome]) -> String {
    let of = |outcomes: &[Outcome], figure: fn(&Outcome) -> f64| {
        median(&outcomes.iter().map(figure).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    };
    let cpu = Outcome::cpu_seconds_per_gib;
    let mut ratios: Vec<f64> =
        floor.iter().zip(cluster).map(|(floor, cluster)| cpu(cluster) / cpu(floor)).collect();
    ratios.sort_by(f64::total_cmp);
    let range = ratios.first().zip(ratios.last()).map(|(least, most)| format!("{least:.2} to {most:.2}"));
    format!(
        "| {name} | {} | {:.2} | {:.2} | {:.2} ({}) | {:.0} | {:.0} | {:.0} | {:.3} |",
        broker.display(),
        of(floor, cpu),
        of(cluster, cpu),
        of(cluster, cpu) / of(floor, cpu),
        range.unwrap_or_default(),
        of(floor, Outcome::mib_per_second),
        of(cluster, Outcome::mib_per_second),
        of(cluster, Outcome::records_per_second),
        of(cluster, Outcome::cpu_micros_per_record),
    )
}
