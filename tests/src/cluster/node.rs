//! A node of a cluster of real processes.

use super::lab::Lab;
use crate::broker::probe;
use crate::process::Process;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long a node may take to answer, recovery and the way into its cluster included.
const START: Duration = Duration::from_secs(60);
/// How long a node may take to end when asked to.
const STOP: Duration = Duration::from_secs(60);

/// Shorter times than the defaults, so that a round shows in seconds what they would in minutes.
const SETTINGS: &str = "\
broker.session.timeout.ms = 3000
broker.heartbeat.interval.ms = 500
replica.lag.time.max.ms = 3000
leader.imbalance.check.interval.seconds = 1
leader.imbalance.per.broker.percentage = 0
";

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// Its number, from 1.
    pub id: u8,
    /// The binary.
    pub binary: PathBuf,
    /// Where its configuration, its data and its log lie.
    pub dir: PathBuf,
    /// Where clients connect.
    pub kafka: SocketAddr,
    /// Where other nodes connect.
    pub internal: SocketAddr,
}

/// A node that may run or not.
pub struct ClusterNode {
    setup: NodeSetup,
    process: Option<Process>,
}

impl NodeSetup {
    /// Where its data lies.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where its log is written.
    pub fn log(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    /// Writes its configuration file: in a cluster of these voters.
    pub fn configure(&self, cluster: &str, voters: &[Self]) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        let data = self.data();
        let data = data.to_str().context("a path that is text")?;
        let settings = if voters.len() > 1 { SETTINGS } else { "" };
        let voters: Vec<String> =
            voters.iter().map(|voter| format!("\"{}@{}\"", voter.id, voter.internal)).collect();
        let config = format!(
            "node_id = {}\ncluster_id = {cluster:?}\ndata_dir = {data:?}\nrack = \"r{0}\"\nvoters = [{}]\n\n\
             [listener]\nlisten = \"{}\"\n\n[internal]\nlisten = \"{}\"\n\n[admin]\nlisten = \"\"\n\n\
             [kafka]\n{settings}",
            self.id,
            voters.join(", "),
            self.kafka,
            self.internal,
        );
        fs::write(self.file(), config)?;
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.dir.join("node.toml")
    }
}

impl ClusterNode {
    /// A node that does not run yet.
    pub fn new(setup: NodeSetup) -> Self {
        Self { setup, process: None }
    }

    /// How it is set up.
    pub fn setup(&self) -> &NodeSetup {
        &self.setup
    }

    /// Starts it, on its machine if there is a network.
    pub fn start(&mut self, lab: Option<&mut Lab>) -> Result<()> {
        let binary = &self.setup.binary;
        let mut command = match lab {
            Some(lab) => lab.command_on(self.setup.id, binary)?,
            None => Command::new(binary),
        };
        command.arg("serve").arg("--config").arg(self.setup.file());
        let name = format!("node {}", self.setup.id);
        self.process = Some(Process::start(command, &name, &self.setup.log(), false)?);
        Ok(())
    }

    /// Waits until it answers clients.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let Err(error) = probe(self.setup.kafka) else { return Ok(()) };
            if let Some(status) = self.process()?.ended()? {
                bail!("node {} ended by itself: {status}", self.setup.id);
            }
            if Instant::now() > deadline {
                return Err(error)
                    .with_context(|| format!("node {}: no answer for {START:?}", self.setup.id));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) -> Result<()> {
        self.expect_running()?;
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Asks it to end, and expects it to.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process()?.terminate(STOP)?;
        self.process = None;
        if !status.success() {
            bail!("node {} was asked to end and did so with {status}", self.setup.id);
        }
        Ok(())
    }

    /// Stops its clock and all else, or lets it go on.
    pub fn pause(&mut self, paused: bool) -> Result<()> {
        self.expect_running()?;
        self.process()?.signal(if paused { Signal::STOP } else { Signal::CONT })
    }

    /// Fails if it ended by itself.
    pub fn expect_running(&mut self) -> Result<()> {
        let id = self.setup.id;
        match self.process()?.ended()? {
            Some(status) => bail!("node {id} ended by itself: {status}"),
            None => Ok(()),
        }
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().with_context(|| format!("node {} runs", self.setup.id))
    }
}

/// The setups of so many nodes: each at the standard ports of its own address, or at ports of this machine that were
/// free a moment ago.
pub fn setups(
    nodes: u8,
    binary: &Path,
    dir: &Path,
    address: Option<fn(u8) -> IpAddr>,
) -> Result<Vec<NodeSetup>> {
    (1..=nodes)
        .map(|id| {
            let at = |port| match address {
                Some(address) => Ok(SocketAddr::new(address(id), port)),
                None => crate::broker::free_address(),
            };
            let dir = dir.join(format!("node-{id}"));
            Ok(NodeSetup { id, binary: binary.to_path_buf(), dir, kafka: at(9092)?, internal: at(9093)? })
        })
        .collect()
}
