//! Damage on one node's disk: found by the scrub, not served, and put back from another replica.

use super::cluster::{Cluster, config, create};
use crate::support::records;
use highwater_broker::{BrokerConfig, Node};
use highwater_log::RecoveryReport;
use highwater_sim::{SimEnv, Simulation};
use highwater_wire::ErrorCode;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const RECORDS: usize = 20;

fn scrubbing(id: i32) -> BrokerConfig {
    let mut config = config(id, 3);
    config.settings.set("log.scrub.interval.ms", "1000".to_owned()).unwrap();
    config
}

fn value(number: usize) -> String {
    format!("value-{number:03}")
}

/// Three nodes with a replicated topic that has some records, and who leads it.
async fn filled(cluster: &Cluster<'_>) -> (BTreeMap<i32, Node<SimEnv>>, i32) {
    let mut nodes = BTreeMap::new();
    for id in 1..=3 {
        nodes.insert(id, cluster.launch(scrubbing(id)).await);
    }
    for node in nodes.values() {
        node.ready().await.unwrap();
    }
    assert_eq!(create(&mut cluster.client(1).await, "t", 3).await.error_code, ErrorCode::NONE);
    let leader = cluster.leader_after(1, "t", -1).await;
    for number in 0..RECORDS {
        assert_eq!(cluster.produce(leader, &value(number)).await.error_code, ErrorCode::NONE);
    }
    (nodes, leader)
}

/// Lets a record rot on a node's disk, where no page cache hides it.
fn rot(cluster: &Cluster<'_>, sim: &Simulation, id: i32, number: usize) {
    let disk = sim.disk(cluster.machines[&id]);
    let (path, position) = place(cluster, sim, id, number).expect("the node has the record");
    assert!(disk.flip_bit(&path, position, 3));
    disk.evict(None);
}

/// Where a record stands on a node's disk.
fn place(cluster: &Cluster<'_>, sim: &Simulation, id: i32, number: usize) -> Option<(PathBuf, u64)> {
    let value = value(number);
    sim.disk(cluster.machines[&id]).durable_files().into_iter().find_map(|(path, bytes)| {
        let found = bytes.windows(value.len()).position(|window| window == value.as_bytes())?;
        (path.extension()? == "log").then_some((path, found as u64))
    })
}

/// Waits until a node's disk holds a record again.
async fn mended(cluster: &Cluster<'_>, sim: &Simulation, id: i32, number: usize) {
    for _ in 0..300 {
        if place(cluster, sim, id, number).is_some() {
            return;
        }
        sim.sleep(Duration::from_millis(100)).await;
    }
    panic!("record {number} of node {id} is not put back");
}

/// Which nodes' damage is put back.
fn check(seed: u64, rotten: impl Fn(i32, i32) -> bool) {
    let sim = Simulation::new(seed);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let (nodes, leader) = filled(&cluster).await;
        let rotten: Vec<i32> = (1..=3).filter(|&id| rotten(id, leader)).collect();
        for (&id, number) in rotten.iter().zip([7, 12]) {
            rot(&cluster, &sim, id, number);
        }
        for (&id, number) in rotten.iter().zip([7, 12]) {
            mended(&cluster, &sim, id, number).await;
            let metrics = nodes[&id].metrics();
            assert_eq!((metrics.damage_found.get(), metrics.repairs.get()), (1, 1), "node {id}");
            assert!(nodes[&id].render_metrics().contains("highwater_damaged_ranges 0"));
        }
        let read = cluster.client(leader).await.fetch("t", 0, 0).await;
        let expected: Vec<_> = (0..RECORDS).map(|number| (number as i64, value(number))).collect();
        assert_eq!(records(&read), expected);
    });
}

#[test]
fn what_rots_at_a_follower_is_put_back() {
    check(1, |id, leader| id == leader % 3 + 1);
}

#[test]
fn what_rots_at_the_leader_is_put_back() {
    check(2, |id, leader| id == leader);
}

#[test]
fn what_rots_at_two_nodes_is_put_back_from_each_other_or_the_third() {
    check(3, |id, leader| id != leader % 3 + 1);
}

/// Without the file that says where its epochs began, a replica gathers them from its batches, and is in sync again
/// once it has caught up.
#[test]
fn a_replica_that_lost_its_epochs_comes_back() {
    let sim = Simulation::new(5);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let (mut nodes, leader) = filled(&cluster).await;
        let id = leader % 3 + 1;
        let machine = cluster.machines[&id];
        sim.crash(machine);
        let disk = sim.disk(machine);
        let files = disk.durable_files_with(&|path| path.ends_with("leader-epochs"));
        files.keys().for_each(|path| assert!(disk.flip_bit(path, 20, 1)));
        disk.evict(None);
        nodes.insert(id, cluster.launch(scrubbing(id)).await);
        nodes[&id].ready().await.unwrap();
        assert!(nodes[&id].recovery().iter().any(RecoveryReport::may_be_incomplete));
        assert_eq!(cluster.produce(leader, "more").await.error_code, ErrorCode::NONE);
        while cluster.in_sync(leader, "t").await != 3 {
            sim.sleep(Duration::from_millis(100)).await;
        }
        // The controller was told: it is no news to the next process.
        sim.crash(machine);
        nodes.insert(id, cluster.launch(scrubbing(id)).await);
        nodes[&id].ready().await.unwrap();
        assert!(!nodes[&id].recovery().iter().any(RecoveryReport::may_be_incomplete));
    });
}

#[test]
fn what_nobody_has_any_more_is_refused() {
    let sim = Simulation::new(4);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let (nodes, leader) = filled(&cluster).await;
        (1..=3).for_each(|id| rot(&cluster, &sim, id, 7));
        sim.sleep(Duration::from_secs(20)).await;
        for node in nodes.values() {
            assert!(node.metrics().damage_found.get() > 0 && node.metrics().repairs.get() == 0);
            assert!(node.render_metrics().contains("highwater_damaged_ranges 1"));
        }
        let before = cluster.client(leader).await.fetch("t", 0, 0).await;
        assert_eq!(records(&before).len(), 7, "up to the damage");
        let refused = cluster.client(leader).await.fetch("t", 0, 7).await;
        assert_eq!((refused.error_code, records(&refused).len()), (ErrorCode::KAFKA_STORAGE_ERROR, 0));
        let behind = cluster.client(leader).await.fetch("t", 0, 8).await;
        assert_eq!(records(&behind).len(), RECORDS - 8);
    });
}
