//! Measurements of clusters of real processes, all on this machine.

mod fail_over;
mod groups;
mod idle;
mod nodes;
mod replicated;
mod writers;

pub use fail_over::{FailOver, fail_over};
pub use groups::{Groups, groups};
pub use idle::{Idle, idle};
pub use nodes::{Nodes, Setup};
pub use replicated::{Replicated, replicated};

use anyhow::{Context, Result};
use std::path::PathBuf;

/// The topic that is written to.
const TOPIC: &str = "bench";
/// How many nodes a cluster has, and how many replicas a partition.
const NODES: usize = 3;

/// Where programs and data are.
#[derive(Clone, Debug, clap::Args)]
pub struct Places {
    /// A folder for data, on the disk that is to be measured; what is in it is removed.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The broker, if not the one beside this program. Given twice or more, their rounds are run in turn.
    #[arg(long = "broker")]
    brokers: Vec<PathBuf>,
}

impl Places {
    fn dir(&self) -> Result<PathBuf> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => beside("cluster-data"),
        }
    }

    fn brokers(&self) -> Result<Vec<PathBuf>> {
        if self.brokers.is_empty() { Ok(vec![beside("highwater")?]) } else { Ok(self.brokers.clone()) }
    }

    /// A cluster of three on an empty folder.
    fn start(&self, broker: &std::path::Path, durability: &'static str, kafka: &str) -> Result<Nodes> {
        Nodes::start(Setup {
            broker: broker.to_owned(),
            dir: self.dir()?,
            count: NODES,
            durability,
            kafka: kafka.to_owned(),
        })
    }
}

fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program stands in a folder")?.join(name))
}
