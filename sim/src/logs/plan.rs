//! What one history does: drawn from its seed, each optional fault off in a good part of the seeds.

use crate::disk::FaultRates;
use crate::executor::DiskPace;
use highwater_env::Rng;
use highwater_log::LogConfig;
use highwater_records::TimestampType;
use rand::RngExt;
use std::fmt;
use std::time::Duration;

/// What the disk of a history may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regime {
    /// What a successful sync covered stays. Then nothing that was acknowledged may be lost.
    Honest,
    /// Bits rot, writes are lost or go elsewhere, sectors die. Then damage may be lost, but is never served, and loss
    /// below the proven mark is never silent.
    Lying,
}

impl fmt::Display for Regime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Honest => "honest",
            Self::Lying => "lying",
        })
    }
}

/// How an incarnation of the node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The store is closed, and opened again.
    Close,
    /// The process dies when its work is done, with what was not waited for still under way.
    Crash,
    /// The machine loses power then.
    PowerLoss,
    /// The process dies before a disk operation.
    CrashAt(u64),
    /// The machine loses power before a disk operation.
    PowerLossAt(u64),
}

/// One incarnation of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Incarnation {
    /// How many actions it takes.
    pub actions: u32,
    /// How it ends.
    pub ending: Ending,
    /// How often its disk fails.
    pub rates: FaultRates,
}

/// One history.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the disk may do.
    pub regime: Regime,
    /// How many logs the store has at first.
    pub logs: u32,
    /// Producers per log.
    pub producers: u32,
    /// The configuration of the logs.
    pub config: LogConfig,
    /// How often the store writes its proven marks.
    pub checkpoint_interval: Duration,
    /// How long disk operations take.
    pub pace: DiskPace,
    /// The incarnations, in order.
    pub incarnations: Vec<Incarnation>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(rng: &mut Rng, regime: Regime) -> Self {
        let faults = match regime {
            Regime::Honest => FaultRates::honest(rng),
            Regime::Lying => FaultRates::lying(rng),
        };
        let count = rng.random_range(2..6);
        let incarnations = (0..count).map(|_| Incarnation::draw(rng, &faults)).collect();
        Self {
            regime,
            logs: rng.random_range(1..4),
            producers: rng.random_range(1..4),
            config: draw_config(rng),
            checkpoint_interval: Duration::from_millis(*pick(rng, &[1, 5, 50, 1_000])),
            pace: DiskPace {
                yield_one_in: *pick(rng, &[1, 2, 4]),
                delay_one_in: *pick(rng, &[0, 1, 3, 10]),
                delay_max: Duration::from_micros(*pick(rng, &[50, 500, 5_000, 20_000])),
            },
            incarnations,
        }
    }
}

impl Incarnation {
    fn draw(rng: &mut Rng, faults: &FaultRates) -> Self {
        let operations = |rng: &mut Rng| match rng.random_range(0..3u32) {
            0 => rng.random_range(0..40),
            1 => rng.random_range(0..150),
            _ => rng.random_range(0..600),
        };
        let ending = match rng.random_range(0..10u32) {
            0 => Ending::Close,
            1 => Ending::Crash,
            2 | 3 => Ending::PowerLoss,
            4 | 5 => Ending::CrashAt(operations(rng)),
            _ => Ending::PowerLossAt(operations(rng)),
        };
        let rates = if rng.random_bool(0.5) { faults.clone() } else { FaultRates::default() };
        Self { actions: rng.random_range(1..25), ending, rates }
    }
}

/// One of some values, with even odds.
pub fn pick<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    &values[rng.random_range(0..values.len())]
}

/// A small configuration, so that segments, indexes and retention have work within a few batches.
pub fn draw_config(rng: &mut Rng) -> LogConfig {
    let log_time = rng.random_bool(0.2);
    LogConfig {
        segment_bytes: *pick(rng, &[700, 1_500, 5_000, 20_000]),
        segment_ms: *pick(rng, &[20, 500, 3_600_000]),
        segment_index_bytes: *pick(rng, &[200, 10_000]),
        index_interval_bytes: *pick(rng, &[1, 300, 4_096]),
        retention_ms: *pick(rng, &[None, None, Some(100), Some(60_000)]),
        retention_bytes: *pick(rng, &[None, None, Some(2_000), Some(10_000)]),
        timestamp_type: if log_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        file_delete_delay_ms: *pick(rng, &[0, 50, 60_000]),
        preallocate: rng.random_bool(0.2),
        ..LogConfig::default()
    }
}
