//! How long writes stand still when a node is lost or stops.

use super::writers::{Notes, standing, with_writers};
use super::{NODES, Nodes, Places};
use crate::load::call;
use anyhow::{Context, Result, ensure};
use highwater_types::PartitionIndex;
use highwater_wire::messages::describe_quorum::{
    DescribeQuorumPartition, DescribeQuorumRequest, DescribeQuorumTopic,
};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a node that came back may take until it leads again and all replicas are in sync.
const SETTLED: Duration = Duration::from_secs(120);
/// How much longer than a session writes may stand still.
const ALLOWANCE: Duration = Duration::from_secs(1);

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct FailOver {
    #[command(flatten)]
    places: Places,
    /// How many partitions there are.
    #[arg(long, default_value_t = 1000)]
    partitions: usize,
    /// broker.session.timeout.ms.
    #[arg(long, default_value_t = 9000)]
    session_ms: u64,
    /// `durability` of the topic.
    #[arg(long, default_value = "sync", value_parser = ["sync", "replicated"])]
    durability: String,
    /// How often each node is killed, and stopped.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
}

/// Kills every node and stops every node while all partitions are written to, and prints how long that stood still.
/// Fails if it was for too long, or if a write failed because of an orderly stop.
pub fn fail_over(options: &FailOver) -> Result<()> {
    let durability = if options.durability == "sync" { "sync" } else { "replicated" };
    let heartbeat = options.session_ms.div_ceil(6);
    let kafka = format!(
        "broker.session.timeout.ms = {}\nbroker.heartbeat.interval.ms = {heartbeat}\n\
         leader.imbalance.check.interval.seconds = 1\nleader.imbalance.per.broker.percentage = 0\n",
        options.session_ms
    );
    println!(
        "| node | controller | led | writes resumed after ms: median | all | longest pause ms | moved | failed | \
         lost | in sync, leading again after s |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut bad = Vec::new();
    for broker in options.places.brokers()? {
        let mut nodes = options.places.start(&broker, durability, &kafka)?;
        let began = Instant::now();
        nodes.create_topic(options.partitions)?;
        let made = began.elapsed().as_secs_f64();
        println!(
            "{}: {} partitions made and in sync after {made:.1} s",
            broker.display(),
            options.partitions
        );
        for _ in 0..options.rounds {
            for fault in [Fault::Kill, Fault::Stop] {
                for at in 0..NODES {
                    settle(&nodes, at, options.partitions)?;
                    bad.extend(round(options, &mut nodes, fault, at)?);
                }
            }
        }
    }
    ensure!(bad.is_empty(), "{}", bad.join("; "));
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
}

/// One fault; what was bad about it.
fn round(options: &FailOver, nodes: &mut Nodes, fault: Fault, at: usize) -> Result<Vec<String>> {
    let notes = Notes::new(options.partitions);
    let mark = Mutex::new(Instant::now());
    let (led, _) = standing(nodes, at, options.partitions)?;
    let controller = is_controller(nodes, at)?;
    let (resumed, longest) = with_writers(nodes, &notes, &mark, |nodes| {
        notes.wait_resumed(Instant::now())?;
        let fault_at = Instant::now();
        *mark.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))? = fault_at;
        notes.mark();
        match fault {
            Fault::Kill => nodes.kill(at),
            Fault::Stop => nodes.stop(at)?,
        }
        let resumed = notes.wait_resumed(fault_at)?;
        Ok((resumed, notes.longest()))
    })?;
    let restarted = Instant::now();
    nodes.restart(at)?;
    settle(nodes, at, options.partitions)?;
    let settled = restarted.elapsed();
    let [moved, failed, lost] =
        [&notes.moved, &notes.failed, &notes.lost].map(|count| count.load(Ordering::SeqCst));
    let all = resumed.last().copied().unwrap_or_default();
    println!(
        "| {} {} | {} | {led} | {} | {} | {} | {moved} | {failed} | {lost} | {:.1} |",
        at + 1,
        if fault == Fault::Kill { "killed" } else { "stopped" },
        if controller { "yes" } else { "no" },
        resumed[resumed.len() / 2].as_millis(),
        all.as_millis(),
        longest.as_millis(),
        settled.as_secs_f64(),
    );
    let mut bad = Vec::new();
    if longest.max(all) > Duration::from_millis(options.session_ms) + ALLOWANCE {
        bad.push(format!("node {}: writes stood still for {:?}", at + 1, longest.max(all)));
    }
    if fault == Fault::Stop && failed + lost > 0 {
        bad.push(format!(
            "node {}: {failed} writes failed and {lost} had no answer in an orderly stop",
            at + 1
        ));
    }
    Ok(bad)
}

/// Waits until all replicas are in sync and the node leads what prefers it.
fn settle(nodes: &Nodes, at: usize, partitions: usize) -> Result<()> {
    let began = Instant::now();
    loop {
        let (led, whole) = standing(nodes, at, partitions)?;
        if whole && led >= partitions / NODES {
            return Ok(());
        }
        ensure!(began.elapsed() < SETTLED, "node {} leads {led}; all in sync: {whole}", at + 1);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_controller(nodes: &Nodes, at: usize) -> Result<bool> {
    let partitions = vec![DescribeQuorumPartition { partition_index: PartitionIndex(0) }];
    let topics = vec![DescribeQuorumTopic { topic_name: "__cluster_metadata".into(), partitions }];
    let answer = call(&mut nodes.connect(at)?, 1, &DescribeQuorumRequest { topics })?;
    let quorum = answer.topics.iter().flat_map(|topic| &topic.partitions).next().context("a quorum")?;
    Ok(quorum.leader_id.0 == i32::try_from(at + 1)?)
}
