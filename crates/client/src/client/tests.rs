//! What a client does when brokers do not agree, or are not there.

use super::*;
use crate::testing::FakeCluster;
use crate::{Admin, NewTopic};
use highwater_sim::executor::Link;
use highwater_sim::{NodeId, SimEnv, Simulation};
use highwater_types::LeaderEpoch;

const P0: PartitionIndex = PartitionIndex(0);

/// Runs `test` against a cluster of three brokers with a topic `t` of one partition, which broker 0 leads.
fn run<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(FakeCluster, Client<SimEnv>) -> F) {
    let simulation = Simulation::new(seed);
    let cluster = FakeCluster::start(&simulation, 3);
    cluster.add_topic("t", 1);
    let env = simulation.node("client");
    simulation.block_on(async {
        let config = ClientConfig {
            request_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            ..ClientConfig::new(["broker-0:9092", "broker-1:9092"])
        };
        let client = Client::connect(env, config).await.expect("the cluster is there");
        test(cluster, client).await;
    });
}

#[test]
fn a_leader_of_an_older_epoch_is_not_believed() {
    for seed in 0..10 {
        run(seed, |cluster, client| async move {
            assert_eq!(client.leader("t", P0).await.expect("it is led").broker, BrokerId(0));
            cluster.cut_off(0);
            cluster.elect("t", 0, 2);
            let mut newest = LeaderEpoch(0);
            for _ in 0..20 {
                client.forget("t");
                let leader = client.leader("t", P0).await.expect("it is led");
                assert!(leader.partition.leader_epoch >= newest, "{leader:?} after epoch {newest}");
                newest = leader.partition.leader_epoch;
            }
            assert_eq!(newest, LeaderEpoch(1));
        });
    }
}

#[test]
fn a_topic_that_was_made_anew_begins_with_any_epoch() {
    run(1, |cluster, client| async move {
        cluster.elect("t", 0, 1);
        assert_eq!(client.leader("t", P0).await.expect("it is led").broker, BrokerId(1));
        cluster.state().topics.remove("t");
        client.forget("t");
        let missing = client.refresh(&["t"], false).await.expect("a broker answers");
        assert_eq!(missing.get("t"), Some(&ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        cluster.add_topic("t", 1);
        assert_eq!(client.leader("t", P0).await.expect("it is led").broker, BrokerId(0));
    });
}

#[test]
fn a_topic_that_is_gone_is_forgotten_when_all_are_asked_for() {
    run(2, |cluster, client| async move {
        assert!(client.refresh_all().await.expect("a broker answers").topics.contains_key("t"));
        cluster.state().topics.remove("t");
        assert!(!client.refresh_all().await.expect("a broker answers").topics.contains_key("t"));
    });
}

#[test]
fn what_the_controller_must_do_reaches_it() {
    for controller in 0..3 {
        run(2, |cluster, client| async move {
            cluster.state().controller = controller;
            let topic = NewTopic { name: "new".to_owned(), ..NewTopic::default() };
            Admin::new(client).create_topic(&topic, false).await.expect("the controller is there");
            let state = cluster.state();
            let (last, before) = state.creations.split_last().expect("somebody was asked");
            assert!(*last == controller && !before.contains(&controller), "{:?}", state.creations);
        });
    }
}

#[test]
fn a_controller_that_is_not_found_is_an_error_in_time() {
    run(3, |cluster, client| async move {
        cluster.state().controller = 9;
        let start = client.env().clock().now();
        let topic = NewTopic { name: "new".to_owned(), ..NewTopic::default() };
        let limit = client.config().operation_timeout;
        let error = Admin::new(client.clone()).create_topic(&topic, false).await.expect_err("nobody can");
        assert!(client.env().clock().now().since(start) <= limit, "{error}");
    });
}

#[test]
fn a_broker_that_is_not_there_is_asked_last() {
    let simulation = Simulation::new(4);
    let cluster = FakeCluster::start(&simulation, 3);
    cluster.add_topic("t", 1);
    let env = simulation.node("client");
    simulation.block_on(async {
        let config = ClientConfig {
            connect_timeout: Duration::from_secs(2),
            ..ClientConfig::new(["broker-0:9092", "broker-1:9092"])
        };
        let client = Client::connect(env, config).await.expect("the cluster is there");
        // They do not refuse: nothing comes back at all.
        for broker in [0, 2] {
            simulation.set_link(
                NodeId(broker),
                client.env().node(),
                Link { blocked: true, ..Link::default() },
            );
        }
        let start = client.env().clock().now();
        for _ in 0..20 {
            client.refresh(&["t"], false).await.expect("broker 1 is there");
        }
        let took = client.env().clock().now().since(start);
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}
