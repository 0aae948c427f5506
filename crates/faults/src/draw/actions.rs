//! What the faults of one kind are like.

use super::{exponential, pick, spread};
use crate::{Action, FaultKind, Others, Role, Scenario, SyncPersonality, Unsynced, Way};
use highwater_env::Rng;
use rand::RngExt;
use std::time::Duration;

/// The longest time that a link holds everything back.
const LONGEST_CLOG: Duration = Duration::from_secs(15);
/// Parts of paths that faults of disks single out; mostly none.
const FILES: &[&str] = &["", "", "", ".log", ".index", ".producers"];

/// What rots: mostly logs, as they are most of a disk. Without its identity a disk is not used at all any more.
const ROTTING: &[&str] = &["/logs/", "/logs/", ".log", ".log", ".log", ".index", ".producers", "points", ""];

/// What the faults of one kind are like in one seed.
pub struct Actions<'a> {
    kind: FaultKind,
    scenario: &'a Scenario,
    /// How this seed's syncs fail; drawn for each if none.
    personality: Option<SyncPersonality>,
    /// The mean time for which links are clogged in this seed.
    clog: Duration,
}

impl<'a> Actions<'a> {
    /// Draws what is the same for a whole seed.
    pub fn new(kind: FaultKind, scenario: &'a Scenario, rng: &mut Rng) -> Self {
        let personality = rng.random_bool(0.7).then(|| personality(rng));
        let clog = Duration::from_millis(rng.random_range(100..5_000));
        Self { kind, scenario, personality, clog }
    }

    /// Draws one fault. A fault that is a machine's or link's own has that as its subject.
    pub fn draw(&self, rng: &mut Rng, subject: Option<&Role>) -> (Action, Role) {
        let target = match subject {
            Some(subject) => subject.clone(),
            None => self.target(rng),
        };
        match self.kind {
            FaultKind::Partition => self.partition(rng, target),
            FaultKind::Halves => self.halves(rng, target),
            _ => (self.action(rng), target),
        }
    }

    fn target(&self, rng: &mut Rng) -> Role {
        match self.kind {
            FaultKind::PowerCutOfAll if self.scenario.cluster.controllers == 0 => Role::EveryBroker,
            FaultKind::PowerCutOfAll | FaultKind::Halves => Role::EveryNode,
            FaultKind::PowerCutOfSome => self.some(rng),
            // Of those that are controllers alone, one at a time would be the same as a restart.
            FaultKind::RollingRestart => Role::EveryNode,
            // Timestamps come from clients as well.
            FaultKind::ClockJump | FaultKind::ClockDrift | FaultKind::ClockFreeze if rng.random_bool(0.3) => {
                self.client(rng)
            }
            _ => self.node(rng),
        }
    }

    /// A broker, or a node that is a controller alone.
    fn node(&self, rng: &mut Rng) -> Role {
        let cluster = &self.scenario.cluster;
        let number = rng.random_range(1..=cluster.nodes());
        match number.checked_sub(cluster.brokers) {
            Some(controller) if controller > 0 => Role::Controller(controller),
            _ => Role::Broker(number),
        }
    }

    /// Two nodes at least, and not all.
    fn some(&self, rng: &mut Rng) -> Role {
        let count = self.scenario.cluster.nodes();
        let mut left: Vec<u32> = (0..count).collect();
        let mut set = 0;
        for _ in 0..rng.random_range(2..count.max(3)) {
            set |= 1 << left.swap_remove(rng.random_range(0..left.len()));
        }
        Role::Nodes(set)
    }

    fn client(&self, rng: &mut Rng) -> Role {
        Role::Client(rng.random_range(1..=self.scenario.workload.clients()))
    }

    fn action(&self, rng: &mut Rng) -> Action {
        let unsynced = Unsynced::Drawn;
        match self.kind {
            FaultKind::Crash => Action::Crash { down: down(rng) },
            FaultKind::PowerCut | FaultKind::PowerCutOfAll => Action::PowerCut { down: down(rng), unsynced },
            FaultKind::PowerCutInRecovery => {
                let most = *pick(rng, &[20, 80, 300]);
                Action::PowerCutInRecovery {
                    down: down(rng),
                    operations: rng.random_range(0..most),
                    unsynced,
                }
            }
            FaultKind::PowerCutOfSome => Action::PowerCut { down: down(rng), unsynced },
            FaultKind::CrashThenPowerCut => {
                let most = *pick(rng, &[5, 40, 200]);
                Action::CrashThenPowerCut { down: down(rng), operations: rng.random_range(0..most), unsynced }
            }
            FaultKind::RollingRestart => {
                Action::RollingRestart { down: down(rng), pause: spread(rng, 200.0, 8_000.0) }
            }
            FaultKind::ReplacedDisk => Action::ReplaceDisk { down: down(rng) },
            FaultKind::Isolation => self.cut_off(rng, Way::Both, 1),
            FaultKind::OneWay => {
                let way = *pick(rng, &[Way::In, Way::Out]);
                self.cut_off(rng, way, 1)
            }
            FaultKind::Flapping => {
                let flaps = rng.random_range(2..=8);
                self.cut_off(rng, Way::Both, flaps)
            }
            FaultKind::Restart => Action::Restart { down: down(rng) },
            FaultKind::Pause => Action::Pause { lasting: spread(rng, 50.0, 10_000.0) },
            FaultKind::Wipe => Action::Wipe { down: down(rng) },
            FaultKind::WriteError => Action::FailWrite { file: file(rng) },
            FaultKind::SyncError => {
                let drawn = personality(rng);
                Action::FailSync { how: self.personality.unwrap_or(drawn), file: file(rng) }
            }
            FaultKind::ReadError => Action::FailRead { file: file(rng) },
            FaultKind::DirectoryError => Action::FailDirectorySync,
            FaultKind::FullDisk => Action::FillDisk { lasting: spread(rng, 50.0, 5_000.0) },
            FaultKind::DiskStall => Action::StallDisk { lasting: spread(rng, 5.0, 5_000.0) },
            FaultKind::Eviction => Action::EvictCache,
            FaultKind::BitRot => Action::FlipBit { file: (*pick(rng, ROTTING)).to_owned() },
            FaultKind::Rot => Action::Rot,
            FaultKind::BadSector => Action::BreakSector { file: (*pick(rng, ROTTING)).to_owned() },
            FaultKind::LostWrite => Action::LoseWrite { file: (*pick(rng, ROTTING)).to_owned() },
            FaultKind::MisdirectedWrite => Action::MisdirectWrite { file: (*pick(rng, ROTTING)).to_owned() },
            FaultKind::FalseSync => Action::LieAboutSync { file: (*pick(rng, ROTTING)).to_owned() },
            // Partitions have targets of their own: see `partition` and `halves`.
            FaultKind::Reset | FaultKind::Partition | FaultKind::Halves => Action::Reset,
            FaultKind::Clog => {
                let lasting = exponential(rng, self.clog).min(LONGEST_CLOG);
                Action::Isolate { lasting, way: way(rng), flaps: 1, from: Others::All }
            }
            FaultKind::SlowLink => {
                Action::SlowLink { lasting: spread(rng, 500.0, 5_000.0), by: spread(rng, 50.0, 2_000.0) }
            }
            FaultKind::ClockJump => {
                let most = *pick(rng, &[1_000, 1_000, 5_000, 30_000, 600_000]);
                Action::JumpClock { by_ms: rng.random_range(-most..=most) }
            }
            FaultKind::ClockDrift => {
                let most = *pick(rng, &[500, 20_000, 200_000]);
                Action::DriftClock {
                    ppm: rng.random_range(-most..=most),
                    lasting: spread(rng, 1_000.0, 30_000.0),
                }
            }
            FaultKind::ClockFreeze => Action::FreezeClock { lasting: spread(rng, 100.0, 10_000.0) },
        }
    }

    /// One machine is cut off, or all fall into two halves.
    fn partition(&self, rng: &mut Rng, broker: Role) -> (Action, Role) {
        let lasting = spread(rng, 100.0, 20_000.0);
        let shape = rng.random_range(0..10u32);
        let flaps = if rng.random_bool(0.25) { rng.random_range(2..=6) } else { 1 };
        let (way, client, sides) = (way(rng), self.client(rng), rng.random_range(1..=u64::from(u32::MAX)));
        match shape {
            0..3 => (Action::Split { lasting, sides }, Role::EveryBroker),
            3..5 => (Action::Isolate { lasting, way, flaps, from: Others::All }, client),
            _ => (Action::Isolate { lasting, way, flaps, from: Others::All }, broker),
        }
    }

    /// A node is cut off for a while. Where clients still reach it, it goes on as long as it does not know better.
    fn cut_off(&self, rng: &mut Rng, way: Way, flaps: u32) -> Action {
        let from = *pick(rng, &[Others::All, Others::Nodes, Others::Nodes]);
        Action::Isolate { lasting: spread(rng, 100.0, 20_000.0), way, flaps, from }
    }

    /// The nodes fall into two parts, neither of which is empty; each client is on one of the sides.
    fn halves(&self, rng: &mut Rng, everyone: Role) -> (Action, Role) {
        let nodes = self.scenario.cluster.nodes();
        let some: u64 = rng.random_range(1..(1 << nodes) - 1);
        let clients: u64 = rng.random_range(0..=u64::from(u32::MAX) >> nodes);
        let lasting = spread(rng, 100.0, 20_000.0);
        (Action::Split { lasting, sides: some | clients << nodes }, everyone)
    }
}

/// Mostly short: a node that is down has no faults.
fn down(rng: &mut Rng) -> Duration {
    match rng.random_range(0..10u32) {
        0 => Duration::ZERO,
        1 => spread(rng, 3_000.0, 8_000.0),
        _ => spread(rng, 50.0, 3_000.0),
    }
}

fn file(rng: &mut Rng) -> String {
    (*pick(rng, FILES)).to_owned()
}

fn personality(rng: &mut Rng) -> SyncPersonality {
    SyncPersonality::NAMES[rng.random_range(0..SyncPersonality::NAMES.len())].1
}

fn way(rng: &mut Rng) -> Way {
    *pick(rng, &[Way::Both, Way::Both, Way::In, Way::Out])
}
