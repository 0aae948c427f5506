//! The load: prebuilt Kafka requests over plain connections, pipelined, and what the server used for them.

mod connection;
mod consume;
pub mod frames;
mod produce;
mod topic;

pub use connection::Connection;
pub use consume::{ConsumeLoad, consume};
pub use produce::{ProduceLoad, produce, produce_to};
pub use topic::{PartitionState, call, create_topic, describe, wait_for_topic, wait_until_ready};

use crate::process::cpu_time;
use anyhow::Result;
use std::time::{Duration, Instant};

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// What a load came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Records sent and acknowledged, or received.
    pub records: u64,
    /// The bytes of their batches.
    pub bytes: u64,
    /// How long that took.
    pub wall: Duration,
    /// What processor time the server, or all of them, used meanwhile.
    pub server_cpu: Duration,
}

impl Outcome {
    /// Adds what another load came to, which ran before or after this one.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.wall += other.wall;
        self.server_cpu += other.server_cpu;
    }

    /// The server's processor seconds per GiB.
    pub fn cpu_seconds_per_gib(&self) -> f64 {
        self.server_cpu.as_secs_f64() / (self.bytes as f64 / GIB)
    }

    /// The server's processor microseconds per record.
    pub fn cpu_micros_per_record(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.records as f64
    }

    /// Throughput.
    pub fn mib_per_second(&self) -> f64 {
        self.bytes as f64 / MIB / self.wall.as_secs_f64()
    }

    /// Throughput.
    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.wall.as_secs_f64()
    }
}

/// Runs `work`, which gives records and bytes, and measures it.
fn measured(server_pids: &[u32], work: impl FnOnce() -> Result<(u64, u64)>) -> Result<Outcome> {
    let cpu_of_all = || server_pids.iter().map(|&pid| cpu_time(pid)).sum::<Result<Duration>>();
    let cpu_before = cpu_of_all()?;
    let start = Instant::now();
    let (records, bytes) = work()?;
    let wall = start.elapsed();
    let server_cpu = cpu_of_all()?.saturating_sub(cpu_before);
    Ok(Outcome { records, bytes, wall, server_cpu })
}

/// Runs `work` for each number below `count` on a thread of its own, and adds up what they give.
fn in_parallel(count: usize, work: impl Fn(usize) -> Result<(u64, u64)> + Sync) -> Result<(u64, u64)> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number))).collect();
        let mut sum = (0, 0);
        for thread in threads {
            let (records, bytes) =
                thread.join().map_err(|_| anyhow::anyhow!("a thread of the load panicked"))??;
            sum = (sum.0 + records, sum.1 + bytes);
        }
        Ok(sum)
    })
}
