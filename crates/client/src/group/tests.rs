use super::*;
use crate::testing::FakeCluster;
use crate::{Client, ClientConfig, ClientError, ConsumedRecord};
use highwater_env::{Env, sleep};
use highwater_records::{Batch, BatchBuilder, Codec};
use highwater_sim::{SimEnv, Simulation};
use highwater_types::Timestamp;
use highwater_wire::ApiKey;
use std::time::Duration;

const RANGE: GroupProtocol = GroupProtocol::Classic { assignor: ClassicAssignor::Range };
const COOPERATIVE: GroupProtocol = GroupProtocol::Classic { assignor: ClassicAssignor::CooperativeSticky };
const CONSUMER: GroupProtocol = GroupProtocol::Consumer { assignor: None };

/// Runs `test` against one broker with a topic `t` of so many partitions, each with some batches of ten records.
fn run<F: Future<Output = ()>>(
    seed: u64,
    partitions: i32,
    test: impl FnOnce(FakeCluster, Client<SimEnv>) -> F,
) {
    let simulation = Simulation::new(seed);
    let cluster = FakeCluster::start(&simulation, 1);
    cluster.add_topic("t", partitions);
    for partition in 0..partitions {
        fill(&cluster, partition);
    }
    let env = simulation.node("client");
    let config = ClientConfig {
        request_timeout: Duration::from_secs(3),
        metadata_max_age: Duration::from_secs(10),
        ..ClientConfig::new(["broker-0:9092"])
    };
    simulation.block_on(async {
        let client = Client::connect(env, config).await.expect("the cluster is there");
        test(cluster, client).await;
    });
}

fn fill(cluster: &FakeCluster, partition: i32) {
    let mut state = cluster.state();
    let place = usize::try_from(partition).expect("it is not negative");
    let partition = &mut state.topics.get_mut("t").expect("it is there").partitions[place];
    for _ in 0..4 {
        let mut builder = BatchBuilder::new(Codec::None, usize::MAX);
        for _ in 0..10 {
            assert!(builder.try_push(Timestamp(1), None, Some(b"v"), &[]));
        }
        partition.apply(&Batch::check(builder.build()).expect("it is whole")).expect("it is no producer's");
    }
}

/// A member, and all that it has seen.
struct Member {
    consumer: GroupConsumer<SimEnv>,
    told: Vec<String>,
    read: BTreeMap<i32, Vec<i64>>,
}

impl Member {
    fn new(client: &Client<SimEnv>, protocol: GroupProtocol) -> Self {
        let consumer = crate::ConsumerConfig { max_poll_records: 7, ..crate::ConsumerConfig::default() };
        let config = GroupConfig {
            protocol,
            heartbeat_interval: Duration::from_millis(200),
            from_beginning: true,
            consumer,
            ..GroupConfig::new("g")
        };
        let consumer = GroupConsumer::new(client.clone(), ["t"], config).expect("the configuration is good");
        Self { consumer, told: Vec::new(), read: BTreeMap::new() }
    }

    async fn poll(&mut self) -> Result<(), ClientError> {
        let records: Vec<ConsumedRecord> = self.consumer.poll(Duration::from_millis(50)).await?;
        for rebalance in self.consumer.take_rebalances() {
            let (what, partitions) = match rebalance {
                Rebalance::Assigned(partitions) => ("assigned", partitions),
                Rebalance::Revoked(partitions) => {
                    // It has them still.
                    assert!(partitions.iter().all(|key| self.consumer.assignment().any(|has| has == key)));
                    self.consumer.commit().await?;
                    ("revoked", partitions)
                }
                Rebalance::Lost(partitions) => ("lost", partitions),
            };
            let numbers: String = partitions.iter().map(|key| format!(" {}", key.1)).collect();
            self.told.push(format!("{what}{numbers}"));
        }
        for record in records {
            self.read.entry(record.partition.0).or_default().push(record.offset.0);
        }
        Ok(())
    }

    async fn polls(&mut self, count: usize) {
        for _ in 0..count {
            self.poll().await.expect("nothing goes wrong for good");
        }
    }
}

/// One member reads a little, another joins, both read to the end: nothing is read twice, nor passed over.
fn shared(seed: u64, protocol: &GroupProtocol) -> (Vec<String>, Vec<String>) {
    let mut told = (Vec::new(), Vec::new());
    let seen = &mut told;
    run(seed, 4, |_, client| async move {
        let mut first = Member::new(&client, protocol.clone());
        first.polls(12).await;
        let mut second = Member::new(&client, protocol.clone());
        for _ in 0..60 {
            first.polls(1).await;
            second.polls(1).await;
        }
        for partition in 0..4 {
            let read =
                [&first, &second].map(|member| member.read.get(&partition).cloned().unwrap_or_default());
            assert_eq!(read.concat(), (0..40).collect::<Vec<i64>>(), "{partition}: {read:?}");
        }
        assert_eq!(first.consumer.assignment().count(), 2);
        assert_eq!(second.consumer.assignment().count(), 2);
        first.consumer.close().await.expect("it leaves");
        second.polls(20).await;
        assert_eq!(second.consumer.assignment().count(), 4);
        *seen = (first.told, second.told);
    });
    told
}

#[test]
fn with_range_a_rebalance_takes_everything() {
    let (first, second) = shared(1, &RANGE);
    assert_eq!(first, ["assigned 0 1 2 3", "revoked 0 1 2 3", "assigned 0 1"]);
    assert_eq!(second, ["assigned 2 3", "revoked 2 3", "assigned 0 1 2 3"]);
}

#[test]
fn with_cooperative_sticky_only_what_moves_is_given_up() {
    let (first, second) = shared(2, &COOPERATIVE);
    assert_eq!(first, ["assigned 0 1 2 3", "revoked 2 3", "assigned", "assigned"]);
    assert_eq!(second, ["assigned", "assigned 2 3", "assigned 0 1"]);
}

#[test]
fn in_the_consumer_protocol_only_what_moves_is_given_up() {
    let (first, second) = shared(3, &CONSUMER);
    assert_eq!(first[..2], ["assigned 0 1 2 3", "revoked 2 3"], "{first:?}");
    assert_eq!(second.concat().matches("revoked").count(), 0, "{second:?}");
}

#[test]
fn a_member_that_the_coordinator_forgot_has_lost_what_it_had() {
    for (seed, protocol) in [(4, RANGE), (5, COOPERATIVE), (6, CONSUMER)] {
        run(seed, 2, |cluster, client| async move {
            let mut member = Member::new(&client, protocol.clone());
            member.polls(10).await;
            cluster.state().groups = Default::default();
            member.polls(40).await;
            assert_eq!(member.told, ["assigned 0 1", "lost 0 1", "assigned 0 1"], "{protocol:?}");
        });
    }
}

#[test]
fn a_broker_without_the_consumer_protocol_is_an_error() {
    run(7, 1, |cluster, client| async move {
        cluster.state().newest.insert(ApiKey::CONSUMER_GROUP_HEARTBEAT, -1);
        let mut member = Member::new(&client, CONSUMER);
        let mut error = None;
        for _ in 0..5 {
            error = error.or(member.poll().await.err());
        }
        let text = error.expect("it cannot join").to_string();
        assert!(text.contains("does not serve ConsumerGroupHeartbeat"), "{text}");
    });
}

#[test]
fn an_assignor_that_the_coordinator_has_not_is_an_error() {
    run(8, 1, |_, client| async move {
        let mut member = Member::new(&client, GroupProtocol::Consumer { assignor: Some("odd".to_owned()) });
        let mut error = None;
        for _ in 0..5 {
            error = error.or(member.poll().await.err());
        }
        let code = error.and_then(|error| error.code());
        assert_eq!(code, Some(ErrorCode::UNSUPPORTED_ASSIGNOR));
    });
}

#[test]
fn the_leader_of_a_group_sees_that_a_topic_grew() {
    for (seed, protocol) in [(9, RANGE), (10, COOPERATIVE)] {
        run(seed, 2, |cluster, client| async move {
            let mut member = Member::new(&client, protocol.clone());
            member.polls(10).await;
            assert_eq!(member.consumer.assignment().count(), 2);
            cluster.grow_topic("t", 4);
            // Longer than metadata is believed.
            sleep(client.env().clock(), client.config().metadata_max_age).await;
            member.polls(60).await;
            assert_eq!(member.consumer.assignment().count(), 4, "{protocol:?}: {:?}", member.told);
            assert!(!member.told.iter().any(|told| told.starts_with("lost")), "{:?}", member.told);
        });
    }
}
