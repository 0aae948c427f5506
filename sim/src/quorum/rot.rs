//! Bit rot in what a member has on its disk.

use super::node::{DIR, LOG, QUORUM_DIR};
use crate::disk::SimDisk;
use highwater_env::Rng;
use rand::RngExt;
use std::path::PathBuf;

/// Segments that a log must have for its first to be harmed: what was written last may not be proven synced yet, and
/// damage there cannot be told from a torn write.
const SEGMENTS: usize = 3;

/// Flips a bit of a file that the member must notice, if there is one; where.
pub fn flip(disk: &SimDisk, rng: &mut Rng) -> Option<PathBuf> {
    let files = disk.durable_files();
    let log = PathBuf::from(DIR).join("logs").join(LOG.to_string());
    let segments: Vec<_> = files
        .iter()
        .filter(|(path, _)| path.starts_with(&log) && path.extension().is_some_and(|end| end == "log"))
        .collect();
    let small: Vec<_> = files
        .iter()
        .filter(|(path, _)| {
            ["vote", "snapshot"].iter().any(|name| **path == PathBuf::from(QUORUM_DIR).join(name))
        })
        .collect();
    let (path, bytes) = if segments.len() >= SEGMENTS && rng.random_bool(0.7) {
        segments[rng.random_range(0..segments.len() - (SEGMENTS - 1))]
    } else if small.is_empty() {
        return None;
    } else {
        small[rng.random_range(0..small.len())]
    };
    if bytes.is_empty() {
        return None;
    }
    let position = rng.random_range(0..bytes.len() as u64);
    disk.flip_bit(path, position, rng.random_range(0..8)).then(|| path.clone())
}
