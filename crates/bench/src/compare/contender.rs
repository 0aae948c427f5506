//! The two programs, and how each is started for a scenario.

use super::Scenario;
use crate::floor::{Durability, Reading};
use crate::process::Server;
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `highwater-floor`.
    pub floor: PathBuf,
    /// `highwater`.
    pub broker: PathBuf,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The floor.
    Floor,
    /// The broker.
    Broker,
}

/// An empty folder, and what is to run there.
pub struct Site<'a> {
    dir: &'a Path,
    scenario: &'a Scenario,
}

impl<'a> Site<'a> {
    /// Empties the folder.
    pub fn prepare(dir: &'a Path, scenario: &'a Scenario) -> Result<Self> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        Ok(Self { dir, scenario })
    }

    /// Starts a server on a free port. It is not ready yet.
    pub fn start(&self, binaries: &Binaries, contender: Contender) -> Result<(Server, SocketAddr)> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = match contender {
            Contender::Floor => self.floor(binaries, address),
            Contender::Broker => self.broker(binaries, address)?,
        };
        Ok((Server::start(&mut command, self.dir.join("server.log"))?, address))
    }

    fn floor(&self, binaries: &Binaries, address: SocketAddr) -> Command {
        let mut command = Command::new(&binaries.floor);
        let durability = durability(self.scenario.durability);
        let reading = match self.scenario.reading() {
            Reading::Hot => "hot",
            Reading::Cold => "cold",
        };
        command.args(["--listen", &address.to_string(), "--durability", durability, "--reading", reading]);
        command.args(["--partitions", &self.scenario.partitions.to_string()]).arg("--dir").arg(self.dir);
        command
    }

    fn broker(&self, binaries: &Binaries, address: SocketAddr) -> Result<Command> {
        let config = self.dir.join("node.toml");
        let data = self.dir.join("data");
        fs::write(
            &config,
            format!(
                "data_dir = {data:?}\ndurability = \"{}\"\n\
                 [listener]\nlisten = \"{address}\"\n\
                 [admin]\nlisten = \"\"\n\
                 [log]\nlevel = \"warn\"\n",
                durability(self.scenario.durability),
            ),
        )?;
        let mut command = Command::new(&binaries.broker);
        command.args(["serve", "--config"]).arg(config);
        Ok(command)
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed before the next run.
        let _ = fs::remove_dir_all(self.dir);
    }
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Replicated => "replicated",
        Durability::Sync => "sync",
    }
}
