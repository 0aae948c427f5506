//! Three nodes in one cluster, over a simulated network: replication, fail-over, and who is turned away.

use crate::support::{Client, batch, produce, records, show_logs};
use highwater_broker::{BrokerConfig, ListenerConfig, Node, VoterConfig};
use highwater_env::{Env, timeout};
use highwater_sim::disk::{Fault, Op, PowerRates, SyncFailure};
use highwater_sim::{NodeId, SimEnv, Simulation};
use highwater_types::{BrokerId, ClusterId, PartitionIndex, Uuid};
use highwater_wire::ErrorCode;
use highwater_wire::messages::create_topics::CreatableTopicConfig;
use highwater_wire::messages::*;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Machines of a cluster, and the one that the client runs on.
pub struct Cluster<'a> {
    pub sim: &'a Simulation,
    pub machines: BTreeMap<i32, NodeId>,
    pub client: SimEnv,
}

pub fn cluster_id() -> ClusterId {
    ClusterId(Uuid::from_random(77))
}

pub fn config(id: i32, voters: i32) -> BrokerConfig {
    let every = |port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let mut config = BrokerConfig::new(BrokerId(id), "/data", every(9092));
    config.cluster_id = Some(cluster_id());
    config.listeners[0].advertised_host = Some(format!("broker-{id}"));
    config.internal = Some(ListenerConfig {
        name: "CONTROLLER".to_owned(),
        listen: every(9093),
        advertised_host: Some(format!("broker-{id}")),
        advertised_port: None,
    });
    // A few batches at a time, so that catching up takes several fetches.
    config.settings.set("replica.fetch.max.bytes", "65536".to_owned()).unwrap();
    config.voters = (1..=voters)
        .map(|id| VoterConfig { id: BrokerId(id), host: format!("broker-{id}"), port: 9093 })
        .collect();
    config
}

impl<'a> Cluster<'a> {
    pub fn new(sim: &'a Simulation, brokers: i32) -> Self {
        show_logs();
        let machines = (1..=brokers).map(|id| (id, sim.node(&format!("broker-{id}")).node())).collect();
        Self { sim, machines, client: sim.node("client") }
    }

    pub async fn launch(&self, config: BrokerConfig) -> Node<SimEnv> {
        Node::launch(self.sim.env(self.machines[&config.node_id.0]), config).await.unwrap()
    }

    /// Starts all nodes and waits until they serve.
    pub async fn start(&self, voters: i32) -> BTreeMap<i32, Node<SimEnv>> {
        let mut nodes = BTreeMap::new();
        for id in self.machines.keys() {
            nodes.insert(*id, self.launch(config(*id, voters)).await);
        }
        for node in nodes.values() {
            node.ready().await.unwrap();
        }
        nodes
    }

    pub async fn client(&self, id: i32) -> Client<SimEnv> {
        use highwater_env::Network;
        let addresses = self.client.network().resolve(&format!("broker-{id}"), 9092).await.unwrap();
        Client::connect(&self.client, addresses[0]).await
    }

    /// A topic's partition, as a node says.
    async fn partition(&self, ask: i32, topic: &str) -> Option<MetadataResponsePartition> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }]),
            ..Default::default()
        };
        let answer = self.client(ask).await.call(9, &request).await;
        answer.topics[0].partitions.first().cloned()
    }

    /// Who leads a partition, as a node says.
    pub async fn leader(&self, ask: i32, topic: &str) -> i32 {
        self.partition(ask, topic).await.map_or(-1, |partition| partition.leader_id.0)
    }

    /// How many of its replicas are in sync, as a node says.
    pub async fn in_sync(&self, ask: i32, topic: &str) -> usize {
        self.partition(ask, topic).await.map_or(0, |partition| partition.isr_nodes.len())
    }

    /// Waits until a node names another leader than `old`.
    pub async fn leader_after(&self, ask: i32, topic: &str, old: i32) -> i32 {
        loop {
            let leader = self.leader(ask, topic).await;
            if leader >= 0 && leader != old {
                return leader;
            }
            self.sim.sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a node tells of so many replicas in sync.
    async fn all_in_sync(&self, ask: i32, topic: &str, replicas: usize) {
        while self.in_sync(ask, topic).await != replicas {
            self.sim.sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn produce(&self, at: i32, value: &str) -> PartitionProduceResponse {
        let mut client = self.client(at).await;
        let response = client.call(9, &produce("t", 0, batch(&[value]), -1)).await;
        response.responses[0].partition_responses[0].clone()
    }
}

pub async fn create(
    client: &mut Client<SimEnv>,
    name: &str,
    replication_factor: i16,
) -> CreatableTopicResult {
    create_with(client, name, replication_factor, &[]).await
}

pub async fn create_with(
    client: &mut Client<SimEnv>,
    name: &str,
    replication_factor: i16,
    configs: &[(&str, &str)],
) -> CreatableTopicResult {
    let config =
        |&(name, value): &(&str, &str)| CreatableTopicConfig { name: name.into(), value: Some(value.into()) };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    client.call(7, &request).await.topics.remove(0)
}

#[test]
fn records_survive_the_loss_of_their_leader() {
    for seed in 0..5 {
        let sim = Simulation::new(seed);
        let cluster = Cluster::new(&sim, 3);
        sim.block_on(async {
            let _nodes = cluster.start(3).await;
            let created = create(&mut cluster.client(2).await, "t", 3).await;
            assert_eq!(created.error_code, ErrorCode::NONE, "{created:?}");
            let first = cluster.leader_after(1, "t", -1).await;
            let produced = cluster.produce(first, "one").await;
            assert_eq!((produced.error_code, produced.base_offset.0), (ErrorCode::NONE, 0));
            sim.power_loss(cluster.machines[&first], PowerRates::DROP_ALL);
            let ask = if first == 1 { 2 } else { 1 };
            let second = cluster.leader_after(ask, "t", first).await;
            let produced = cluster.produce(second, "two").await;
            assert_eq!((produced.error_code, produced.base_offset.0), (ErrorCode::NONE, 1));
            let read = cluster.client(second).await.fetch("t", 0, 0).await;
            let expected = [(0, "one".to_owned()), (1, "two".to_owned())];
            assert_eq!(records(&read), expected);
            // The lost one comes back and takes over again when the others go.
            let back = cluster.launch(config(first, 3)).await;
            back.ready().await.unwrap();
            cluster.all_in_sync(second, "t", 3).await;
        });
    }
}

#[test]
fn any_broker_takes_what_is_for_the_controller() {
    let sim = Simulation::new(11);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let _nodes = cluster.start(3).await;
        for id in 1..=3 {
            let mut client = cluster.client(id).await;
            let created = create(&mut client, &format!("by-{id}"), 3).await;
            assert_eq!(created.error_code, ErrorCode::NONE);
            // Who made a topic sees it.
            assert_ne!(cluster.leader(id, &format!("by-{id}")).await, -1);
        }
    });
}

#[test]
fn a_controlled_shutdown_moves_leadership_first() {
    let sim = Simulation::new(12);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let mut nodes = cluster.start(3).await;
        create(&mut cluster.client(1).await, "t", 3).await;
        let first = cluster.leader_after(1, "t", -1).await;
        assert_eq!(cluster.produce(first, "one").await.error_code, ErrorCode::NONE);
        let begun = sim.now();
        nodes.remove(&first).unwrap().shutdown().await.unwrap();
        assert!(sim.now() - begun < Duration::from_secs(5), "{:?}", sim.now() - begun);
        let ask = if first == 1 { 2 } else { 1 };
        let second = cluster.leader(ask, "t").await;
        assert!(second >= 0 && second != first, "{first}, then {second}");
        assert_eq!(cluster.produce(second, "two").await.error_code, ErrorCode::NONE);
    });
}

/// How long a follower of a topic of this configuration takes to have 480 KB that it missed, with quotas of 100 KB
/// per second on every broker.
fn catching_up(seed: u64, topic: &[(&str, &str)]) -> Duration {
    let sim = Simulation::new(seed);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let mut nodes = cluster.start(3).await;
        let mut client = cluster.client(1).await;
        for name in ["leader.replication.throttled.rate", "follower.replication.throttled.rate"] {
            assert_eq!(set_on_all(&mut client, name, "100000").await, ErrorCode::NONE);
        }
        assert_eq!(create_with(&mut client, "t", 3, topic).await.error_code, ErrorCode::NONE);
        let leader = cluster.leader_after(1, "t", -1).await;
        let follower = if leader == 3 { 2 } else { 3 };
        nodes.remove(&follower).unwrap().shutdown().await.unwrap();
        for _ in 0..8 {
            let produced = cluster.produce(leader, &"x".repeat(60_000)).await;
            assert_eq!(produced.error_code, ErrorCode::NONE);
        }
        let begun = sim.now();
        let back = cluster.launch(config(follower, 3)).await;
        back.ready().await.unwrap();
        // Who is in sync is not held back by what the other one catches up.
        let sent = sim.now();
        assert_eq!(cluster.produce(leader, "meanwhile").await.error_code, ErrorCode::NONE);
        assert!(sim.now() - sent < Duration::from_secs(2), "{:?}", sim.now() - sent);
        cluster.all_in_sync(leader, "t", 3).await;
        sim.now() - begun
    })
}

async fn set_on_all(client: &mut Client<SimEnv>, name: &str, value: &str) -> ErrorCode {
    use highwater_wire::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
    let config = AlterableConfig { name: name.into(), config_operation: 0, value: Some(value.into()) };
    let resource = AlterConfigsResource { resource_type: 4, resource_name: "".into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(1, &request).await.responses.remove(0).error_code
}

#[test]
fn throttled_replicas_catch_up_at_the_rate_of_their_quota() {
    for seed in 20..23 {
        assert!(catching_up(seed, &[]) < Duration::from_secs(3));
        for name in ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"] {
            let took = catching_up(seed, &[(name, "*")]);
            // One second's worth may come at once.
            assert!((3..9).contains(&took.as_secs()), "{name}: {took:?}");
        }
    }
}

/// Its node lives, and would lead on and take nothing.
#[test]
fn a_leader_whose_log_failed_leaves_the_partition_to_others() {
    let sim = Simulation::new(14);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let nodes = cluster.start(3).await;
        let id = create(&mut cluster.client(1).await, "t", 3).await.topic_id;
        let leader = cluster.leader_after(1, "t", -1).await;
        cluster.all_in_sync(1, "t", 3).await;
        assert_eq!(cluster.produce(leader, "before").await.error_code, ErrorCode::NONE);
        let disk = sim.disk(cluster.machines[&leader]);
        disk.fail_next_sync(&id.to_string(), SyncFailure::Clean);
        let failed = cluster.produce(leader, "failed").await;
        assert_ne!(failed.error_code, ErrorCode::NONE);
        let others = [1, 2, 3].into_iter().filter(|id| *id != leader).collect::<Vec<_>>();
        let clock = cluster.client.clock();
        let next = timeout(clock, Duration::from_secs(4), cluster.leader_after(others[0], "t", leader)).await;
        let next = next.expect("nobody else leads");
        assert_eq!(cluster.produce(next, "after").await.error_code, ErrorCode::NONE);
        drop(nodes);
    });
}

/// On a full disk, say. It holds nothing, and neither do the others as long as it counts.
#[test]
fn a_leader_whose_log_cannot_be_made_leaves_the_partition_to_others() {
    let sim = Simulation::new(15);
    let cluster = Cluster::new(&sim, 3);
    sim.block_on(async {
        let nodes = cluster.start(3).await;
        sim.disk(cluster.machines[&1]).fail_next(Op::CreateDir, "-0", Fault::Full);
        let assignment = CreatableReplicaAssignment {
            partition_index: PartitionIndex(0),
            broker_ids: [1, 2, 3].map(BrokerId).to_vec(),
        };
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
        let created = cluster.client(2).await.call(7, &request).await.topics.remove(0);
        assert_eq!(created.error_code, ErrorCode::NONE);
        let clock = cluster.client.clock();
        let next = timeout(clock, Duration::from_secs(4), cluster.leader_after(2, "t", 1)).await;
        let next = next.expect("nobody else leads");
        assert_eq!(cluster.produce(next, "meanwhile").await.error_code, ErrorCode::NONE);
        // Its log is made later, and catches up.
        cluster.all_in_sync(2, "t", 3).await;
        drop(nodes);
    });
}

#[test]
fn a_broker_that_is_unregistered_is_not_told_of_the_metadata_any_more() {
    let sim = Simulation::new(13);
    let cluster = Cluster::new(&sim, 4);
    sim.block_on(async {
        let mut nodes = cluster.start(3).await;
        let observers = async || {
            let topic = describe_quorum::DescribeQuorumTopic {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![describe_quorum::DescribeQuorumPartition {
                    partition_index: PartitionIndex(0),
                }],
            };
            let request = DescribeQuorumRequest { topics: vec![topic] };
            let answer = cluster.client(1).await.call(0, &request).await;
            answer.topics[0].partitions[0]
                .observers
                .iter()
                .map(|observer| observer.replica_id.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(observers().await, [4]);
        nodes.remove(&4).unwrap().shutdown().await.unwrap();
        let request = UnregisterBrokerRequest { broker_id: BrokerId(4) };
        let answer = cluster.client(1).await.call(0, &request).await;
        assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
        assert_eq!(observers().await, [0; 0]);
        // It may come again.
        let back = cluster.launch(config(4, 3)).await;
        back.ready().await.unwrap();
        assert_eq!(observers().await, [4]);
    });
}
