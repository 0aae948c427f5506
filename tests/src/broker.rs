//! A node of the real binary, as its users run it: a configuration file, a data directory, a process.

use crate::process::Process;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long a node may take to answer its first request, recovery included.
const START: Duration = Duration::from_secs(30);
/// How long a node may take to end when asked to.
const STOP: Duration = Duration::from_secs(30);
/// How many partitions a topic has that is made by using it.
pub const AUTOMATIC_PARTITIONS: i32 = 4;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct BrokerSetup {
    /// The binary.
    pub binary: PathBuf,
    /// Where its configuration, its data and its log lie.
    pub dir: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where clients are told to connect, if not there.
    pub advertised: Option<SocketAddr>,
}

/// A running node.
pub struct Broker {
    setup: BrokerSetup,
    process: Process,
}

impl Broker {
    /// Starts a node and waits until it answers.
    pub fn start(setup: BrokerSetup) -> Result<Self> {
        let mut broker = Self::start_without_waiting(setup)?;
        broker.wait_until_ready()?;
        Ok(broker)
    }

    /// Starts a node.
    pub fn start_without_waiting(setup: BrokerSetup) -> Result<Self> {
        fs::create_dir_all(&setup.dir)?;
        let config = setup.dir.join("node.toml");
        fs::write(&config, setup.config()?)?;
        let mut command = Command::new(&setup.binary);
        command.arg("serve").arg("--config").arg(&config);
        let process = Process::start(command, "the broker", &setup.dir.join("broker.log"), false)?;
        Ok(Self { setup, process })
    }

    /// Waits until the node answers.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let Err(error) = probe(self.setup.listen) else { return Ok(()) };
            if let Some(status) = self.process.ended()? {
                bail!("the broker ended by itself: {status}");
            }
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("the broker did not answer for {START:?}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.setup.listen
    }

    /// How to start it again.
    pub fn setup(&self) -> &BrokerSetup {
        &self.setup
    }

    /// Ends it at once, as a crash does.
    pub fn kill(mut self) -> Result<BrokerSetup> {
        if let Some(status) = self.process.ended()? {
            bail!("the broker ended by itself: {status}");
        }
        self.process.kill()?;
        Ok(self.setup)
    }

    /// Asks it to end, and expects it to.
    pub fn stop(mut self) -> Result<BrokerSetup> {
        let status = self.process.terminate(STOP)?;
        if !status.success() {
            bail!("the broker was asked to end and did so with {status}");
        }
        Ok(self.setup)
    }
}

impl BrokerSetup {
    /// A setup with a fresh data directory in `dir` and a port that was free a moment ago.
    pub fn fresh(binary: &Path, dir: &Path) -> Result<Self> {
        let dir = dir.to_path_buf();
        Ok(Self { binary: binary.to_path_buf(), dir, listen: free_address()?, advertised: None })
    }

    /// Where its log is written.
    pub fn log(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    /// Where its data lies.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn config(&self) -> Result<String> {
        let data = self.data();
        let data = data.to_str().context("a path that is text")?;
        let mut config = format!("data_dir = {data:?}\n\n[listener]\nlisten = \"{}\"\n", self.listen);
        if let Some(advertised) = self.advertised {
            writeln!(config, "advertised = \"{advertised}\"")?;
        }
        writeln!(config, "\n[admin]\nlisten = \"\"\n\n[kafka]\nnum.partitions = {AUTOMATIC_PARTITIONS}")?;
        // Members of the new protocol are told how long their sessions are; those of the classic one say it.
        config.push_str(
            "group.consumer.session.timeout.ms = 6000\ngroup.consumer.heartbeat.interval.ms = 500\n",
        );
        Ok(config)
    }
}

/// An address of this machine that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?)
}

/// Connects and asks for the API versions: a node that answers is ready.
pub fn probe(address: SocketAddr) -> Result<()> {
    /// More than any answer to this request.
    const MOST: i32 = 1 << 20;
    /// Length 10, ApiVersions 18, version 0, correlation id 7, no client id.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255];
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&REQUEST)?;
    let mut head = [0; 10];
    stream.read_exact(&mut head)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3, e0, e1] = head;
    let length = i32::from_be_bytes([l0, l1, l2, l3]);
    let correlation = i32::from_be_bytes([c0, c1, c2, c3]);
    let error = i16::from_be_bytes([e0, e1]);
    if !(6..=MOST).contains(&length) || correlation != 7 || error != 0 {
        bail!("ApiVersions answered with length {length}, correlation id {correlation}, error {error}");
    }
    Ok(())
}
