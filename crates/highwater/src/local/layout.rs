//! The data directory of a cluster in one process, and the configurations of its nodes.
//!
//! `cluster.toml` in it says which cluster this is and how many nodes it has; `node-1`, `node-2`, ... are the nodes'
//! own data directories.

use crate::commands::cluster::new_id;
use anyhow::{Context, bail, ensure};
use highwater_broker::{BrokerConfig, ListenerConfig, VoterConfig};
use highwater_types::{BrokerId, ClusterId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

/// The file that says what the directory is.
const IDENTITY: &str = "cluster.toml";
/// A file that every node's own data directory has.
const NODE_IDENTITY: &str = "disk.meta";
/// More nodes than these vote on nothing: each voter costs every change of the metadata a little.
const MOST_VOTERS: usize = 5;

/// What [`IDENTITY`] holds.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    cluster_id: String,
    brokers: usize,
}

/// Refuses the data directory of a cluster for a broker that is alone.
pub fn check_alone(dir: &Path) -> anyhow::Result<()> {
    if let Some(identity) = read(dir)? {
        bail!(
            "{} was made by a dev of {1} brokers: start it with --brokers {1}, or name another --data-dir",
            dir.display(),
            identity.brokers
        );
    }
    Ok(())
}

/// The configurations of a cluster's nodes. Makes the directory, if it is missing, and notes what it is for.
pub fn configs(dir: &Path, brokers: usize, listen: SocketAddr) -> anyhow::Result<Vec<BrokerConfig>> {
    let cluster = identify(dir, brokers)?;
    let kafka = kafka_addresses(listen, brokers)?;
    let internal = free_addresses(IpAddr::V4(Ipv4Addr::LOCALHOST), brokers)?;
    let voters: Vec<VoterConfig> = (1..)
        .zip(&internal)
        .take(voters(brokers))
        .map(|(id, at)| VoterConfig { id: BrokerId(id), host: at.ip().to_string(), port: at.port() })
        .collect();
    let configs = (1..).zip(kafka.into_iter().zip(internal)).map(|(id, (kafka, internal))| BrokerConfig {
        cluster_id: Some(cluster),
        voters: voters.clone(),
        internal: Some(ListenerConfig {
            name: "CONTROLLER".to_owned(),
            ..ListenerConfig::plaintext(internal)
        }),
        rack: Some(format!("r{id}")),
        ..BrokerConfig::new(BrokerId(id), dir.join(format!("node-{id}")), kafka)
    });
    Ok(configs.collect())
}

/// An odd number: one more voter than that would have to agree, and could not be missed any better.
fn voters(brokers: usize) -> usize {
    let all = brokers.min(MOST_VOTERS);
    all - usize::from(all.is_multiple_of(2))
}

fn read(dir: &Path) -> anyhow::Result<Option<Identity>> {
    let path = dir.join(IDENTITY);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    toml::from_str(&text).map(Some).with_context(|| format!("{} cannot be understood", path.display()))
}

/// The id of the cluster whose data the directory holds, a new one if it is fresh.
fn identify(dir: &Path, brokers: usize) -> anyhow::Result<ClusterId> {
    ensure!(
        !dir.join(NODE_IDENTITY).exists(),
        "{} holds the data of one broker: start it without --brokers, or name another --data-dir",
        dir.display()
    );
    if let Some(Identity { cluster_id, brokers: made_for }) = read(dir)? {
        ensure!(
            made_for == brokers,
            "{} was made for {made_for} brokers: start it with --brokers {made_for}, or name another --data-dir",
            dir.display()
        );
        return cluster_id.parse().with_context(|| format!("{}: cluster_id", dir.join(IDENTITY).display()));
    }
    let cluster = new_id()?;
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let identity = toml::to_string(&Identity { cluster_id: cluster.to_string(), brokers })?;
    // Whole or not at all: half a file would make the directory useless.
    let fresh = dir.join("cluster.toml.new");
    fs::write(&fresh, identity).with_context(|| fresh.display().to_string())?;
    fs::rename(&fresh, dir.join(IDENTITY)).with_context(|| fresh.display().to_string())?;
    Ok(cluster)
}

fn kafka_addresses(first: SocketAddr, count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    if first.port() == 0 {
        return free_addresses(first.ip(), count);
    }
    let port = |node| u16::try_from(node).ok().and_then(|node| first.port().checked_add(node));
    let ports: Option<Vec<u16>> = (0..count).map(port).collect();
    let ports = ports.with_context(|| format!("there are not {count} ports from {} on", first.port()))?;
    Ok(ports.into_iter().map(|port| SocketAddr::new(first.ip(), port)).collect())
}

/// Addresses that nobody listens on. They stay the same while the process runs, so that a node can come back to its.
fn free_addresses(ip: IpAddr, count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    // All are held until the last is found, or one might be found twice.
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((ip, 0)))
        .collect::<Result<_, _>>()
        .context("find free ports")?;
    held.iter().map(|listener| Ok(listener.local_addr()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh_dir(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("highwater-layout-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn a_directory_stays_with_its_cluster() {
        let dir = fresh_dir("stays");
        let listen = "127.0.0.1:0".parse().unwrap();
        let first = configs(&dir, 3, listen).unwrap();
        let again = configs(&dir, 3, listen).unwrap();
        assert_eq!(first[0].cluster_id, again[2].cluster_id);
        let error = configs(&dir, 5, listen).unwrap_err().to_string();
        assert!(error.contains("was made for 3 brokers: start it with --brokers 3"), "{error}");
        let error = check_alone(&dir).unwrap_err().to_string();
        assert!(error.contains("start it with --brokers 3"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_data_of_one_broker_is_no_cluster() {
        let dir = fresh_dir("alone");
        fs::create_dir_all(&dir).unwrap();
        check_alone(&dir).unwrap();
        fs::write(dir.join(NODE_IDENTITY), "").unwrap();
        let error = configs(&dir, 3, "127.0.0.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("holds the data of one broker"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn nodes_stand_side_by_side() {
        let dir = fresh_dir("ports");
        let configs = configs(&dir, 4, "127.0.0.1:19092".parse().unwrap()).unwrap();
        for (id, config) in (1u16..).zip(&configs) {
            config.check_cluster().unwrap();
            assert_eq!(config.listeners[0].listen.port(), 19091 + id);
            assert_eq!(config.rack, Some(format!("r{id}")));
            assert_eq!(config.is_voter(), id < 4);
        }
        assert_eq!((1..=9).map(voters).collect::<Vec<_>>(), [1, 1, 3, 3, 5, 5, 5, 5, 5]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
