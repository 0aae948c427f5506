//! Disks that fail, fill up, stall and rot.

use super::Director;
use crate::disk::{Fault, FaultRates, Op, SimDisk, SyncFailure};
use crate::executor::{NodeId, Simulation};
use highwater_faults::{Action, SyncPersonality};
use std::time::Duration;

/// For how long a fault waits until there is something that it can hit.
const PATIENCE: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(10);
/// The most room that a disk still has when it is said to be full.
const LAST_BYTES: u64 = 12 * 1024;

impl Director {
    pub(super) async fn act_on_disk(&self, simulation: &Simulation, what: Action, targets: Vec<NodeId>) {
        for &node in &targets {
            let disk = simulation.disk(node);
            let name = self.name(node);
            // What a fault to come really hits, the disk counts.
            let next = |op: Op, file: &str, fault: Fault| {
                simulation.note(&format!("{name}: the next {op:?} of *{file}* meets {fault:?}"));
                disk.fail_next(op, file, fault);
            };
            match &what {
                Action::FailSync { how, file } => match sync_failure(*how) {
                    Some(failure) => next(Op::SyncData, file, Fault::Sync(failure)),
                    None => self.fail_writeback(simulation, &disk, node, file).await,
                },
                Action::FailWrite { file } => next(Op::Write, file, Fault::Partial),
                // Reads that fail one after another are a broken sector, which is another fault.
                Action::FailRead { .. } if disk.awaits(Op::Read) => {}
                Action::FailRead { file } => next(Op::Read, file, Fault::Error),
                Action::FailDirectorySync => {
                    next(Op::SyncDir, "", Fault::Sync(SyncFailure::KeptDirty));
                }
                Action::FillDisk { lasting } => {
                    simulation.note(&format!("the disk of {name} is full for {lasting:?}"));
                    self.fill(&disk, node);
                }
                Action::StallDisk { lasting } => {
                    simulation.note(&format!("the disk of {name} hangs for {lasting:?}"));
                    stall(&disk, *lasting);
                }
                Action::EvictCache => {
                    simulation.note(&format!("the page cache of {name} is evicted"));
                    self.count("eviction");
                    disk.evict(None);
                }
                Action::Rot => self.rot_closed(simulation, &disk, node).await,
                Action::FlipBit { file } => self.rot(simulation, &disk, node, file, false),
                Action::BreakSector { file } => self.rot(simulation, &disk, node, file, true),
                Action::LoseWrite { file } => next(Op::SyncData, file, Fault::LostWrite),
                Action::MisdirectWrite { file } => next(Op::SyncData, file, Fault::Misdirected),
                Action::LieAboutSync { file } => next(Op::SyncData, file, Fault::LateSync),
                _ => {}
            }
        }
        if let Action::FillDisk { lasting } = what {
            simulation.sleep(lasting).await;
            targets.iter().for_each(|&node| self.empty(&simulation.disk(node), node));
        }
    }

    /// Writing back some file fails, as soon as one has something pending.
    async fn fail_writeback(&self, simulation: &Simulation, disk: &SimDisk, node: NodeId, file: &str) {
        let until = simulation.now() + PATIENCE;
        loop {
            let mut paths = disk.pending_files();
            paths.retain(|path| path.to_string_lossy().contains(file));
            if !paths.is_empty() {
                let path = &paths[self.lock().below(paths.len() as u64) as usize];
                simulation.note(&format!("{}: writing back {} fails", self.name(node), path.display()));
                // A file that was removed just now has nothing to write back.
                let _ = disk.fail_writeback(path);
                return;
            }
            if simulation.now() >= until {
                return;
            }
            simulation.sleep(GLANCE).await;
        }
    }

    fn fill(&self, disk: &SimDisk, node: NodeId) {
        let mut state = self.lock();
        *state.full.entry(node).or_default() += 1;
        let room = state.below(LAST_BYTES);
        disk.set_capacity(Some(disk.used_bytes() + room));
    }

    /// Gives a disk its room again, unless another fault keeps it full.
    fn empty(&self, disk: &SimDisk, node: NodeId) {
        let mut state = self.lock();
        let count = state.full.entry(node).or_default();
        *count = count.saturating_sub(1);
        if *count == 0 {
            disk.set_capacity(None);
        }
    }

    /// Damages a durable byte of some file that has one.
    fn rot(&self, simulation: &Simulation, disk: &SimDisk, node: NodeId, file: &str, whole_sector: bool) {
        let files = disk.durable_files_with(&|path| path.contains(file));
        let mut files: Vec<_> = files.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        if files.is_empty() {
            return;
        }
        let (path, position, bit, seen) = {
            let mut state = self.lock();
            let (path, bytes) = files.swap_remove(state.below(files.len() as u64) as usize);
            (path, state.below(bytes.len() as u64), state.below(8) as u8, state.below(2) == 0)
        };
        let name = self.name(node);
        let happened = if whole_sector {
            simulation.note(&format!("{name}: a sector of {} dies at byte {position}", path.display()));
            disk.break_sector(&path, position)
        } else {
            simulation.note(&format!("{name}: a bit of {} flips at byte {position}", path.display()));
            disk.flip_bit(&path, position, bit)
        };
        // The page cache hides it until the page is evicted.
        if happened && seen {
            disk.evict(Some(&path));
        }
    }
}

/// What a failed sync leaves behind; None if the failure comes from writing back before.
fn sync_failure(how: SyncPersonality) -> Option<SyncFailure> {
    match how {
        SyncPersonality::Clean => Some(SyncFailure::Clean),
        SyncPersonality::Reverted => Some(SyncFailure::Reverted),
        SyncPersonality::KeptDirty => Some(SyncFailure::KeptDirty),
        SyncPersonality::Late => None,
    }
}

/// The next operation of each kind that matters takes so much longer.
pub fn stall(disk: &SimDisk, lasting: Duration) {
    for op in [Op::Write, Op::SyncData, Op::Read] {
        disk.fail_next(op, "", Fault::Stall(lasting));
    }
}

/// Ends all faults of a disk that have not happened yet.
pub fn heal(disk: &SimDisk) {
    disk.set_rates(FaultRates::default());
    disk.clear_rules();
    disk.set_capacity(None);
}

/// Whether a fault that a disk counts under this name hits bytes that no sync has covered.
pub fn harms_unsynced(name: &str) -> bool {
    [
        "sync error",
        "write error",
        "write-back error",
        "late sync error",
        "lost write",
        "misdirected",
        "sync success",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}
