//! The processes of a cluster on this machine.

use super::{NODES, TOPIC};
use crate::load::{Connection, create_topic, wait_for_topic, wait_until_ready};
use crate::process::Server;
use anyhow::{Context, Result};
use highwater_types::{BrokerId, ClusterId, Uuid};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the nodes of a cluster are set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The binary.
    pub broker: PathBuf,
    /// A folder for configurations, data and logs; what is in it is removed.
    pub dir: PathBuf,
    /// How many nodes.
    pub count: usize,
    /// `durability` of topics.
    pub durability: &'static str,
    /// Further lines of the configuration's section `[kafka]`.
    pub kafka: String,
}

/// The nodes of a cluster, each of them a voter and a broker. They are killed when dropped.
pub struct Nodes {
    setup: Setup,
    nodes: Vec<Node>,
}

struct Node {
    kafka: SocketAddr,
    server: Option<Server>,
}

impl Nodes {
    /// Starts them in an empty folder, and waits until all answer.
    pub fn start(setup: Setup) -> Result<Self> {
        match fs::remove_dir_all(&setup.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // Held until all are known, so that none is given out twice.
        let listeners = (0..2 * setup.count)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        drop(listeners);
        let (kafka, internal) = addresses.split_at(setup.count);
        let cluster = ClusterId(Uuid::from_random(u128::from(std::process::id())));
        for (at, &address) in kafka.iter().enumerate() {
            fs::create_dir_all(dir_of(&setup, at))?;
            fs::write(file_of(&setup, at), configuration(&setup, &cluster, at, address, internal)?)?;
        }
        let nodes = kafka.iter().map(|&kafka| Node { kafka, server: None }).collect();
        let mut all = Self { setup, nodes };
        for at in 0..all.nodes.len() {
            all.launch(at)?;
        }
        for at in 0..all.nodes.len() {
            all.wait(at)?;
        }
        Ok(all)
    }

    /// How many there are, running or not.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Where clients reach a node.
    pub fn address(&self, at: usize) -> SocketAddr {
        self.nodes[at].kafka
    }

    /// Where clients reach a broker.
    pub fn address_of(&self, id: BrokerId) -> Result<SocketAddr> {
        let at = usize::try_from(id.0 - 1).ok().filter(|&at| at < self.nodes.len());
        Ok(self.address(at.with_context(|| format!("broker {id} is none of ours"))?))
    }

    /// The processes of those that run.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| Some(node.server.as_ref()?.pid())).collect()
    }

    /// A connection to a node.
    pub fn connect(&self, at: usize) -> Result<Connection> {
        Connection::open(self.address(at))
    }

    /// Makes the topic, and waits until every node knows it, with all replicas in sync.
    pub fn create_topic(&self, partitions: usize) -> Result<()> {
        create_topic(self.address(0), TOPIC, partitions, NODES as i16)?;
        (1..self.count()).try_for_each(|at| wait_for_topic(self.address(at), TOPIC, partitions, NODES as i16))
    }

    /// Ends a node at once, as a crash does.
    pub fn kill(&mut self, at: usize) {
        self.nodes[at].server = None;
    }

    /// Asks a node to end, and waits until it has.
    pub fn stop(&mut self, at: usize) -> Result<()> {
        self.nodes[at].server.take().context("a node that runs")?.stop()
    }

    /// Starts a node again, and waits until it answers.
    pub fn restart(&mut self, at: usize) -> Result<()> {
        self.launch(at)?;
        self.wait(at)
    }

    fn launch(&mut self, at: usize) -> Result<()> {
        let mut command = Command::new(&self.setup.broker);
        command.args(["serve", "--config"]).arg(file_of(&self.setup, at));
        let log = dir_of(&self.setup, at).join("server.log");
        self.nodes[at].server = Some(Server::start(&mut command, log)?);
        Ok(())
    }

    fn wait(&mut self, at: usize) -> Result<()> {
        let node = &mut self.nodes[at];
        let server = node.server.as_mut().context("a node that runs")?;
        wait_until_ready(node.kafka, true, || server.check_running())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.nodes.clear();
        // What cannot be removed now is removed before the next run.
        let _ = fs::remove_dir_all(&self.setup.dir);
    }
}

fn dir_of(setup: &Setup, at: usize) -> PathBuf {
    setup.dir.join(format!("node-{}", at + 1))
}

fn file_of(setup: &Setup, at: usize) -> PathBuf {
    dir_of(setup, at).join("node.toml")
}

fn configuration(
    setup: &Setup,
    cluster: &ClusterId,
    at: usize,
    kafka: SocketAddr,
    internal: &[SocketAddr],
) -> Result<String> {
    let data = dir_of(setup, at).join("data");
    let data = data.to_str().map(Path::new).context("a path that is text")?;
    let voters: Vec<String> =
        (1..).zip(internal).map(|(id, address): (usize, _)| format!("\"{id}@{address}\"")).collect();
    Ok(format!(
        "node_id = {}\ncluster_id = \"{cluster}\"\ndata_dir = {data:?}\nvoters = [{}]\ndurability = \"{}\"\n\
         [listener]\nlisten = \"{kafka}\"\n[internal]\nlisten = \"{}\"\n[admin]\nlisten = \"\"\n\
         [log]\nlevel = \"warn\"\n[kafka]\n{}\n",
        at + 1,
        voters.join(", "),
        setup.durability,
        internal[at],
        setup.kafka,
    ))
}
