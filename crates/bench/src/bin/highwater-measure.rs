//! `highwater-measure`: what clusters of real processes take, in time, processor time and memory.

use anyhow::Result;
use clap::Parser;
use highwater_bench::cluster::{FailOver, Groups, Idle, Replicated, fail_over, groups, idle, replicated};
use highwater_bench::compaction::{Compacted, compacted};
use highwater_bench::metadata::{Metadata, metadata};

/// Starts clusters of three brokers on this machine, or parts of a node, and prints what was measured, as Markdown.
#[derive(Parser)]
enum Cli {
    /// What replication costs, beside the floor alone.
    Replicated(Replicated),
    /// What an idle cluster with many partitions costs.
    Idle(Idle),
    /// How long writes stand still when a node is killed or stops.
    FailOver(FailOver),
    /// What the compaction of a log takes.
    Compaction(Compacted),
    /// What consumer groups cost.
    Groups(Groups),
    /// What the cluster's state costs at many partitions.
    Metadata(Metadata),
}

fn main() -> Result<()> {
    match Cli::parse() {
        Cli::Replicated(options) => replicated(&options),
        Cli::Idle(options) => idle(&options),
        Cli::FailOver(options) => fail_over(&options),
        Cli::Compaction(options) => compacted(&options),
        Cli::Groups(options) => groups(&options),
        Cli::Metadata(options) => metadata(&options),
    }
}
