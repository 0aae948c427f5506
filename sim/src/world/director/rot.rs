//! Bits that rot where the cluster can bear it.
//!
//! What was written a moment ago is left alone: nobody can tell a bit that flipped in it from a write that a crash
//! tore. And so are segments that are still written to, since what was appended to them lately may be sent without
//! another check.

use super::Director;
use crate::checkers::durable;
use crate::disk::SimDisk;
use crate::executor::{NodeId, Simulation};
use bytes::Bytes;
use highwater_faults::Action;
use highwater_metadata::METADATA_LOG;
use highwater_records::Batches;
use highwater_types::Offset;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For how long something must have stood on a disk.
const SETTLED_AFTER: Duration = Duration::from_secs(4);
/// The most bits that flip at once.
const MOST_BITS: u64 = 4;

/// A byte that rotted.
pub(super) struct Rotten {
    node: NodeId,
    path: PathBuf,
    position: usize,
    /// What stands there since.
    rotten: u8,
    /// The last offset of the batch that it is a part of.
    offset: Offset,
}

impl Rotten {
    /// Whether the disk holds something else there by now, or the file is gone. What it should hold, H1 says.
    fn is_mended(&self, simulation: &Simulation) -> bool {
        let disk = simulation.disk(self.node);
        if !disk.is_live(&self.path) {
            return true;
        }
        let files = disk.durable_files_with(&|path| Path::new(path) == self.path);
        files.get(&self.path).is_none_or(|bytes| bytes.get(self.position) != Some(&self.rotten))
    }
}

impl Director {
    /// Flips some bits of closed segments.
    pub(super) async fn rot_closed(&self, simulation: &Simulation, disk: &SimDisk, node: NodeId) {
        let before = closed_segments(disk);
        simulation.sleep(SETTLED_AFTER).await;
        if before.is_empty() || !self.is_bearable(simulation, &Action::Rot, &[node]).await {
            return;
        }
        let now = closed_segments(disk);
        let mut files: Vec<_> =
            before.into_iter().filter(|(path, bytes)| now.get(path) == Some(bytes)).collect();
        let bits = 1 + self.lock().below(MOST_BITS);
        for _ in 0..bits {
            let (file, bit) = {
                let mut state = self.lock();
                (state.below(files.len() as u64) as usize, state.below(8) as u8)
            };
            let Some((path, bytes)) = files.get_mut(file) else { return };
            let first = durable::SEGMENT_HEADER_BYTES;
            let position = first + self.lock().below((bytes.len() as u64).saturating_sub(first));
            if !disk.flip_bit(path, position, bit) {
                continue;
            }
            let offset = offset_at(bytes, position);
            let Some(byte) = bytes.get_mut(position as usize) else { continue };
            *byte ^= 1 << bit;
            let rotten = *byte;
            let name = self.name(node);
            simulation.note(&format!("{name}: a bit of {} flips at byte {position}", path.display()));
            disk.evict(Some(path));
            self.count("rot");
            let rotten = Rotten { node, path: path.clone(), position: position as usize, rotten, offset };
            self.lock().rotten.push(rotten);
        }
    }

    /// Whether something on the disks of others than these rotted, and was not put back.
    pub(super) fn is_rotten_beside(&self, simulation: &Simulation, targets: &[NodeId]) -> bool {
        let mut state = self.lock();
        state.rotten.retain(|rotten| !rotten.is_mended(simulation));
        state.rotten.iter().any(|rotten| !targets.contains(&rotten.node))
    }

    /// Something that rotted and was not put back, if there is anything. `start` tells where a node's log begins that
    /// a file belongs to: what lies before that is asked for by nobody.
    pub fn rotten(&self, simulation: &Simulation, start: impl Fn(NodeId, &Path) -> Offset) -> Option<String> {
        self.is_rotten_beside(simulation, &[]);
        let state = self.lock();
        let is_held = |rotten: &&Rotten| rotten.offset >= start(rotten.node, &rotten.path);
        let Rotten { node, path, position, .. } = state.rotten.iter().find(is_held)?;
        let path = path.display().to_string();
        let name = self.nodes.name(*node).unwrap_or_default();
        Some(format!("byte {position} of {path} of {name} rotted, and was not put back"))
    }
}

/// The last offset of the batch of a segment that a position lies in; beyond all others if it cannot be told.
fn offset_at(segment: &[u8], position: u64) -> Offset {
    let first = durable::SEGMENT_HEADER_BYTES;
    let records = Bytes::copy_from_slice(segment.get(first as usize..).unwrap_or_default());
    let mut end = first;
    let mut batches = Batches::with_partial_tail(records).map_while(Result::ok);
    let around = batches.find(|batch| {
        end += batch.bytes().len() as u64;
        position < end
    });
    around.map_or(Offset(i64::MAX), |batch| batch.header().last_offset())
}

/// The segments of partitions that are written to no more, with what stands in them on disk.
fn closed_segments(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let metadata = METADATA_LOG.to_string();
    let mut files = disk.durable_files_with(&|path| path.ends_with(".log") && !path.contains(&metadata));
    let mut last: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for path in files.keys() {
        // Names are padded: the last one of a directory is the one that is written to.
        last.insert(path.parent().map(Path::to_path_buf).unwrap_or_default(), path.clone());
    }
    files.retain(|path, _| !last.values().any(|other| other == path));
    files
}
