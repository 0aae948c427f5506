//! Nodes that do not belong to a cluster, and peers that speak garbage: each is told what to do, and the cluster goes
//! on without noticing.

use crate::cluster::{Cluster, cluster_id, config, create};
use highwater_broker::{BrokerConfig, Node};
use highwater_env::{Env, Network, timeout};
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{BrokerId, ClusterId, Uuid};
use highwater_wire::ErrorCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Starts a node that should be turned away; why it was.
async fn refused(env: &SimEnv, config: BrokerConfig) -> String {
    let node = match Node::launch(env.clone(), config).await {
        Ok(node) => node,
        Err(error) => return error.to_string(),
    };
    let told = timeout(env.clock(), Duration::from_secs(90), node.ready()).await;
    let why = told.unwrap_or_else(|_| panic!("it neither serves nor says why it does not"));
    why.expect_err("it serves").to_string()
}

/// A cluster of three with a topic, and what `intrude` does to it; it takes records before and after.
fn goes_on(seed: u64, intrude: impl AsyncFnOnce(&Cluster<'_>, &SimEnv)) {
    let sim = Simulation::new(seed);
    let cluster = Cluster::new(&sim, 3);
    let intruder = sim.node("broker-9");
    sim.block_on(async {
        let _nodes = cluster.start(3).await;
        create(&mut cluster.client(1).await, "t", 3).await;
        let leader = cluster.leader_after(1, "t", -1).await;
        assert_eq!(cluster.produce(leader, "before").await.error_code, ErrorCode::NONE);
        intrude(&cluster, &intruder).await;
        assert_eq!(cluster.leader(1, "t").await, leader);
        assert_eq!(cluster.produce(leader, "after").await.error_code, ErrorCode::NONE);
    });
}

/// The configuration of a node on the intruder's machine.
fn intruder(id: i32) -> BrokerConfig {
    let mut config = config(id, 3);
    config.listeners[0].advertised_host = Some("broker-9".to_owned());
    config.internal.as_mut().unwrap().advertised_host = Some("broker-9".to_owned());
    config
}

#[test]
fn a_second_node_of_one_id() {
    goes_on(1, async |_, env| {
        let why = refused(env, intruder(2)).await;
        assert!(why.contains("Broker 2 is registered and alive on another disk"), "{why}");
    });
}

#[test]
fn a_node_of_another_cluster() {
    goes_on(2, async |_, env| {
        let mut config = intruder(9);
        config.cluster_id = Some(ClusterId(Uuid::from_random(78)));
        let why = refused(env, config).await;
        assert!(why.contains("belongs to cluster") && why.contains("correct cluster_id"), "{why}");
    });
}

#[test]
fn a_data_directory_of_another_node_or_cluster() {
    let sim = Simulation::new(3);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let mut nodes = cluster.start(3).await;
        create(&mut cluster.client(1).await, "t", 3).await;
        nodes.remove(&3).unwrap().shutdown().await.unwrap();
        let machine = sim.env(cluster.machines[&3]);
        let mut other = config(3, 3);
        other.cluster_id = Some(ClusterId(Uuid::from_random(78)));
        let why = refused(&machine, other).await;
        assert!(why.contains(&cluster_id().to_string()), "{why}");
        let why = refused(&machine, config(4, 3)).await;
        assert!(why.contains("node_id 3") || why.contains("node 3"), "{why}");
        // Nothing of that harmed what is in it.
        let back = cluster.launch(config(3, 3)).await;
        back.ready().await.unwrap();
        let leader = cluster.leader_after(1, "t", -1).await;
        assert_eq!(cluster.produce(leader, "after").await.error_code, ErrorCode::NONE);
    });
}

#[test]
fn a_list_of_voters_that_names_others() {
    goes_on(4, async |_, env| {
        let mut config = intruder(9);
        config.voters[1].id = BrokerId(7);
        let why = refused(env, config).await;
        assert!(why.contains("named as voter 7, and it is node 2: correct the list of voters"), "{why}");
    });
}

#[test]
fn a_controller_with_other_rules_for_what_is_safe() {
    let sim = Simulation::new(7);
    let cluster = Cluster::new(&sim, 3);
    let alone = || {
        let mut config = config(3, 3);
        config.is_broker = false;
        config.listeners.clear();
        config
    };
    sim.block_on(async {
        let (one, two) = (cluster.launch(config(1, 3)).await, cluster.launch(config(2, 3)).await);
        let three = cluster.launch(alone()).await;
        for node in [&one, &two, &three] {
            node.ready().await.unwrap();
        }
        let clock = cluster.client.clock();
        let goes_on = timeout(clock, Duration::from_secs(30), three.failed()).await;
        assert!(goes_on.is_err(), "{goes_on:?}");
        three.shutdown().await.unwrap();
        let mut other = alone();
        other.settings.set("min.insync.replicas", "1".to_owned()).unwrap();
        let three = cluster.launch(other).await;
        let why = timeout(clock, Duration::from_secs(30), three.failed()).await.expect("it goes on");
        assert!(why.contains("min.insync.replicas") && why.contains("all nodes must agree"), "{why}");
        create(&mut cluster.client(1).await, "t", 2).await;
        let leader = cluster.leader_after(1, "t", -1).await;
        assert_eq!(cluster.produce(leader, "after").await.error_code, ErrorCode::NONE);
    });
}

#[test]
fn clocks_an_hour_apart() {
    let sim = Simulation::new(5);
    let cluster = Cluster::new(&sim, 3);
    sim.jump_clock(cluster.machines[&2], 3_600_000);
    sim.jump_clock(cluster.machines[&3], -3_600_000);
    sim.block_on(async {
        let _nodes = cluster.start(3).await;
        create(&mut cluster.client(1).await, "t", 3).await;
        for ask in 1..=3 {
            let leader = cluster.leader_after(ask, "t", -1).await;
            assert_eq!(cluster.produce(leader, "record").await.error_code, ErrorCode::NONE);
        }
    });
}

#[test]
fn garbage_on_the_internal_port() {
    goes_on(6, async |cluster, env| {
        let mut rng = env.entropy(highwater_env::Purpose::Jitter);
        for round in 0..200_u32 {
            let at = 1 + i32::try_from(round % 3).unwrap();
            let found = env.network().resolve(&format!("broker-{at}"), 9093).await.unwrap();
            let mut stream = env.network().connect(found[0]).await.unwrap();
            let mut bytes = vec![0_u8; 1 + usize::try_from(round).unwrap() * 7];
            rand::Rng::fill_bytes(&mut rng, &mut bytes);
            if round % 2 == 0 {
                // A length that is believed, and then rubbish.
                let length = u32::try_from(bytes.len()).unwrap();
                bytes.splice(0..0, length.to_be_bytes());
            }
            // It may be closed before all was said.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = timeout(env.clock(), Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
            assert_eq!(cluster.leader(at, "t").await, cluster.leader(1, "t").await);
        }
    });
}
