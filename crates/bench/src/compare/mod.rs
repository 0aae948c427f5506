//! The comparison: floor and broker in turn, round after round, and the ratio of their medians.

mod contender;
mod scenario;
mod table;

pub use contender::Binaries;
pub use scenario::{SCENARIOS, Scenario};

use crate::load::{self, ConsumeLoad, Outcome, ProduceLoad};
use crate::memory;
use crate::process::{Server, resident_bytes};
use crate::stats::median;
use anyhow::{Context, Result, ensure};
use contender::{Contender, Site};
use scenario::Kind;
use std::path::PathBuf;
use std::time::Duration;
use table::Row;

/// The topic that is written and read.
const TOPIC: &str = "bench";

/// How long a broker is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(1);

/// What to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// The programs.
    pub binaries: Binaries,
    /// A folder for data; what is in it is removed.
    pub dir: PathBuf,
    /// How many rounds.
    pub rounds: usize,
    /// Which scenarios; all if empty.
    pub names: Vec<String>,
}

/// Runs the scenarios and prints their tables.
pub fn compare(options: &Options) -> Result<()> {
    let wanted = |name: &str| options.names.is_empty() || options.names.iter().any(|wanted| wanted == name);
    let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).chain([START_UP]).collect();
    for name in &options.names {
        ensure!(
            known.contains(&name.as_str()),
            "there is no scenario {name:?}; there are: {}",
            known.join(", ")
        );
    }
    println!("{}", table::HEADING);
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.name)) {
        let row = compare_one(options, scenario).with_context(|| scenario.name)?;
        println!("{row}");
    }
    if wanted(START_UP) {
        println!("\n{}", start_up(options).context(START_UP)?);
    }
    Ok(())
}

fn compare_one(options: &Options, scenario: &Scenario) -> Result<Row> {
    let mut row = Row::new(scenario.name);
    for round in 0..options.rounds {
        for contender in [Contender::Floor, Contender::Broker] {
            let outcome = run(options, scenario, contender)
                .with_context(|| format!("{contender:?}, round {}", round + 1))?;
            row.add(contender, outcome);
        }
    }
    Ok(row)
}

/// One round of the floor alone.
pub(crate) fn run_floor(options: &Options, scenario: &Scenario) -> Result<Outcome> {
    run(options, scenario, Contender::Floor)
}

/// One round of one contender, on an empty folder.
fn run(options: &Options, scenario: &Scenario, contender: Contender) -> Result<Outcome> {
    let site = Site::prepare(&options.dir, scenario)?;
    memory::supply(&options.dir, scenario.bytes())?;
    let (mut server, address) = site.start(&options.binaries, contender)?;
    load::wait_until_ready(address, contender == Contender::Broker, || server.check_running())?;
    if contender == Contender::Broker {
        load::create_topic(address, TOPIC, scenario.partitions, 1)?;
    }
    let produce = |server: &Server| {
        load::produce(&ProduceLoad {
            server: address,
            pid: server.pid(),
            topic: TOPIC.to_owned(),
            partitions: scenario.partitions,
            connections: scenario.connections,
            depth: scenario.depth,
            record_bytes: scenario.record_bytes,
            batch_bytes: scenario.batch_bytes,
            requests: scenario.requests,
        })
    };
    let produced = produce(&server)?;
    let (passes, again) = match scenario.kind {
        Kind::Produce => {
            server.stop()?;
            return Ok(produced);
        }
        Kind::ConsumeHot { passes } => (passes, false),
        // The floor is told to check; a broker forgets what it appended itself when it is started again.
        Kind::ConsumeCold => (1, contender == Contender::Broker),
    };
    let mut address = address;
    if again {
        server.stop()?;
        (server, address) = site.start(&options.binaries, contender)?;
        load::wait_until_ready(address, true, || server.check_running())?;
    }
    let mut sum = Outcome::default();
    for _ in 0..passes {
        let outcome = load::consume(&ConsumeLoad {
            server: address,
            pid: server.pid(),
            topic: TOPIC.to_owned(),
            partitions: scenario.partitions,
            max_bytes: scenario::FETCH_BYTES,
        })?;
        ensure!(outcome.records == produced.records, "{} of {} records", outcome.records, produced.records);
        sum.add(&outcome);
    }
    server.stop()?;
    Ok(sum)
}

/// The name that the start-up measurement is chosen by.
const START_UP: &str = "start-up";

/// How long a broker takes from nothing to its first answer, and what it holds then.
fn start_up(options: &Options) -> Result<String> {
    let mut first = Vec::new();
    let mut again = Vec::new();
    let mut idle = Vec::new();
    for _ in 0..options.rounds.max(1) {
        let site = Site::prepare(&options.dir, &SCENARIOS[0])?;
        for times in [&mut first, &mut again] {
            let (mut server, address) = site.start(&options.binaries, Contender::Broker)?;
            load::wait_until_ready(address, true, || server.check_running())?;
            times.push(server.age().as_secs_f64() * 1e3);
            std::thread::sleep(IDLE);
            idle.push(resident_bytes(server.pid())? as f64 / f64::from(1 << 20));
            server.stop()?;
        }
    }
    let binary = std::fs::metadata(&options.binaries.broker)?.len() as f64 / f64::from(1 << 20);
    let median = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    Ok(format!(
        "| of the broker alone | |\n|---|---|\n\
         | start to first answer, empty folder | {:.1} ms |\n\
         | start to first answer, its own folder | {:.1} ms |\n\
         | idle memory | {:.1} MiB |\n\
         | binary | {binary:.1} MiB |",
        median(&first),
        median(&again),
        median(&idle),
    ))
}
