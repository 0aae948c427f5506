//! What a node removes by itself, and what it leaves alone.

use crate::cluster::{Cluster, config, create_with};
use highwater_env::{Disk, Env};
use highwater_sim::Simulation;
use highwater_wire::ErrorCode;
use std::path::PathBuf;
use std::time::Duration;

/// It has its logs and not the configuration of their topics, and need not know how much of them is committed.
#[test]
fn a_node_that_does_not_know_its_topics_yet_removes_nothing() {
    let sim = Simulation::new(12);
    let cluster = Cluster::new(&sim, 3);
    let config = |id| {
        let mut config = config(id, 3);
        config.settings.set("log.retention.check.interval.ms", "1000".to_owned()).unwrap();
        config
    };
    sim.block_on(async {
        let nodes = cluster.start(3).await;
        let made = create_with(&mut cluster.client(1).await, "t", 3, &[("retention.ms", "-1")]).await;
        let id = made.topic_id;
        let leader = cluster.leader_after(1, "t", -1).await;
        assert_eq!(cluster.produce(leader, "kept").await.error_code, ErrorCode::NONE);
        for node in nodes.into_values() {
            node.shutdown().await.unwrap();
        }
        for machine in cluster.machines.values() {
            sim.jump_clock(*machine, 30 * 86_400_000);
        }
        let _alone = cluster.launch(config(1)).await;
        sim.sleep(Duration::from_secs(60)).await;
        let env = sim.env(cluster.machines[&1]);
        let files = env.disk().list(&PathBuf::from(format!("/data/logs/{id}-0"))).await.unwrap();
        let names: Vec<_> = files.into_iter().map(|file| file.name).collect();
        assert!(names.contains(&"00000000000000000000.log".to_owned()), "{names:?}");
    });
}
