//! A network of our own: each node in a network namespace, all on one bridge, any direction between two of them to be
//! cut.
//!
//! The program enters a namespace first ([`enter`]), so that nothing is left behind when it ends, however it ends: the
//! kernel takes the namespaces away with their last process. A direction is cut by telling the sender a hardware
//! address that nobody has: packets vanish without a word, as when a cable is cut, and neither end is told.

use crate::process::{self, Process};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Set in the program that runs in the network.
const MARK: &str = "HIGHWATER_LAB";
const BRIDGE: &str = "hw-lab";
/// The last number of the address of the machine that clients run on.
const CLIENTS: u8 = 254;
/// How long a process may take to have its namespace.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether namespaces can be made here.
pub fn is_possible() -> bool {
    let tried =
        unshare().args(["ip", "link", "add", BRIDGE, "type", "bridge"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Whether this program runs in the network.
pub fn is_entered() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs this program once more, in a network of its own.
pub fn enter(arguments: &[String]) -> Result<ExitStatus> {
    let mut command = unshare();
    command.arg(std::env::current_exe()?).args(arguments).env(MARK, "1");
    process::tied(&command).status().context("run in a network of our own")
}

/// A command in a fresh network namespace; as root of its own if we are not root.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}

/// The network. It is there as long as this program runs.
pub struct Lab {
    hosts: Vec<Host>,
}

/// A namespace, held by a process that sleeps.
struct Host {
    holder: Process,
}

impl Lab {
    /// Makes the network for so many nodes. The program must have entered its own.
    pub fn build(nodes: u8, dir: &Path) -> Result<Self> {
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", BRIDGE, "address", &hardware(CLIENTS), "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", address(CLIENTS)), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        let mut lab = Self { hosts: Vec::new() };
        for node in 1..=nodes {
            let mut holder = hold(&dir.join(format!("host-{node}.log")))?;
            let (port, id) = (format!("hw-{node}"), holder.child().id().to_string());
            ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &id])?;
            ip(&["link", "set", &port, "master", BRIDGE, "up"])?;
            lab.hosts.push(Host { holder });
            lab.ip_on(node, &["link", "set", "lo", "up"])?;
            lab.ip_on(node, &["link", "set", "eth0", "address", &hardware(node), "up"])?;
            lab.ip_on(node, &["address", "add", &format!("{}/24", address(node)), "dev", "eth0"])?;
        }
        Ok(lab)
    }

    /// A command on a node's machine.
    pub fn command_on(&mut self, node: u8, program: &Path) -> Result<Command> {
        let host = self.hosts.get_mut(usize::from(node) - 1).context("a node of the network")?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", host.holder.child().id())).arg("--").arg(program);
        Ok(command)
    }

    /// Has packets from a node to another vanish, or arrive again.
    pub fn cut(&mut self, from: u8, to: u8, is_cut: bool) -> Result<()> {
        // The first half of an address that no machine has.
        let hardware = if is_cut { format!("02:00:00:00:ff:{to:02x}") } else { hardware(to) };
        let to = address(to).to_string();
        self.ip_on(
            from,
            &["neighbour", "replace", &to, "lladdr", &hardware, "nud", "permanent", "dev", "eth0"],
        )
    }

    fn ip_on(&mut self, node: u8, arguments: &[&str]) -> Result<()> {
        let mut command = self.command_on(node, Path::new("ip"))?;
        command.args(arguments);
        run(command)
    }
}

/// A node's address.
pub fn address(node: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 111, 0, node))
}

fn hardware(node: u8) -> String {
    format!("02:00:00:00:00:{node:02x}")
}

/// A process that has a namespace and does nothing.
fn hold(log: &Path) -> Result<Process> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "sleep", "infinity"]);
    let mut holder = Process::start(command, "a namespace", log, false)?;
    let own = fs::read_link("/proc/self/ns/net")?;
    let theirs = format!("/proc/{}/ns/net", holder.child().id());
    let deadline = Instant::now() + PATIENCE;
    while fs::read_link(&theirs).with_context(|| holder.log_tail())? == own {
        if let Some(status) = holder.ended()? {
            bail!("no namespace: {status}\n{}", holder.log_tail());
        }
        if Instant::now() > deadline {
            bail!("no namespace after {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(holder)
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments);
    run(command)
}

fn run(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}
