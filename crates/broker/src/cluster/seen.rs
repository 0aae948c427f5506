//! Up to where this node has carried out the metadata, durably.
//!
//! The mark proves two things after a restart: the logs of all partitions that were made before it were made, so that
//! one that is missing was lost; and the metadata has been at least so far, so that a state before it is an old one by
//! which nothing may be deleted.
//!
//! ```text
//! offset  size  field
//! 0       1     version, now 1
//! 1       4     CRC-32 (IEEE) of what follows, big-endian
//! 5       8     the index in the metadata log, big-endian
//! ```

use highwater_env::{Disk, Env, File, OpenMode};
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "metadata-seen";
const VERSION: u8 = 1;
const BYTES: usize = 13;

/// The mark in a data directory.
pub(super) struct Seen<E: Env> {
    env: E,
    dir: PathBuf,
}

impl<E: Env> Seen<E> {
    pub(super) fn new(env: E, dir: &Path) -> Self {
        Self { env, dir: dir.to_owned() }
    }

    /// The mark; None if there never was one.
    pub(super) async fn load(&self) -> io::Result<Option<u64>> {
        let file = match self.env.disk().open(&self.dir.join(NAME), OpenMode::Read).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = file.read_at(0, BYTES + 1).await?;
        parse(&bytes).map(Some).map_err(|problem| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {problem}", file.path().display()))
        })
    }

    /// Replaces the mark.
    pub(super) async fn store(&self, index: u64) -> io::Result<()> {
        let (path, draft) = (self.dir.join(NAME), self.dir.join(format!("{NAME}.new")));
        let disk = self.env.disk();
        let file = disk.open(&draft, OpenMode::CreateOrTruncate).await?;
        file.write_at(0, vec![bytes(index).to_vec().into()]).await?;
        file.sync_data().await?;
        disk.rename(&draft, &path).await?;
        disk.sync_dir(&self.dir).await
    }
}

fn bytes(index: u64) -> [u8; BYTES] {
    let mut out = [0; BYTES];
    out[0] = VERSION;
    out[5..].copy_from_slice(&index.to_be_bytes());
    let crc = crc32fast::hash(&out[5..]);
    out[1..5].copy_from_slice(&crc.to_be_bytes());
    out
}

fn parse(bytes: &[u8]) -> Result<u64, String> {
    let bytes: [u8; BYTES] =
        bytes.try_into().map_err(|_| format!("{} bytes where {BYTES} were expected", bytes.len()))?;
    if bytes[0] != VERSION {
        return Err(format!("version {} is not known here: start a newer version of the program", bytes[0]));
    }
    let [_, a, b, c, d, index @ ..] = bytes;
    if crc32fast::hash(&index) != u32::from_be_bytes([a, b, c, d]) {
        return Err("the checksum differs".to_owned());
    }
    Ok(u64::from_be_bytes(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_damage_is_found() {
        let good = bytes(0x0102_0304_0506_0708);
        assert_eq!(parse(&good), Ok(0x0102_0304_0506_0708));
        for at in 0..BYTES {
            let mut bad = good;
            bad[at] ^= 4;
            assert!(parse(&bad).is_err(), "byte {at}");
            assert!(parse(&good[..at]).is_err(), "{at} bytes");
        }
    }
}
