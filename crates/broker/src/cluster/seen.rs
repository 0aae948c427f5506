//! What this node has seen of its cluster, durably.
//!
//! Up to where the metadata was carried out proves two things after a restart: the logs of all partitions that were
//! made before were made, so that one that is missing was lost; and the metadata has been at least so far, so that a
//! state before it is an old one by which nothing may be deleted. The epoch of the last registration, if the node
//! stopped in good order after it, tells the controller that nothing was lost since.
//!
//! ```text
//! offset  size  field
//! 0       1     version, now 1
//! 1       4     CRC-32 (IEEE) of what follows, big-endian
//! 5       8     the index in the metadata log up to which it was carried out, big-endian
//! 13      8     the epoch of the last registration, big-endian; -1 if there was none
//! ```

use highwater_env::{Disk, Env, File, OpenMode};
use highwater_types::BrokerEpoch;
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "cluster-seen";
const VERSION: u8 = 1;
const BYTES: usize = 21;

/// What a node has seen of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Up to which index the metadata was carried out.
    pub(super) index: u64,
    /// The epoch of the last registration.
    pub(super) epoch: BrokerEpoch,
}

/// The mark in a data directory.
pub(super) struct Seen<E: Env> {
    env: E,
    dir: PathBuf,
    /// The mark as it stands on disk. Held while it is replaced.
    mark: tokio::sync::Mutex<Option<Mark>>,
}

impl<E: Env> Seen<E> {
    /// Reads the mark of a data directory, if there is one.
    pub(super) async fn open(env: E, dir: &Path) -> io::Result<Self> {
        let mark = load(&env, &dir.join(NAME)).await?;
        Ok(Self { env, dir: dir.to_owned(), mark: tokio::sync::Mutex::new(mark) })
    }

    /// The mark; None if there never was one.
    pub(super) async fn mark(&self) -> Option<Mark> {
        *self.mark.lock().await
    }

    /// Raises the index. Metadata from before what was carried out does not lower it: it tells that they are old.
    pub(super) async fn carried(&self, index: u64) -> io::Result<()> {
        self.replace(|mark| Mark { index: mark.index.max(index), ..mark }).await
    }

    /// Replaces the epoch.
    pub(super) async fn registered(&self, epoch: BrokerEpoch) -> io::Result<()> {
        self.replace(|mark| Mark { epoch, ..mark }).await
    }

    /// The node did not stop in good order. Whatever it does before it registers again, and be it to stop in good
    /// order, the epoch of its last registration says nothing any more.
    pub(super) async fn forget_registration(&self) -> io::Result<()> {
        match self.mark().await {
            Some(mark) if mark.epoch != BrokerEpoch::NONE => self.registered(BrokerEpoch::NONE).await,
            _ => Ok(()),
        }
    }

    async fn replace(&self, change: impl FnOnce(Mark) -> Mark) -> io::Result<()> {
        let mut mark = self.mark.lock().await;
        let next = change(mark.unwrap_or(Mark { index: 0, epoch: BrokerEpoch::NONE }));
        if *mark == Some(next) {
            return Ok(());
        }
        let (path, draft) = (self.dir.join(NAME), self.dir.join(format!("{NAME}.new")));
        let disk = self.env.disk();
        let file = disk.open(&draft, OpenMode::CreateOrTruncate).await?;
        file.write_at(0, vec![bytes(next).to_vec().into()]).await?;
        file.sync_data().await?;
        disk.rename(&draft, &path).await?;
        disk.sync_dir(&self.dir).await?;
        *mark = Some(next);
        Ok(())
    }
}

async fn load<E: Env>(env: &E, path: &Path) -> io::Result<Option<Mark>> {
    let file = match env.disk().open(path, OpenMode::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.read_at(0, BYTES + 1).await?;
    parse(&bytes).map(Some).map_err(|problem| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {problem}", file.path().display()))
    })
}

fn bytes(mark: Mark) -> [u8; BYTES] {
    let mut out = [0; BYTES];
    out[0] = VERSION;
    out[5..13].copy_from_slice(&mark.index.to_be_bytes());
    out[13..].copy_from_slice(&mark.epoch.0.to_be_bytes());
    let crc = crc32fast::hash(&out[5..]);
    out[1..5].copy_from_slice(&crc.to_be_bytes());
    out
}

fn parse(bytes: &[u8]) -> Result<Mark, String> {
    let bytes: [u8; BYTES] =
        bytes.try_into().map_err(|_| format!("{} bytes where {BYTES} were expected", bytes.len()))?;
    if bytes[0] != VERSION {
        return Err(format!("version {} is not known here: start a newer version of the program", bytes[0]));
    }
    let crc = bytes[1..].first_chunk().map(|crc| u32::from_be_bytes(*crc));
    if Some(crc32fast::hash(&bytes[5..])) != crc {
        return Err("the checksum differs".to_owned());
    }
    let index = bytes[5..].first_chunk().map(|index| u64::from_be_bytes(*index));
    let epoch = bytes[13..].first_chunk().map(|epoch| BrokerEpoch(i64::from_be_bytes(*epoch)));
    index.zip(epoch).map(|(index, epoch)| Mark { index, epoch }).ok_or_else(|| "cut off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;
    use crate::node::Node;
    use highwater_sim::Simulation;
    use highwater_types::BrokerId;
    use std::net::{Ipv4Addr, SocketAddr};

    #[test]
    fn an_orderly_stop_between_a_crash_and_the_next_registration_says_nothing() {
        let sim = Simulation::new(5);
        let node = sim.node("n").node();
        let config = || {
            let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9092);
            BrokerConfig::new(BrokerId(1), "/data", address)
        };
        let epoch = async |node| {
            let seen = Seen::open(sim.env(node), Path::new("/data")).await.expect("the mark can be read");
            seen.mark().await.expect("there is a mark").epoch
        };
        sim.block_on(async {
            Node::start(sim.env(node), config()).await.expect("a first start").shutdown().await.unwrap();
            let registered = epoch(node).await;
            assert_ne!(registered, BrokerEpoch::NONE);
            // It was stopped in good order, so the mark holds; and until the next registration it does.
            Node::launch(sim.env(node), config()).await.expect("a start").shutdown().await.unwrap();
            assert_eq!(epoch(node).await, registered);
            let running = Node::start(sim.env(node), config()).await.expect("a start");
            sim.crash(node);
            drop(running);
            Node::launch(sim.restart(node), config()).await.expect("a start").shutdown().await.unwrap();
            assert_eq!(epoch(node).await, BrokerEpoch::NONE);
        });
    }

    #[test]
    fn metadata_from_before_does_not_lower_the_mark() {
        let sim = Simulation::new(6);
        let env = sim.node("n");
        sim.block_on(async {
            let dir = Path::new("/data");
            env.disk().create_dir_all(dir).await.unwrap();
            let seen = Seen::open(env.clone(), dir).await.unwrap();
            for index in [5, 3, 6] {
                seen.carried(index).await.unwrap();
                let again = Seen::open(env.clone(), dir).await.unwrap().mark().await.unwrap();
                assert_eq!(again.index, index.max(5));
            }
        });
    }

    #[test]
    fn a_mark_is_read_back_and_damage_is_found() {
        let mark = Mark { index: 0x0102_0304_0506_0708, epoch: BrokerEpoch(9) };
        let good = bytes(mark);
        assert_eq!(parse(&good), Ok(mark));
        for at in 0..BYTES {
            let mut bad = good;
            bad[at] ^= 4;
            assert!(parse(&bad).is_err(), "byte {at}");
            assert!(parse(&good[..at]).is_err(), "{at} bytes");
        }
    }
}
