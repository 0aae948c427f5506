//! What a fault does.

use crate::Regime;
use crate::text::duration_text;
use std::time::Duration;

/// What a fault does. Each undoes itself after its time, so that any of them can be left out of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process dies; what is in the page cache stays. It starts again after `down`.
    Crash {
        /// For how long it stays down.
        down: Duration,
    },
    /// The machine loses power: what no sync covered is lost, torn or kept. With every broker: all at one instant.
    PowerCut {
        /// For how long it stays down.
        down: Duration,
        /// What becomes of what no sync covered.
        unsynced: Unsynced,
    },
    /// A power cut, and another one during the recovery from it.
    PowerCutInRecovery {
        /// For how long it stays down each time.
        down: Duration,
        /// How many disk operations the recovery gets to make.
        operations: u64,
        /// What becomes of what no sync covered, each time.
        unsynced: Unsynced,
    },
    /// The process dies, and its machine loses power during the recovery from that.
    CrashThenPowerCut {
        /// For how long it stays down each time.
        down: Duration,
        /// How many disk operations the recovery gets to make.
        operations: u64,
        /// What becomes of what no sync covered.
        unsynced: Unsynced,
    },
    /// The node is shut down in order, and started again.
    Restart {
        /// For how long it stays down.
        down: Duration,
    },
    /// Nodes are shut down in order and started again one after another, as for an upgrade.
    RollingRestart {
        /// For how long each stays down.
        down: Duration,
        /// How long each gets to come back before the next one goes.
        pause: Duration,
    },
    /// The node neither sends nor receives nor reaches its disk for a while.
    Pause {
        /// For how long.
        lasting: Duration,
    },
    /// The process dies, and finds an empty disk when it starts again.
    Wipe {
        /// For how long it stays down.
        down: Duration,
    },
    /// As `Wipe`, but only while the cluster can bear it: every replica is in sync, no other disk was replaced
    /// lately, and a majority of the quorum has kept its own.
    ReplaceDisk {
        /// For how long it stays down.
        down: Duration,
    },
    /// The next sync of a file fails.
    FailSync {
        /// What the failed sync leaves behind.
        how: SyncPersonality,
        /// A part of the file's path.
        file: String,
    },
    /// The next write to a file fails, perhaps after a part of it.
    FailWrite {
        /// A part of the file's path.
        file: String,
    },
    /// The next read of a file fails.
    FailRead {
        /// A part of the file's path.
        file: String,
    },
    /// The next sync of a directory fails.
    FailDirectorySync,
    /// The disk has no room for a while.
    FillDisk {
        /// For how long.
        lasting: Duration,
    },
    /// The next read, write and sync take this much longer.
    StallDisk {
        /// For how long.
        lasting: Duration,
    },
    /// The page cache forgets what is clean.
    EvictCache,
    /// A bit of a file's durable bytes flips.
    FlipBit {
        /// A part of the file's path.
        file: String,
    },
    /// Some bits flip in closed segments of partitions, but only while the cluster can bear it: every replica is in
    /// sync, and what flipped on other disks has been put back.
    Rot,
    /// A sector of a file can no longer be read.
    BreakSector {
        /// A part of the file's path.
        file: String,
    },
    /// The next sync of a file succeeds though some of its pages were not written.
    LoseWrite {
        /// A part of the file's path.
        file: String,
    },
    /// The next sync of a file succeeds though a page went elsewhere.
    MisdirectWrite {
        /// A part of the file's path.
        file: String,
    },
    /// The next sync of a file succeeds though its pages were lost, and the one after it fails.
    LieAboutSync {
        /// A part of the file's path.
        file: String,
    },
    /// A machine, or one link, is cut off: what is sent waits until the end.
    Isolate {
        /// For how long.
        lasting: Duration,
        /// Which way.
        way: Way,
        /// Into how many cuts, with pauses of the same length between them, the time is divided. At least 1.
        flaps: u32,
        /// From whom.
        from: Others,
    },
    /// The machines fall into two halves that do not reach each other.
    Split {
        /// For how long.
        lasting: Duration,
        /// Bit `n` says on which side machine `n` is, brokers first.
        sides: u64,
    },
    /// The connections of a machine, or of one link, are reset.
    Reset,
    /// Everything that a machine, or one link, carries is late.
    SlowLink {
        /// For how long.
        lasting: Duration,
        /// By how much.
        by: Duration,
    },
    /// A wall clock jumps.
    JumpClock {
        /// By how many milliseconds; negative is back.
        by_ms: i64,
    },
    /// Both clocks of a machine run too fast or, if negative, too slow.
    DriftClock {
        /// By how much, in parts per million.
        ppm: i32,
        /// For how long.
        lasting: Duration,
    },
    /// A wall clock stands still, and then is right again.
    FreezeClock {
        /// For how long.
        lasting: Duration,
    },
}

/// What becomes of what no sync covered when the power is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsynced {
    /// It is drawn for each power cut: mostly lost or torn.
    #[default]
    Drawn,
    /// All of it is lost.
    Lost,
    /// All of it survives.
    Kept,
    /// Each operation meets a fate of its own.
    Mixed,
}

/// What a failed sync leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPersonality {
    /// The pages are lost and marked clean: they stay readable until they are evicted, and the next sync succeeds.
    Clean,
    /// The pages go back to what the disk holds, in the cache too.
    Reverted,
    /// The pages stay dirty: a later sync that succeeds has written them.
    KeptDirty,
    /// Writing back failed in the background: the pages are lost, and the next sync says so.
    Late,
}

/// Which way a cut goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Neither is heard.
    Both,
    /// The machine does not hear the others. Of a link: the first named does not hear the second.
    In,
    /// The others do not hear the machine. Of a link: the second named does not hear the first.
    Out,
}

/// Whom a machine is cut off from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// Every other machine.
    #[default]
    All,
    /// The other nodes: clients still reach it.
    Nodes,
}

/// What of a machine a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The process, or the whole machine.
    Process,
    /// The disk.
    Disk,
    /// Its links.
    Link,
    /// Its clocks.
    Clock,
}

impl Action {
    /// All words for actions.
    pub const NAMES: &[&'static str] = &[
        "crash",
        "power-cut",
        "power-cut-in-recovery",
        "crash-then-power-cut",
        "restart",
        "rolling-restart",
        "pause",
        "wipe",
        "replace-disk",
        "fail-sync",
        "fail-write",
        "fail-read",
        "fail-directory-sync",
        "fill-disk",
        "stall-disk",
        "evict-cache",
        "flip-bit",
        "rot",
        "break-sector",
        "lose-write",
        "misdirect-write",
        "lie-about-sync",
        "isolate",
        "split",
        "reset",
        "slow-link",
        "jump-clock",
        "drift-clock",
        "freeze-clock",
    ];

    /// Its word in a scenario file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::PowerCut { .. } => "power-cut",
            Self::PowerCutInRecovery { .. } => "power-cut-in-recovery",
            Self::CrashThenPowerCut { .. } => "crash-then-power-cut",
            Self::Restart { .. } => "restart",
            Self::RollingRestart { .. } => "rolling-restart",
            Self::Pause { .. } => "pause",
            Self::Wipe { .. } => "wipe",
            Self::ReplaceDisk { .. } => "replace-disk",
            Self::FailSync { .. } => "fail-sync",
            Self::FailWrite { .. } => "fail-write",
            Self::FailRead { .. } => "fail-read",
            Self::FailDirectorySync => "fail-directory-sync",
            Self::FillDisk { .. } => "fill-disk",
            Self::StallDisk { .. } => "stall-disk",
            Self::EvictCache => "evict-cache",
            Self::FlipBit { .. } => "flip-bit",
            Self::Rot => "rot",
            Self::BreakSector { .. } => "break-sector",
            Self::LoseWrite { .. } => "lose-write",
            Self::MisdirectWrite { .. } => "misdirect-write",
            Self::LieAboutSync { .. } => "lie-about-sync",
            Self::Isolate { .. } => "isolate",
            Self::Split { .. } => "split",
            Self::Reset => "reset",
            Self::SlowLink { .. } => "slow-link",
            Self::JumpClock { .. } => "jump-clock",
            Self::DriftClock { .. } => "drift-clock",
            Self::FreezeClock { .. } => "freeze-clock",
        }
    }

    /// What else a scenario file says of it, as TOML: keys and values.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let time = |time: &Duration| format!("{:?}", duration_text(*time));
        let file =
            |file: &String| if file.is_empty() { Vec::new() } else { vec![("file", format!("{file:?}"))] };
        match self {
            Self::Crash { down }
            | Self::Restart { down }
            | Self::Wipe { down }
            | Self::ReplaceDisk { down } => vec![("down", time(down))],
            Self::RollingRestart { down, pause } => vec![("down", time(down)), ("pause", time(pause))],
            Self::PowerCut { down, unsynced } => {
                vec![("down", time(down)), ("unsynced", word(Unsynced::NAMES, unsynced))]
            }
            Self::PowerCutInRecovery { down, operations, unsynced }
            | Self::CrashThenPowerCut { down, operations, unsynced } => vec![
                ("down", time(down)),
                ("operations", operations.to_string()),
                ("unsynced", word(Unsynced::NAMES, unsynced)),
            ],
            Self::Pause { lasting }
            | Self::FillDisk { lasting }
            | Self::StallDisk { lasting }
            | Self::FreezeClock { lasting } => vec![("for", time(lasting))],
            Self::FailSync { how, file: path } => {
                let mut all = vec![("how", word(SyncPersonality::NAMES, how))];
                all.extend(file(path));
                all
            }
            Self::FailWrite { file: path }
            | Self::FailRead { file: path }
            | Self::FlipBit { file: path }
            | Self::BreakSector { file: path }
            | Self::LoseWrite { file: path }
            | Self::MisdirectWrite { file: path }
            | Self::LieAboutSync { file: path } => file(path),
            Self::Isolate { lasting, way, flaps, from } => {
                let mut all = vec![
                    ("for", time(lasting)),
                    ("way", word(Way::NAMES, way)),
                    ("flaps", flaps.to_string()),
                ];
                if *from != Others::All {
                    all.push(("from", word(Others::NAMES, from)));
                }
                all
            }
            Self::Split { lasting, sides } => vec![("for", time(lasting)), ("sides", sides.to_string())],
            Self::SlowLink { lasting, by } => vec![("for", time(lasting)), ("by", time(by))],
            Self::JumpClock { by_ms } => vec![("by", format!("\"{by_ms}ms\""))],
            Self::DriftClock { ppm, lasting } => vec![("ppm", ppm.to_string()), ("for", time(lasting))],
            Self::FailDirectorySync | Self::EvictCache | Self::Rot | Self::Reset => Vec::new(),
        }
    }

    /// What of a machine it hits.
    pub fn layer(&self) -> Layer {
        match self {
            Self::Crash { .. }
            | Self::PowerCut { .. }
            | Self::PowerCutInRecovery { .. }
            | Self::CrashThenPowerCut { .. }
            | Self::Restart { .. }
            | Self::RollingRestart { .. }
            | Self::Pause { .. }
            | Self::Wipe { .. }
            | Self::ReplaceDisk { .. } => Layer::Process,
            Self::Isolate { .. } | Self::Split { .. } | Self::Reset | Self::SlowLink { .. } => Layer::Link,
            Self::JumpClock { .. } | Self::DriftClock { .. } | Self::FreezeClock { .. } => Layer::Clock,
            _ => Layer::Disk,
        }
    }

    /// The strictest regime that has it: an honest disk keeps what it has synced.
    pub fn regime(&self) -> Regime {
        match self {
            Self::Wipe { .. }
            | Self::FlipBit { .. }
            | Self::BreakSector { .. }
            | Self::LoseWrite { .. }
            | Self::MisdirectWrite { .. }
            | Self::LieAboutSync { .. } => Regime::Unlimited,
            _ => Regime::WithinBudget,
        }
    }
}

/// The word of a value, quoted.
fn word<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> String {
    let name = names.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name);
    format!("{name:?}")
}

impl Unsynced {
    /// Its words in a scenario file.
    pub const NAMES: &[(&'static str, Self)] =
        &[("drawn", Self::Drawn), ("lost", Self::Lost), ("kept", Self::Kept), ("mixed", Self::Mixed)];
}

impl SyncPersonality {
    /// Its words in a scenario file.
    pub const NAMES: &[(&'static str, Self)] = &[
        ("clean", Self::Clean),
        ("reverted", Self::Reverted),
        ("kept-dirty", Self::KeptDirty),
        ("late", Self::Late),
    ];
}

impl Others {
    /// Its words in a scenario file.
    pub const NAMES: &[(&'static str, Self)] = &[("all", Self::All), ("nodes", Self::Nodes)];
}

impl Way {
    /// Its words in a scenario file.
    pub const NAMES: &[(&'static str, Self)] = &[("both", Self::Both), ("in", Self::In), ("out", Self::Out)];
}
