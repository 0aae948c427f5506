//! A broker that is killed over and over while stock clients produce.
//!
//! A kill keeps the page cache: this proves recovery and the producers' state, not what a power loss takes. The
//! simulator does that.

use crate::broker::{Broker, BrokerSetup};
use crate::clients::Client;
use crate::ledger::{self, Ledger, Violation};
use crate::program::Program;
use crate::record::Record;
use crate::streams::{Stream, await_progress, lengths, stop, told_so_far};
use anyhow::{Context, Result, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The clients that produce here, in both ways.
pub const PRODUCERS: &[&str] = &["confluent-kafka", "franz-go", "java"];
/// The client that makes the topic and reads it.
pub const READER: &str = "confluent-kafka";
const TOPIC: &str = "crash";
const PARTITIONS: i32 = 3;
/// How long the broker lives on after that, at most.
const LONGEST_LIFE_MS: u64 = 500;
/// Every so manyth round kills the broker while it starts, too.
const EARLY_KILL: u32 = 5;
/// How long it has lived then, at most.
const EARLIEST_MS: u64 = 60;
/// How many violations are shown when a producer is stuck.
const SHOWN: usize = 10;

/// What a crash test does.
#[derive(Clone, Debug)]
pub struct CrashTest {
    /// How often the broker is killed.
    pub rounds: u32,
    /// Draws the moments.
    pub seed: u64,
}

/// What a crash test saw.
#[derive(Debug)]
pub struct Seen {
    /// What every stream was told.
    pub ledgers: Vec<Ledger>,
    /// What the log held at the end.
    pub log: Vec<Record>,
    /// Rounds in which the broker was killed before it was ready.
    pub early_kills: u32,
}

impl CrashTest {
    /// Runs it. The broker's log is part of any error.
    pub fn run(&self, binary: &Path, cache: &Path, dir: &Path) -> Result<Seen> {
        let setup = BrokerSetup::fresh(binary, dir)?;
        let log = setup.log();
        self.rounds(setup, cache, dir).with_context(|| crate::process::tail("the broker", &log))
    }

    fn rounds(&self, setup: BrokerSetup, cache: &Path, dir: &Path) -> Result<Seen> {
        let mut broker = Some(Broker::start(setup)?);
        let address = broker.as_ref().map(Broker::address).context("a broker was just started")?;
        let mut reader = Program::start(READER, cache, dir, address)?;
        reader.create_topic(TOPIC, PARTITIONS)?;
        let mut streams = start_streams(cache, dir, address)?;
        await_progress(&mut streams, &[0; 2 * PRODUCERS.len()])?;

        let early_kills = match self.kill_over_and_over(&mut broker, &mut streams) {
            Ok(early_kills) => early_kills,
            Err(error) if broker.is_some() => return Err(error.context(post_mortem(&streams, &mut reader))),
            Err(error) => return Err(error),
        };

        let ledgers = stop(&mut streams)?;
        let log = reader.consume(TOPIC, PARTITIONS)?;
        let broker = broker.context("the broker runs after the last round")?;
        let broker = Broker::start(broker.kill()?)?;
        let again = reader.consume(TOPIC, PARTITIONS)?;
        if sorted(&log) != sorted(&again) {
            bail!("the log holds something else after one more kill");
        }
        broker.stop()?;
        Ok(Seen { ledgers, log, early_kills })
    }

    /// The rounds. Returns in how many of them the broker was killed while it started; without a broker, it is the
    /// broker that failed.
    fn kill_over_and_over(&self, running: &mut Option<Broker>, streams: &mut [Stream]) -> Result<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut early_kills = 0;
        for round in 1..=self.rounds {
            let started = Instant::now();
            let before = lengths(streams)?;
            let broker = running.take().context("a broker to kill")?;
            let setup = broker.kill().with_context(|| format!("round {round}"))?;
            let mut broker = Broker::start_without_waiting(setup)?;
            let early = round.is_multiple_of(EARLY_KILL);
            if early {
                early_kills += 1;
                thread::sleep(Duration::from_millis(rng.random_range(0..EARLIEST_MS)));
                broker =
                    Broker::start_without_waiting(broker.kill().with_context(|| format!("round {round}"))?)?;
            }
            broker.wait_until_ready().with_context(|| format!("round {round}"))?;
            *running = Some(broker);
            let ready = started.elapsed();
            await_progress(streams, &before).with_context(|| format!("round {round}"))?;
            let progress = started.elapsed();
            thread::sleep(Duration::from_millis(rng.random_range(0..LONGEST_LIFE_MS)));
            println!(
                "round {round}: {}ready after {} ms, all producers went on after {} ms, {} ms in all",
                if early { "killed while it started, " } else { "" },
                ready.as_millis(),
                progress.as_millis(),
                started.elapsed().as_millis()
            );
        }
        Ok(early_kills)
    }
}

/// What is lost by the time that a producer is stuck. A producer whose acknowledged batches are gone is told that its
/// next ones are out of order, and gives up: that alone would not say why.
fn post_mortem(streams: &[Stream], reader: &mut Program) -> String {
    let mut look = || -> Result<Vec<Violation>> {
        // First what was acknowledged, then the log: in the meantime it may only grow.
        let ledgers = told_so_far(streams)?;
        Ok(ledger::verify(&ledgers, &reader.consume(TOPIC, PARTITIONS)?))
    };
    match look() {
        Ok(violations) if violations.is_empty() => "nothing that was acknowledged is lost so far".to_owned(),
        Ok(violations) => {
            let shown: Vec<String> = violations.iter().take(SHOWN).map(ToString::to_string).collect();
            format!("{} violations so far, among them\n{}\n", violations.len(), shown.join("\n"))
        }
        Err(error) => format!("what was acknowledged could not be checked: {error:#}"),
    }
}

fn start_streams(cache: &Path, dir: &Path, address: SocketAddr) -> Result<Vec<Stream>> {
    let modes = PRODUCERS.iter().flat_map(|client| [(client, true), (client, false)]);
    modes
        .map(|(client, idempotent)| {
            Stream::start(client, idempotent, (TOPIC, PARTITIONS), cache, dir, address)
        })
        .collect()
}

fn sorted(log: &[Record]) -> Vec<&Record> {
    let mut log: Vec<_> = log.iter().collect();
    log.sort_by_key(|record| (record.partition, record.offset));
    log
}
