//! What a cluster costs while nobody uses it.

use super::Places;
use crate::process::{cpu_time, resident_bytes};
use anyhow::Result;
use std::time::{Duration, Instant};

/// How long the nodes are left alone before they are measured.
const CALM: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Idle {
    #[command(flatten)]
    places: Places,
    /// How many partitions there are.
    #[arg(long, default_value_t = 1000)]
    partitions: usize,
    /// For how many seconds processor time is counted.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often each broker is measured.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
}

/// Prints what each node of an idle cluster costs.
pub fn idle(options: &Idle) -> Result<()> {
    println!("| partitions | node | share of a core, % | memory, MiB |\n|---|---|---|---|");
    for _ in 0..options.rounds {
        for broker in options.places.brokers()? {
            println!("{}", broker.display());
            let nodes = options.places.start(&broker, "sync", "")?;
            if options.partitions > 0 {
                nodes.create_topic(options.partitions)?;
            }
            std::thread::sleep(CALM);
            let pids = nodes.pids();
            let cpu = || pids.iter().map(|&pid| cpu_time(pid)).collect::<Result<Vec<_>>>();
            let (began, before) = (Instant::now(), cpu()?);
            std::thread::sleep(Duration::from_secs(options.seconds));
            let (passed, after) = (began.elapsed(), cpu()?);
            for (at, &pid) in pids.iter().enumerate() {
                let share = (after[at] - before[at]).as_secs_f64() / passed.as_secs_f64() * 100.0;
                let memory = resident_bytes(pid)? as f64 / f64::from(1 << 20);
                println!("| {} | {} | {share:.2} | {memory:.1} |", options.partitions, at + 1);
            }
        }
    }
    Ok(())
}
