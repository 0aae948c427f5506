//! What a seed draws.

use crate::disk::FaultRates;
use crate::executor::{ComputePace, DiskPace, Link};
use highwater_env::Rng;
use rand::RngExt;
use std::time::Duration;

/// What a run is made of. Each fault is off in a good part of the seeds.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first voters.
    pub voters: usize,
    /// Nodes beside them.
    pub spares: usize,
    /// How long faults go on.
    pub duration: Duration,
    /// See the options of a member.
    pub election_timeout: Duration,
    /// See the options of a member.
    pub heartbeat: Duration,
    /// See the options of a member.
    pub snapshot_every: u64,
    /// See the options of a member.
    pub keep_entries: u64,
    /// The size of the log's segments.
    pub segment_bytes: u32,
    /// How long disk operations take.
    pub pace: DiskPace,
    /// How long it takes to encode a snapshot, which members do beside everything else.
    pub compute_pace: ComputePace,
    /// What befalls disks.
    pub rates: FaultRates,
    /// How messages travel.
    pub link: Link,
    /// One call in so many is repeated later, out of order; 0 for none.
    pub repeat_one_in: u32,
    /// The longest that a repeated call is held back.
    pub repeat_after: Duration,
    /// How often a client does something.
    pub think: Duration,
    /// The mean time between two faults of a kind; None for never.
    pub faults: Vec<(Kind, Duration)>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process dies.
    Crash,
    /// A machine loses power.
    PowerLoss,
    /// All machines lose power at one instant.
    PowerLossOfAll,
    /// A disk stops after some operations, and then its machine.
    Fuse,
    /// A node is cut off: wholly, or one way.
    Isolate,
    /// The nodes fall apart into two halves.
    Split,
    /// Connections are reset.
    Reset,
    /// A wall clock jumps, or all of them by the same.
    Jump,
    /// Clocks run too fast or too slow.
    Drift,
    /// A disk is lost.
    Wipe,
    /// A bit of what is on a disk flips.
    Rot,
    /// The voters change.
    Members,
}

impl Kind {
    const ALL: &[(Self, f64, u64)] = &[
        (Self::Crash, 0.7, 6_000),
        (Self::PowerLoss, 0.7, 6_000),
        (Self::PowerLossOfAll, 0.4, 15_000),
        (Self::Fuse, 0.6, 5_000),
        (Self::Isolate, 0.7, 4_000),
        (Self::Split, 0.4, 8_000),
        (Self::Reset, 0.6, 4_000),
        (Self::Jump, 0.4, 5_000),
        (Self::Drift, 0.4, 8_000),
        (Self::Wipe, 0.4, 12_000),
        (Self::Rot, 0.3, 12_000),
        (Self::Members, 0.6, 4_000),
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::PowerLoss => "power loss",
            Self::PowerLossOfAll => "power loss of all",
            Self::Fuse => "crash at a disk operation",
            Self::Isolate => "node cut off",
            Self::Split => "split",
            Self::Reset => "connections reset",
            Self::Jump => "clock jump",
            Self::Drift => "clock drift",
            Self::Wipe => "disk lost",
            Self::Rot => "bit flipped",
            Self::Members => "change of members",
        }
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let millis = |rng: &mut Rng, from: u64, to: u64| Duration::from_millis(rng.random_range(from..to));
        let voters = if rng.random_bool(0.7) { 3 } else { 5 };
        let election_timeout = millis(rng, 200, 1_000);
        let delay_max = millis(rng, 1, 20);
        let latency_min = millis(rng, 0, 5);
        let latency_max = latency_min + millis(rng, 1, election_timeout.as_millis() as u64 / 16);
        let rate = |rng: &mut Rng, often: f64, most: f64| {
            if rng.random_bool(often) { rng.random_range(0.0..most) } else { 0.0 }
        };
        let rates = FaultRates {
            read_error: rate(rng, 0.2, 0.002),
            write_error: rate(rng, 0.3, 0.002),
            full: rate(rng, 0.2, 0.002),
            sync_error: rate(rng, 0.3, 0.004),
            dir_error: rate(rng, 0.2, 0.002),
            late_error: rate(rng, 0.2, 0.002),
            evict: rate(rng, 0.5, 0.3),
            stall: rate(rng, 0.3, 0.01),
            stall_max: millis(rng, 10, 2_000),
            ..FaultRates::default()
        };
        let mut faults = Vec::new();
        for &(kind, often, mean) in Kind::ALL {
            if rng.random_bool(often) {
                faults.push((kind, Duration::from_millis(mean).mul_f64(rng.random_range(0.3..2.0))));
            }
        }
        Self {
            voters,
            spares: rng.random_range(0..3),
            duration: millis(rng, 15_000, 40_000),
            election_timeout,
            heartbeat: election_timeout / 4,
            snapshot_every: rng.random_range(3..40),
            // Where few are kept, members that lag a little are sent a snapshot.
            keep_entries: if rng.random_bool(0.3) { rng.random_range(0..3) } else { rng.random_range(0..20) },
            segment_bytes: rng.random_range(1_000..16_000),
            pace: DiskPace {
                yield_one_in: rng.random_range(1..4),
                delay_one_in: rng.random_range(2..20),
                delay_max,
            },
            compute_pace: ComputePace {
                delay_one_in: rng.random_range(1..6),
                long_one_in: rng.random_range(1..4),
            },
            rates,
            link: Link { latency_min, latency_max, blocked: false },
            repeat_one_in: if rng.random_bool(0.7) { rng.random_range(3..40) } else { 0 },
            repeat_after: millis(rng, 10, 5_000),
            think: millis(rng, 5, 150),
            faults,
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.voters + self.spares
    }

    /// Whether a kind of fault happens.
    pub fn has(&self, kind: Kind) -> bool {
        self.faults.iter().any(|&(other, _)| other == kind)
    }
}
