//! `highwater-load`: the load, by hand, against a running server.

// Its output is what it is for.
#![allow(clippy::print_stdout)]

use clap::{Parser, Subcommand};
use highwater_bench::load::{ConsumeLoad, Outcome, ProduceLoad, consume, create_topic, produce};
use std::net::SocketAddr;

/// Prebuilt Kafka requests, pipelined, against a running server; prints what the server used for them.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// Make a topic, which a broker needs and the floor does not.
    CreateTopic {
        /// The server.
        #[arg(long)]
        server: SocketAddr,
        /// Its name.
        #[arg(long, default_value = "bench")]
        topic: String,
        /// How many partitions.
        #[arg(long, default_value_t = 1)]
        partitions: usize,
        /// How many replicas each of them has.
        #[arg(long, default_value_t = 1)]
        replicas: i16,
    },
    /// Produce with acks=all.
    Produce(ProduceLoad),
    /// Read everything once.
    Consume(ConsumeLoad),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().load {
        Load::CreateTopic { server, topic, partitions, replicas } => {
            create_topic(server, &topic, partitions, replicas)?;
        }
        Load::Produce(load) => print(&produce(&load)?),
        Load::Consume(load) => print(&consume(&load)?),
    }
    Ok(())
}

fn print(outcome: &Outcome) {
    println!(
        "{} records, {} bytes in {:.3} s: {:.0} records/s, {:.0} MiB/s; server CPU {:.3} s: {:.3} s/GiB, {:.3} us/record",
        outcome.records,
        outcome.bytes,
        outcome.wall.as_secs_f64(),
        outcome.records_per_second(),
        outcome.mib_per_second(),
        outcome.server_cpu.as_secs_f64(),
        outcome.cpu_seconds_per_gib(),
        outcome.cpu_micros_per_record(),
    );
}
