//! The faults that happen by chance, and how often they do if nothing is said.

use crate::Regime;
use std::time::Duration;

/// What has a fault of its own rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The interval is that of the whole cluster.
    Cluster,
    /// Each broker (its disk, say) has the fault at this interval.
    EachBroker,
    /// Each link between a broker and a client, or two brokers, has the fault at this interval.
    EachLink,
}

macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $kind:ident, $name:literal, $scope:ident, $usual_ms:literal, $regime:ident, $least:literal;
    )*) => {
        /// A fault that happens by chance.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultKind {
            $($(#[$doc])* $kind,)*
        }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name in a scenario file.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What its interval is about.
            pub fn scope(self) -> Scope {
                match self { $(Self::$kind => Scope::$scope,)* }
            }

            /// The mean interval of faults that a scenario asks for without saying how often.
            pub fn usual(self) -> Duration {
                Duration::from_millis(match self { $(Self::$kind => $usual_ms,)* })
            }

            /// The strictest regime that has it.
            pub fn regime(self) -> Regime {
                match self { $(Self::$kind => Regime::$regime,)* }
            }

            /// How many nodes a cluster has at least that can have it.
            pub fn least_nodes(self) -> u32 {
                match self { $(Self::$kind => $least,)* }
            }
        }
    };
}

kinds! {
    /// A process dies.
    Crash, "crash", Cluster, 20_000, WithinBudget, 1;
    /// A machine loses power.
    PowerCut, "power_cut", Cluster, 30_000, WithinBudget, 1;
    /// All brokers lose power at one instant.
    PowerCutOfAll, "power_cut_of_all", Cluster, 60_000, WithinBudget, 2;
    /// A machine loses power, and again while it recovers.
    PowerCutInRecovery, "power_cut_in_recovery", Cluster, 40_000, WithinBudget, 1;
    /// A node is stopped and started in order.
    Restart, "restart", Cluster, 60_000, WithinBudget, 1;
    /// A node stands still.
    Pause, "pause", Cluster, 60_000, WithinBudget, 1;
    /// A node's disk is replaced by an empty one.
    Wipe, "wipe", Cluster, 60_000, Unlimited, 1;
    /// A write fails.
    WriteError, "write_error", EachBroker, 60_000, WithinBudget, 1;
    /// A sync fails.
    SyncError, "sync_error", EachBroker, 60_000, WithinBudget, 1;
    /// A read fails.
    ReadError, "read_error", EachBroker, 10_000, WithinBudget, 1;
    /// A sync of a directory fails.
    DirectoryError, "directory_error", EachBroker, 60_000, WithinBudget, 1;
    /// The disk is full for a while.
    FullDisk, "full_disk", EachBroker, 40_000, WithinBudget, 1;
    /// The disk hangs for a while.
    DiskStall, "disk_stall", EachBroker, 15_000, WithinBudget, 1;
    /// Clean pages leave the cache.
    Eviction, "eviction", EachBroker, 5_000, WithinBudget, 1;
    /// A bit flips.
    BitRot, "bit_rot", EachBroker, 20_000, Unlimited, 1;
    /// A sector dies.
    BadSector, "bad_sector", EachBroker, 30_000, Unlimited, 1;
    /// A sync succeeds and a page was not written.
    LostWrite, "lost_write", EachBroker, 30_000, Unlimited, 1;
    /// A sync succeeds and a page went elsewhere.
    MisdirectedWrite, "misdirected_write", EachBroker, 30_000, Unlimited, 1;
    /// A sync succeeds and its pages were lost.
    FalseSync, "false_sync", EachBroker, 40_000, Unlimited, 1;
    /// Connections of a link are reset.
    Reset, "reset", EachLink, 30_000, WithinBudget, 1;
    /// A link holds everything back for a while.
    Clog, "clog", EachLink, 30_000, WithinBudget, 1;
    /// A link is slow for a while.
    SlowLink, "slow_link", EachLink, 40_000, WithinBudget, 1;
    /// Machines do not reach each other for a while.
    Partition, "partition", Cluster, 20_000, WithinBudget, 1;
    /// A wall clock jumps.
    ClockJump, "clock_jump", Cluster, 15_000, WithinBudget, 1;
    /// A machine's clocks run at another speed.
    ClockDrift, "clock_drift", Cluster, 20_000, WithinBudget, 1;
    /// A wall clock stands still.
    ClockFreeze, "clock_freeze", Cluster, 30_000, WithinBudget, 1;
    /// Several nodes, but not all, lose power at one instant.
    PowerCutOfSome, "power_cut_of_some", Cluster, 40_000, WithinBudget, 3;
    /// A process dies, and its machine loses power while it recovers.
    CrashThenPowerCut, "crash_then_power_cut", Cluster, 40_000, WithinBudget, 2;
    /// Nodes are stopped and started in order, one after another.
    RollingRestart, "rolling_restart", Cluster, 90_000, WithinBudget, 2;
    /// A node gets an empty disk, at a moment at which the cluster can bear it.
    ReplacedDisk, "replaced_disk", Cluster, 40_000, WithinBudget, 3;
    /// A node is cut off from the others, and perhaps from clients.
    Isolation, "isolation", Cluster, 20_000, WithinBudget, 2;
    /// The cluster falls into two halves that do not reach each other.
    Halves, "halves", Cluster, 30_000, WithinBudget, 2;
    /// A node is not heard by the others, or does not hear them.
    OneWay, "one_way", Cluster, 30_000, WithinBudget, 2;
    /// A node is cut off from the others again and again.
    Flapping, "flapping", Cluster, 40_000, WithinBudget, 2;
    /// Bits rot in what stood on one disk for a while, as long as other disks hold the same and are whole.
    Rot, "rot", Cluster, 15_000, WithinBudget, 3;
}

impl FaultKind {
    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}
