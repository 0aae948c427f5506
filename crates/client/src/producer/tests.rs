use super::*;
use crate::testing::{FakeCluster, Fault};
use crate::{ClientConfig, ClientError};
use highwater_env::sleep;
use highwater_records::Codec;
use highwater_sim::{SimEnv, Simulation};
use highwater_types::Offset;
use highwater_wire::{ApiKey, ErrorCode};
use std::time::Duration;

/// Runs `test` against a cluster of so many brokers with a topic `t` of so many partitions. Returns the hash of the
/// run.
fn run<F: Future<Output = ()>>(
    seed: u64,
    (brokers, partitions): (i32, i32),
    test: impl FnOnce(FakeCluster, Client<SimEnv>) -> F,
) -> u64 {
    let simulation = Simulation::new(seed);
    let cluster = FakeCluster::start(&simulation, brokers);
    cluster.add_topic("t", partitions);
    let env = simulation.node("client");
    simulation.block_on(async {
        let client = Client::connect(env, client_config()).await.expect("the cluster is there");
        test(cluster, client).await;
    });
    simulation.hash()
}

fn client_config() -> ClientConfig {
    ClientConfig { request_timeout: Duration::from_secs(3), ..ClientConfig::new(["broker-0:9092"]) }
}

fn record(number: usize) -> ProducerRecord {
    ProducerRecord::new("t", number.to_string()).with_partition(PartitionIndex(0))
}

async fn send_all(producer: &Producer<SimEnv>, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in 0..count {
        deliveries.push(producer.send(record(number)).await.expect("there is room"));
    }
    deliveries
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn records_are_batched_and_told_their_offsets() {
    for codec in Codec::ALL {
        run(1, (1, 1), |cluster, client| async move {
            let config = ProducerConfig { codec, batch_bytes: 500, ..ProducerConfig::default() };
            let producer = Producer::new(client, config).expect("the configuration is good");
            let deliveries = send_all(&producer, 200).await;
            for (expected, delivery) in (0..).zip(deliveries) {
                let delivered = delivery.await.expect("nothing goes wrong");
                assert_eq!(delivered.offset, Some(Offset(expected)));
                assert_eq!(delivered.partition, PartitionIndex(0));
            }
            assert_eq!(cluster.texts("t", 0), numbers(200));
            let state = cluster.state();
            let batches = state.topics["t"].partitions[0].batches.len();
            assert!((4..20).contains(&batches), "{batches} batches");
            assert!(state.topics["t"].partitions[0].batches.iter().all(|b| b.header().has_producer()));
        });
    }
}

#[test]
fn trouble_of_every_kind_neither_loses_nor_repeats_nor_reorders() {
    let kinds = [
        Fault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Fault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
        Fault::ServeAndRefuse(ErrorCode::REQUEST_TIMED_OUT),
        Fault::ServeAndRefuse(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Fault::Drop,
        Fault::ServeAndDrop,
        Fault::Silence,
    ];
    for seed in 0..40 {
        run(seed, (1, 1), |cluster, client| async move {
            for step in 0..40 {
                let kind = kinds[(seed as usize * 3 + step * 5) % kinds.len()];
                let fault = if step % 4 == 1 { kind } else { Fault::Serve };
                cluster.state().produce.push_back(fault);
            }
            let config = ProducerConfig { batch_bytes: 150, ..ProducerConfig::default() };
            let producer = Producer::new(client, config).expect("the configuration is good");
            let deliveries = send_all(&producer, 600).await;
            for (expected, delivery) in (0..).zip(deliveries) {
                let delivered = delivery.await.expect("trouble passes");
                assert!([None, Some(Offset(expected))].contains(&delivered.offset), "{delivered:?}");
            }
            assert_eq!(cluster.texts("t", 0), numbers(600), "seed {seed}");
            assert!(cluster.state().produce.is_empty(), "every fault happened");
        });
    }
}

#[test]
fn a_leader_that_moves_is_followed() {
    for seed in 0..10 {
        run(seed, (3, 1), |cluster, client| async move {
            let env = client.env().clone();
            let producer =
                Producer::new(client, ProducerConfig::default()).expect("the configuration is good");
            let mut deliveries = Vec::new();
            for number in 0..300 {
                if number % 60 == 30 {
                    cluster.elect("t", 0, (number as i32 / 60 + 1) % 3);
                }
                sleep(env.clock(), Duration::from_millis(3)).await;
                deliveries.push(producer.send(record(number)).await.expect("there is room"));
            }
            for (expected, delivery) in (0..).zip(deliveries) {
                assert_eq!(delivery.await.expect("trouble passes").offset, Some(Offset(expected)));
            }
            assert_eq!(cluster.texts("t", 0), numbers(300), "seed {seed}");
        });
    }
}

#[test]
fn a_leader_that_is_cut_off_is_left_for_the_next_one_and_order_is_kept() {
    for seed in 0..10 {
        run(seed, (3, 1), |cluster, client| async move {
            let env = client.env().clone();
            let config = ProducerConfig { batch_bytes: 150, ..ProducerConfig::default() };
            let producer = Producer::new(client, config).expect("the configuration is good");
            let mut deliveries = Vec::new();
            for number in 0..200 {
                if number == 80 {
                    // What is on its way to the old leader gets no answer, and the old leader still says that it leads.
                    cluster.cut_off(0);
                    cluster.elect("t", 0, 1);
                }
                sleep(env.clock(), Duration::from_millis(2)).await;
                deliveries.push(producer.send(record(number)).await.expect("there is room"));
            }
            let start = env.clock().now();
            for (expected, delivery) in (0..).zip(deliveries) {
                assert_eq!(delivery.await.expect("trouble passes").offset, Some(Offset(expected)));
            }
            let took = env.clock().now().since(start);
            assert!(took < Duration::from_secs(10), "seed {seed}: {took:?}");
            assert_eq!(cluster.texts("t", 0), numbers(200), "seed {seed}");
        });
    }
}

#[test]
fn after_a_refusal_for_good_the_rest_goes_on() {
    run(3, (1, 1), |cluster, client| async move {
        let config = ProducerConfig { batch_bytes: 100, ..ProducerConfig::default() };
        let producer = Producer::new(client, config).expect("the configuration is good");
        let faults = [Fault::Serve, Fault::Refuse(ErrorCode::INVALID_RECORD)];
        cluster.state().produce.extend(faults);
        let mut refused = 0;
        for delivery in send_all(&producer, 50).await {
            match delivery.await {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.code(), Some(ErrorCode::INVALID_RECORD));
                    refused += 1;
                }
            }
        }
        let texts = cluster.texts("t", 0);
        assert!(refused > 0 && texts.len() == 50 - refused, "{refused} refused of {}", texts.len());
        let state = cluster.state();
        let epochs: Vec<_> =
            state.topics["t"].partitions[0].batches.iter().map(|b| b.header().producer_epoch.0).collect();
        assert!(epochs.is_sorted() && epochs.first() == Some(&0) && epochs.last() == Some(&1), "{epochs:?}");
    });
}

#[test]
fn a_cluster_that_never_answers_ends_in_timeouts() {
    run(4, (1, 1), |cluster, client| async move {
        let env = client.env().clone();
        cluster.state().produce.extend([Fault::Silence; 100]);
        let config = ProducerConfig {
            delivery_timeout: Duration::from_secs(10),
            max_block: Duration::from_secs(2),
            max_request_bytes: 1_000,
            buffer_bytes: 1_000,
            ..ProducerConfig::default()
        };
        let producer = Producer::new(client, config).expect("the configuration is good");
        let start = env.clock().now();
        let value = vec![b'x'; 800];
        let first = ProducerRecord::new("t", value);
        let delivery = producer.send(first.clone()).await.expect("there is room");
        let full = producer.send(first).await.expect_err("the buffer is full");
        assert!(matches!(full, ClientError::TimedOut { limit_ms: 2_000, .. }), "{full}");
        assert_eq!(env.clock().now().since(start).as_secs(), 2);
        let error = delivery.await.expect_err("nobody answers");
        assert!(matches!(error, ClientError::TimedOut { limit_ms: 10_000, .. }), "{error}");
        assert_eq!(env.clock().now().since(start).as_secs(), 10);
        producer.flush().await;
        let large = producer.send(ProducerRecord::new("t", vec![0; 1_000])).await;
        assert!(matches!(large, Err(ClientError::Invalid(_))));
    });
}

#[test]
fn one_seed_is_one_run() {
    let once = |seed| {
        run(seed, (3, 6), |cluster, client| async move {
            let faults = [Fault::Serve, Fault::Drop, Fault::ServeAndDrop, Fault::Serve, Fault::Silence];
            cluster.state().produce.extend(faults);
            let config = ProducerConfig { batch_bytes: 200, ..ProducerConfig::default() };
            let producer = Producer::new(client, config).expect("the configuration is good");
            for number in 0..100 {
                let record = ProducerRecord::new("t", number.to_string());
                drop(producer.send(record).await.expect("there is room"));
            }
            producer.close().await;
        })
    };
    assert_eq!([1, 2, 3].map(once), [1, 2, 3].map(once));
    assert_ne!(once(1), once(2));
}

#[test]
fn flush_and_close_wait_for_outcomes() {
    run(5, (1, 1), |cluster, client| async move {
        let env = client.env().clone();
        let config = ProducerConfig { linger: Duration::from_secs(50), ..ProducerConfig::default() };
        let producer = Producer::new(client, config).expect("the configuration is good");
        let start = env.clock().now();
        let other = producer.clone();
        let deliveries = send_all(&producer, 3).await;
        producer.flush().await;
        assert!(env.clock().now().since(start) < Duration::from_secs(1), "a flush does not linger");
        assert_eq!(cluster.texts("t", 0), numbers(3));
        let last = producer.send(record(3)).await.expect("there is room");
        producer.close().await;
        assert_eq!(cluster.texts("t", 0), numbers(4));
        for delivery in deliveries {
            delivery.await.expect("it was written");
        }
        assert_eq!(last.await.expect("it was written").offset, Some(Offset(3)));
        assert!(matches!(other.send(record(4)).await, Err(ClientError::Closed)));
    });
}

#[test]
fn a_dropped_producer_gives_up_what_is_queued() {
    run(6, (1, 1), |_, client| async move {
        let config = ProducerConfig { linger: Duration::from_secs(50), ..ProducerConfig::default() };
        let producer = Producer::new(client, config).expect("the configuration is good");
        let delivery = producer.send(record(0)).await.expect("there is room");
        drop(producer);
        assert_eq!(delivery.await, Err(ClientError::Closed));
    });
}

#[test]
fn keys_and_turns_choose_partitions() {
    run(7, (2, 6), |cluster, client| async move {
        let config = ProducerConfig { batch_bytes: 400, ..ProducerConfig::default() };
        let producer = Producer::new(client, config).expect("the configuration is good");
        for number in 0..300 {
            let keyed = ProducerRecord::new("t", "keyed").with_key(format!("key-{}", number % 10));
            let expected = partition_of_key(format!("key-{}", number % 10).as_bytes(), 6);
            let delivery = producer.send(keyed).await.expect("there is room");
            let _keyless = producer.send(ProducerRecord::new("t", "plain")).await.expect("there is room");
            if number % 25 == 0 {
                assert_eq!(delivery.await.expect("it is written").partition, expected);
            }
        }
        producer.flush().await;
        let texts: Vec<_> = (0..6).map(|partition| cluster.texts("t", partition)).collect();
        assert_eq!(texts.iter().map(Vec::len).sum::<usize>(), 600);
        assert!(texts.iter().all(|texts| texts.iter().any(|text| text == "plain")));
        let missing = producer.send(record(0).with_partition(PartitionIndex(6))).await;
        assert!(matches!(missing, Err(ClientError::Invalid(_))));
    });
}

#[test]
fn other_acknowledgements_and_older_brokers() {
    for (acks, expected) in [(Acks::None, None), (Acks::Leader, Some(Offset(0)))] {
        run(8, (1, 1), |cluster, client| async move {
            let config = ProducerConfig { acks, idempotence: false, ..ProducerConfig::default() };
            let producer = Producer::new(client.clone(), config).expect("the configuration is good");
            let delivery = producer.send(record(0)).await.expect("there is room");
            assert_eq!(delivery.await.expect("nothing goes wrong").offset, expected);
            // What is not answered arrives all the same.
            sleep(client.env().clock(), Duration::from_millis(100)).await;
            assert_eq!(cluster.texts("t", 0), numbers(1));
            assert!(
                cluster.state().topics["t"].partitions[0].batches.iter().all(|b| !b.header().has_producer())
            );
        });
    }
    let simulation = Simulation::new(9);
    let cluster = FakeCluster::start(&simulation, 1);
    cluster.add_topic("t", 1);
    let old = [(ApiKey::API_VERSIONS, 2), (ApiKey::PRODUCE, 8), (ApiKey::METADATA, 5)];
    cluster.state().newest.extend(old);
    let env = simulation.node("client");
    simulation.block_on(async {
        let client = Client::connect(env, client_config()).await.expect("the cluster is there");
        let producer = Producer::new(client, ProducerConfig::default()).expect("the configuration is good");
        for delivery in send_all(&producer, 20).await {
            delivery.await.expect("nothing goes wrong");
        }
    });
    assert_eq!(cluster.texts("t", 0), numbers(20));
}

#[test]
fn a_topic_that_does_not_exist_is_an_error_in_time() {
    run(10, (1, 1), |_, client| async move {
        let config = ProducerConfig { max_block: Duration::from_secs(5), ..ProducerConfig::default() };
        let producer = Producer::new(client, config).expect("the configuration is good");
        let result = producer.send(ProducerRecord::new("missing", "x")).await;
        assert!(matches!(result, Err(ClientError::TimedOut { limit_ms: 5_000, .. })), "{result:?}");
    });
}

#[test]
fn contradictory_configurations_are_refused() {
    let good = ProducerConfig::default();
    let bad = [
        ProducerConfig { acks: Acks::Leader, ..good.clone() },
        ProducerConfig { max_in_flight: 6, ..good.clone() },
        ProducerConfig { max_in_flight: 0, ..good.clone() },
        ProducerConfig { buffer_bytes: 1 << 19, ..good.clone() },
        ProducerConfig { linger: Duration::from_secs(500), ..good.clone() },
    ];
    assert_eq!(good.check(), Ok(()));
    for config in bad {
        assert!(matches!(config.check(), Err(ClientError::Invalid(_))), "{config:?}");
    }
}
