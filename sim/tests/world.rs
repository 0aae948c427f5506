//! Whole clusters under faults: runs repeat themselves, do enough, find nothing where there is nothing.
#![allow(clippy::unwrap_used)] // All of it is tests.

use highwater_faults::{Churn, ClusterSpec, Expect, RandomFaults, Regime, Scenario, TopicSpec, WorkloadSpec};
use highwater_sim::world::{self, Options, Outcome};
use std::collections::BTreeMap;
use std::time::Duration;

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn topic(name: &str, partitions: u32, configs: &[(&str, &str)]) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, replicas: 1, configs: texts(configs) }
}

fn scenario(duration: Duration) -> Scenario {
    let every = |seconds| Some(Duration::from_secs(seconds));
    let churn = Churn {
        topics: every(6),
        configs: every(5),
        delete_records: every(8),
        list_offsets: Some(Duration::from_millis(400)),
        alter: [
            ("segment.bytes".to_owned(), vec!["2048".to_owned(), "8192".to_owned()]),
            ("compression.type".to_owned(), vec!["producer".to_owned(), "lz4".to_owned()]),
            ("retention.ms".to_owned(), vec!["30000".to_owned(), "-1".to_owned()]),
        ]
        .into(),
    };
    Scenario {
        name: "test".to_owned(),
        description: String::new(),
        duration,
        regime: Regime::WithinBudget,
        cluster: ClusterSpec {
            settings: texts(&[("log.retention.check.interval.ms", "1000")]),
            ..ClusterSpec::default()
        },
        topics: vec![
            topic("orders", 3, &[("segment.bytes", "4096")]),
            topic("events", 1, &[("segment.bytes", "16384"), ("retention.ms", "20000")]),
        ],
        workload: WorkloadSpec {
            bursts: every(10),
            seeks: every(5),
            churn,
            acks: vec![highwater_faults::Acks::All, highwater_faults::Acks::Leader],
            ..WorkloadSpec::default()
        },
        script: Vec::new(),
        random: RandomFaults::default(),
        expect: Expect::default(),
    }
}

fn show(outcome: &Outcome) {
    println!(
        "seed {} {:?} in {:?}: {} acknowledged, {} operations, {:016x} {:?}",
        outcome.seed,
        outcome.failure,
        outcome.simulated,
        outcome.acknowledged,
        outcome.operations,
        outcome.hash,
        outcome.faults
    );
    if outcome.failure.is_some() {
        outcome.events.iter().for_each(|event| println!("  {event}"));
    }
}

#[test]
fn a_run_does_enough_and_finds_nothing_where_nothing_is_wrong() {
    let mut scenario = scenario(Duration::from_secs(60));
    scenario.random = RandomFaults { swarm: false, disk_delays: false, ..RandomFaults::default() };
    let began = std::time::Instant::now();
    let outcome = world::run(&scenario, 1, &Options::default());
    println!("{:?}", began.elapsed());
    show(&outcome);
    assert_eq!(outcome.failure, None);
    assert!(outcome.acknowledged > 200);
    assert!(outcome.operations as f64 >= 100.0 * 60.0);
}
