//! The rounds of a cluster test: a fault, the way back, and the next one; at the end, the reckoning.

use super::lab::{self, Lab};
use super::node::{self, ClusterNode, NodeSetup};
use super::replicas;
use crate::clients::Client;
use crate::ledger::{self, Ledger};
use crate::program::Program;
use crate::record::Record;
use crate::stored::highwater;
use crate::streams::{self, Stream};
use anyhow::{Context, Result, bail};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The clients that produce, all of them with sequence numbers.
pub const PRODUCERS: &[&str] = &["confluent-kafka", "java"];
/// The client that reads at the end.
pub const READER: &str = "confluent-kafka";
const TOPIC: &str = "cluster";
const PARTITIONS: i32 = 6;
/// How long a fault lasts, in milliseconds: shorter and longer than a broker's session.
const FAULT_MS: std::ops::Range<u64> = 500..6000;
/// How long all replicas may take to be in sync again.
const IN_SYNC: Duration = Duration::from_secs(60);
/// How long the others may take to lead what a node led that stands still.
const LED: Duration = Duration::from_secs(20);
/// How often that is asked.
const ASK: Duration = Duration::from_millis(100);
/// How long a round goes on after that, at most, in milliseconds.
const CALM_MS: u64 = 500;

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// A node is killed and started again.
    Kill,
    /// A node stands still and goes on.
    Pause,
    /// A node is stopped as it should be and started again.
    Restart,
    /// A node and the others do not reach each other; clients reach all.
    Isolate,
    /// What a node sends to the others does not arrive; what they send does.
    Mute,
    /// What the others send to a node does not arrive; what it sends does.
    Deafen,
    /// All nodes are killed at once and started again.
    KillAll,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "killed",
            Self::Pause => "paused",
            Self::Restart => "restarted",
            Self::Isolate => "cut off from the others",
            Self::Mute => "not heard by the others",
            Self::Deafen => "hearing nothing of the others",
            Self::KillAll => "killed, and all others",
        })
    }
}

/// What a cluster test does.
#[derive(Clone, Debug)]
pub struct ClusterTest {
    /// How many faults there are.
    pub rounds: u32,
    /// How many nodes.
    pub nodes: u8,
    /// The faults to draw from; all that are possible if none is named.
    pub faults: Vec<Fault>,
    /// Draws the faults and their moments.
    pub seed: u64,
}

/// What a cluster test saw.
#[derive(Debug)]
pub struct Seen {
    /// What every stream was told.
    pub ledgers: Vec<Ledger>,
    /// What the log held at the end.
    pub log: Vec<Record>,
}

/// A cluster while it is tested.
struct Trial<'a> {
    test: &'a ClusterTest,
    nodes: Vec<ClusterNode>,
    lab: Option<Lab>,
    rng: ChaCha8Rng,
    binary: &'a Path,
    bootstrap: String,
}

impl ClusterTest {
    /// Runs it. The nodes' logs are part of any error.
    pub fn run(&self, binary: &Path, cache: &Path, dir: &Path) -> Result<Seen> {
        let lab = if lab::is_entered() { Some(Lab::build(self.nodes, dir)?) } else { None };
        let address = lab.as_ref().map(|_| lab::address as fn(u8) -> std::net::IpAddr);
        let setups = node::setups(self.nodes, binary, dir, address)?;
        let cluster = highwater(binary, &["cluster", "new-id"])?;
        let cluster: Value = serde_json::from_str(&cluster)?;
        for setup in &setups {
            setup.configure(cluster["cluster_id"].as_str().context("a cluster's id")?, &setups)?;
        }
        let logs: Vec<_> = setups.iter().map(|setup| (setup.id, setup.log())).collect();
        let bootstrap: Vec<String> = setups.iter().map(|setup| setup.kafka.to_string()).collect();
        let mut trial = Trial {
            test: self,
            nodes: setups.into_iter().map(ClusterNode::new).collect(),
            lab,
            rng: ChaCha8Rng::seed_from_u64(self.seed),
            binary,
            bootstrap: bootstrap.join(","),
        };
        trial.run(cache, dir).with_context(|| {
            let tails = logs.iter().map(|(id, log)| crate::process::tail(&format!("node {id}"), log));
            tails.collect::<String>()
        })
    }
}

impl Trial<'_> {
    fn run(&mut self, cache: &Path, dir: &Path) -> Result<Seen> {
        let started = Instant::now();
        self.start_all()?;
        let factor = self.nodes.len().min(3);
        self.highwater(&[
            "topic",
            "create",
            TOPIC,
            "--partitions",
            &PARTITIONS.to_string(),
            "--replication-factor",
            &factor.to_string(),
        ])?;
        self.await_in_sync(factor)?;
        println!("{} nodes in sync after {} ms", self.nodes.len(), started.elapsed().as_millis());
        let mut streams = PRODUCERS
            .iter()
            .map(|client| Stream::start(client, true, (TOPIC, PARTITIONS), cache, dir, &self.bootstrap))
            .collect::<Result<Vec<_>>>()?;
        streams::await_progress(&mut streams, &[0; PRODUCERS.len()])?;

        let mut deck = Vec::new();
        for round in 1..=self.test.rounds {
            let fault = self.draw(&mut deck);
            let place = self.rng.random_range(0..self.nodes.len());
            let what = format!("round {round}: node {} {fault}", place + 1);
            self.round(&what, (fault, place), factor, &mut streams).context(what)?;
        }

        let ledgers = streams::stop(&mut streams)?;
        self.await_in_sync(factor)?;
        let log = self.read(cache, dir)?;
        self.reckon(&log, factor, cache, dir)?;
        Ok(Seen { ledgers, log })
    }

    /// The next fault: each in turn, in an order that is drawn anew each time round.
    fn draw(&mut self, deck: &mut Vec<Fault>) -> Fault {
        if deck.is_empty() {
            deck.extend(&self.test.faults);
        }
        if deck.is_empty() {
            deck.extend([Fault::Kill, Fault::Pause, Fault::Restart, Fault::KillAll]);
            if self.lab.is_some() && self.nodes.len() > 1 {
                deck.extend([Fault::Isolate, Fault::Mute, Fault::Deafen]);
            }
            deck.shuffle(&mut self.rng);
            // A test of a few rounds shall not do without these.
            deck.sort_by_key(|fault| matches!(fault, Fault::Kill | Fault::Isolate));
        }
        deck.pop().unwrap_or(Fault::Kill)
    }

    fn round(
        &mut self,
        what: &str,
        (fault, place): (Fault, usize),
        factor: usize,
        streams: &mut [Stream],
    ) -> Result<()> {
        let started = Instant::now();
        let lasts = Duration::from_millis(self.rng.random_range(FAULT_MS));
        let before = streams::lengths(streams)?;
        self.begin(fault, place)?;
        // The others must do without it for as long as it is missing.
        let goes_on = fault != Fault::KillAll && self.nodes.len() > 2;
        let went_on = if goes_on {
            if fault == Fault::Pause {
                self.await_led_by_others(place)?;
            }
            streams::await_progress(streams, &before)
                .with_context(|| format!("while one node was missing\n{}", self.what_nodes_say()))?;
            format!("producers went on after {} ms, ", started.elapsed().as_millis())
        } else {
            String::new()
        };
        thread::sleep(lasts.saturating_sub(started.elapsed()));
        let healed = Instant::now();
        self.end(fault, place)?;
        let before = streams::lengths(streams)?;
        self.await_in_sync(factor)?;
        let in_sync = healed.elapsed();
        streams::await_progress(streams, &before)
            .with_context(|| format!("after the fault\n{}", self.what_nodes_say()))?;
        let all = healed.elapsed();
        thread::sleep(Duration::from_millis(self.rng.random_range(0..CALM_MS)));
        println!(
            "{what} for {} ms, {went_on}then in sync after {} ms, all producers after {} ms",
            (healed - started).as_millis(),
            in_sync.as_millis(),
            all.as_millis()
        );
        Ok(())
    }

    fn begin(&mut self, fault: Fault, place: usize) -> Result<()> {
        match fault {
            Fault::Kill => self.nodes[place].kill(),
            Fault::Pause => self.nodes[place].pause(true),
            Fault::Restart => self.nodes[place].stop(),
            Fault::KillAll => self.nodes.iter_mut().try_for_each(ClusterNode::kill),
            Fault::Isolate | Fault::Mute | Fault::Deafen => self.cut(fault, place, true),
        }
    }

    fn end(&mut self, fault: Fault, place: usize) -> Result<()> {
        match fault {
            Fault::Kill | Fault::Restart => {
                self.nodes[place].start(self.lab.as_mut())?;
                self.nodes[place].wait_until_ready()
            }
            Fault::Pause => self.nodes[place].pause(false),
            Fault::KillAll => self.start_all(),
            Fault::Isolate | Fault::Mute | Fault::Deafen => self.cut(fault, place, false),
        }
    }

    fn cut(&mut self, fault: Fault, place: usize, is_cut: bool) -> Result<()> {
        let lab = self.lab.as_mut().context("a network")?;
        let one = self.nodes[place].setup().id;
        for other in self.nodes.iter().map(|node| node.setup().id).filter(|other| *other != one) {
            if fault != Fault::Deafen {
                lab.cut(one, other, is_cut)?;
            }
            if fault != Fault::Mute {
                lab.cut(other, one, is_cut)?;
            }
        }
        Ok(())
    }

    fn start_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.start(self.lab.as_mut())?;
        }
        self.nodes.iter_mut().try_for_each(ClusterNode::wait_until_ready)
    }

    /// Waits until all replicas of every partition are in sync, and the preferred one leads it. What one node leads all
    /// of is lost to librdkafka while that node stands still: connected to no other, it asks none who leads.
    fn await_in_sync(&mut self, factor: usize) -> Result<()> {
        let deadline = Instant::now() + IN_SYNC;
        loop {
            let described = self.highwater(&["topic", "describe", TOPIC]);
            let problem = match &described {
                Ok(described) => out_of_sync(described, factor),
                Err(error) => Some(error.to_string()),
            };
            let Some(problem) = problem else { return Ok(()) };
            self.nodes.iter_mut().try_for_each(ClusterNode::expect_running)?;
            if Instant::now() > deadline {
                bail!("not in sync after {IN_SYNC:?}: {problem}");
            }
            thread::sleep(ASK);
        }
    }

    /// Waits until the others lead every partition.
    fn await_led_by_others(&self, place: usize) -> Result<()> {
        let others = self.nodes.iter().enumerate().filter(|(at, _)| *at != place);
        let others: Vec<String> = others.map(|(_, node)| node.setup().kafka.to_string()).collect();
        let missing = u64::from(self.nodes[place].setup().id);
        let deadline = Instant::now() + LED;
        loop {
            let arguments =
                ["topic", "describe", TOPIC, "--bootstrap", &others.join(","), "--timeout-ms", "1000"];
            // Fails while it leads: it would be asked how long its logs are.
            let told = highwater(self.binary, &arguments);
            if let Ok(told) = &told {
                let told: Value = serde_json::from_str(told)?;
                let partitions = told["partitions"].as_array().map_or(&[][..], Vec::as_slice);
                let elsewhere =
                    |partition: &Value| partition["leader"].as_u64().is_some_and(|id| id != missing);
                if !partitions.is_empty() && partitions.iter().all(elsewhere) {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                bail!("node {missing} stands still, and after {LED:?} it leads still: {told:?}");
            }
            thread::sleep(ASK);
        }
    }

    fn highwater(&self, arguments: &[&str]) -> Result<Value> {
        let bootstrap = ["--bootstrap", &self.bootstrap, "--timeout-ms", "5000"];
        let printed = highwater(self.binary, &[arguments, &bootstrap].concat())?;
        serde_json::from_str(&printed).with_context(|| format!("what {arguments:?} printed: {printed:?}"))
    }

    /// Leaders and in-sync sets as each node alone tells them: the state of things when something is stuck.
    fn what_nodes_say(&self) -> String {
        let of = |node: &ClusterNode| {
            let address = node.setup().kafka.to_string();
            let arguments = ["topic", "describe", TOPIC, "--bootstrap", &address, "--timeout-ms", "3000"];
            let told = highwater(self.binary, &arguments)
                .and_then(|printed| Ok(serde_json::from_str::<Value>(&printed)?))
                .map(|told| {
                    let partitions = told["partitions"].as_array().map_or(&[][..], Vec::as_slice);
                    let word = |partition: &Value| {
                        let [number, leader, epoch, in_sync, end] =
                            ["partition", "leader", "leader_epoch", "in_sync", "end_offset"]
                                .map(|key| partition[key].to_string());
                        format!("{number}: leader {leader} epoch {epoch} in sync {in_sync} end {end}")
                    };
                    partitions.iter().map(word).collect::<Vec<_>>().join("; ")
                });
            format!("node {} says: {}\n", node.setup().id, told.unwrap_or_else(|error| format!("{error:#}")))
        };
        self.nodes.iter().map(of).collect()
    }

    fn read(&self, cache: &Path, dir: &Path) -> Result<Vec<Record>> {
        let mut log = Program::start(READER, cache, dir, &self.bootstrap)?.consume(TOPIC, PARTITIONS)?;
        log.sort_by_key(|record| (record.partition, record.offset));
        Ok(log)
    }

    /// Whether the log is the same after all nodes were killed once more, and the same on every replica's disk.
    fn reckon(&mut self, log: &[Record], factor: usize, cache: &Path, dir: &Path) -> Result<()> {
        let id =
            self.highwater(&["topic", "describe", TOPIC])?["id"].as_str().context("a topic's id")?.to_owned();
        self.begin(Fault::KillAll, 0)?;
        self.end(Fault::KillAll, 0)?;
        self.await_in_sync(factor)?;
        if self.read(cache, dir)? != log {
            bail!("the log holds something else after all nodes were killed once more");
        }
        self.nodes.iter_mut().try_for_each(ClusterNode::stop)?;
        let mut ends: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
        ends.extend(log.iter().map(|record| (record.partition, record.offset + 1)));
        let setups: Vec<&NodeSetup> = self.nodes.iter().map(ClusterNode::setup).collect();
        let read = |setup: &&NodeSetup| Ok((setup.id, replicas::read(setup, &id)?));
        let replicas = setups.iter().map(read).collect::<Result<Vec<_>>>()?;
        replicas::check(&replicas, &ends, factor)
    }
}

/// What is wrong with a described topic, if anything is.
fn out_of_sync(described: &Value, factor: usize) -> Option<String> {
    let partitions = described["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    if partitions.len() != usize::try_from(PARTITIONS).unwrap_or(0) {
        return Some(format!("{} partitions are known", partitions.len()));
    }
    let bad = partitions.iter().find(|partition| {
        partition["leader"].is_null()
            || partition["leader"] != partition["replicas"][0]
            || partition["in_sync"].as_array().is_none_or(|all| all.len() != factor)
    });
    bad.map(|partition| format!("{partition}"))
}

/// The violations of what clients were told.
pub fn verify(seen: &Seen) -> Vec<ledger::Violation> {
    ledger::verify(&seen.ledgers, &seen.log)
}
