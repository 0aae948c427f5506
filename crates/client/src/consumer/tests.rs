use super::*;
use crate::ClientConfig;
use crate::testing::{FakeCluster, Fault};
use bytes::BytesMut;
use highwater_env::sleep;
use highwater_records::{Batch, BatchBuilder, Codec};
use highwater_sim::{SimEnv, Simulation};

const WAIT: Duration = Duration::from_secs(5);

/// Runs `test` against a cluster of so many brokers with a topic `t` of so many partitions.
fn run<F: Future<Output = ()>>(
    seed: u64,
    (brokers, partitions): (i32, i32),
    test: impl FnOnce(FakeCluster, Client<SimEnv>) -> F,
) {
    let simulation = Simulation::new(seed);
    let cluster = FakeCluster::start(&simulation, brokers);
    cluster.add_topic("t", partitions);
    let env = simulation.node("client");
    let config =
        ClientConfig { request_timeout: Duration::from_secs(3), ..ClientConfig::new(["broker-0:9092"]) };
    simulation.block_on(async {
        let client = Client::connect(env, config).await.expect("the cluster is there");
        test(cluster, client).await;
    });
}

/// Writes batches of ten records; a record's value is its offset, its timestamp ten times that.
fn fill(cluster: &FakeCluster, partition: usize, batches: usize) {
    let mut state = cluster.state();
    let partition = &mut state.topics.get_mut("t").expect("it is there").partitions[partition];
    for _ in 0..batches {
        let base = partition.end();
        let mut builder = BatchBuilder::new(Codec::Snappy, usize::MAX);
        for offset in base..base + 10 {
            let value = offset.to_string();
            assert!(builder.try_push(Timestamp(offset * 10), None, Some(value.as_bytes()), &[]));
        }
        let batch = Batch::check(builder.build()).expect("a builder makes whole batches");
        partition.apply(&batch).expect("it is no producer's");
    }
}

fn consumer(client: &Client<SimEnv>, config: ConsumerConfig) -> Consumer<SimEnv> {
    Consumer::new(client.clone(), config).expect("the configuration is good")
}

fn assign(consumer: &mut Consumer<SimEnv>, partitions: &[(i32, StartAt)]) {
    consumer.assign(
        partitions.iter().map(|&(partition, start)| (Str::from("t"), PartitionIndex(partition), start)),
    );
}

/// Polls until so many records have come, and returns their offsets by partition. Checks their values and order.
async fn read(consumer: &mut Consumer<SimEnv>, count: usize) -> BTreeMap<i32, Vec<i64>> {
    let mut offsets = BTreeMap::<i32, Vec<i64>>::new();
    let mut read = 0;
    while read < count {
        let records = consumer.poll(WAIT).await.expect("nothing goes wrong for good");
        assert!(!records.is_empty(), "{read} of {count} records came");
        for record in records {
            assert_eq!(record.value, Some(record.offset.to_string().into()));
            offsets.entry(record.partition.0).or_default().push(record.offset.0);
            read += 1;
        }
    }
    assert_eq!(read, count);
    offsets
}

#[test]
fn reading_begins_where_it_is_told() {
    let starts = [
        (StartAt::Earliest, 0),
        (StartAt::Offset(Offset(7)), 7),
        (StartAt::Time(Timestamp(123)), 13),
        (StartAt::Latest, 40),
        (StartAt::Time(Timestamp(10_000)), 40),
    ];
    for (start, first) in starts {
        run(1, (1, 1), |cluster, client| async move {
            fill(&cluster, 0, 4);
            let mut consumer = consumer(&client, ConsumerConfig::default());
            assign(&mut consumer, &[(0, start)]);
            if first == 40 {
                assert_eq!(consumer.poll(WAIT).await, Ok(vec![]));
                assert_eq!(consumer.position("t", PartitionIndex(0)), Some(Offset(40)));
            }
            fill(&cluster, 0, 1);
            let offsets = read(&mut consumer, 50 - first).await;
            assert_eq!(offsets[&0], (first as i64..50).collect::<Vec<_>>());
            assert_eq!(consumer.position("t", PartitionIndex(0)), Some(Offset(50)));
            assert_eq!(consumer.high_watermark("t", PartitionIndex(0)), Some(Offset(50)));
        });
    }
}

#[test]
fn a_poll_with_nothing_to_return_ends_in_time() {
    run(2, (1, 1), |_, client| async move {
        let clock = client.env().clock();
        let mut consumer = consumer(&client, ConsumerConfig::default());
        assign(&mut consumer, &[(0, StartAt::Earliest)]);
        let start = clock.now();
        assert_eq!(consumer.poll(Duration::from_millis(700)).await, Ok(vec![]));
        assert_eq!(clock.now().since(start).as_millis(), 700);
    });
}

#[test]
fn many_partitions_of_many_brokers_are_read_and_polls_are_bounded() {
    run(3, (3, 7), |cluster, client| async move {
        for partition in 0..7 {
            fill(&cluster, partition, 5 + partition);
        }
        let config = ConsumerConfig { max_poll_records: 7, ..ConsumerConfig::default() };
        let mut consumer = consumer(&client, config);
        let all: Vec<_> = (0..7).map(|partition| (partition, StartAt::Earliest)).collect();
        assign(&mut consumer, &all);
        let first = consumer.poll(WAIT).await.expect("nothing goes wrong");
        assert!((1..=7).contains(&first.len()));
        let position = consumer.position("t", first[0].partition).expect("it is known");
        assert_eq!(position, first.last().expect("there are some").offset.next());
        assign(&mut consumer, &all);
        let offsets = read(&mut consumer, (5..12).sum::<usize>() * 10).await;
        for (partition, offsets) in offsets {
            assert_eq!(offsets, (0..(5 + i64::from(partition)) * 10).collect::<Vec<_>>());
        }
    });
}

#[test]
fn trouble_that_passes_is_not_seen() {
    let kinds = [
        Fault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Fault::Refuse(ErrorCode::FENCED_LEADER_EPOCH),
        Fault::Drop,
        Fault::Silence,
    ];
    for seed in 0..10 {
        run(seed, (2, 2), |cluster, client| async move {
            fill(&cluster, 0, 20);
            fill(&cluster, 1, 20);
            for step in 0..12 {
                let kind = kinds[(seed as usize + step) % kinds.len()];
                cluster.state().fetch.push_back(if step % 3 == 1 { kind } else { Fault::Serve });
            }
            let mut consumer = consumer(&client, ConsumerConfig::default());
            assign(&mut consumer, &[(0, StartAt::Earliest), (1, StartAt::Earliest)]);
            let before = read(&mut consumer, 200).await;
            let leaders = |change: i32| {
                let mut state = cluster.state();
                for partition in &mut state.topics.get_mut("t").expect("it is there").partitions {
                    partition.leader = (partition.leader + change) % 2;
                }
            };
            leaders(1);
            let after = read(&mut consumer, 200).await;
            for partition in 0..2 {
                let offsets: Vec<_> = before
                    .get(&partition)
                    .into_iter()
                    .chain(after.get(&partition))
                    .flatten()
                    .copied()
                    .collect();
                assert_eq!(offsets, (0..200).collect::<Vec<_>>(), "seed {seed}");
            }
        });
    }
}

#[test]
fn a_position_outside_of_the_partition_is_reset_as_configured() {
    let cases =
        [(OffsetReset::Earliest, Some(20)), (OffsetReset::Latest, Some(60)), (OffsetReset::Error, None)];
    for (offset_reset, expected) in cases {
        run(4, (1, 1), |cluster, client| async move {
            cluster.state().topics.get_mut("t").expect("it is there").partitions[0].start = 20;
            fill(&cluster, 0, 4);
            let config = ConsumerConfig { offset_reset, ..ConsumerConfig::default() };
            let mut consumer = consumer(&client, config);
            assign(&mut consumer, &[(0, StartAt::Offset(Offset(3)))]);
            let first = consumer.poll(WAIT).await;
            match expected {
                None => {
                    let code = first.expect_err("it is out of range").code();
                    assert_eq!(code, Some(ErrorCode::OFFSET_OUT_OF_RANGE));
                    consumer.seek("t", PartitionIndex(0), StartAt::Offset(Offset(59))).expect("assigned");
                    assert_eq!(read(&mut consumer, 1).await[&0], [59]);
                }
                Some(60) => {
                    assert_eq!(first, Ok(vec![]));
                    fill(&cluster, 0, 1);
                    assert_eq!(read(&mut consumer, 10).await[&0][0], 60);
                }
                Some(offset) => assert_eq!(first.expect("it is reset")[0].offset, Offset(offset)),
            }
        });
    }
}

#[test]
fn a_position_that_is_in_range_again_is_not_reset() {
    for offset_reset in [OffsetReset::Earliest, OffsetReset::Latest] {
        run(5, (1, 1), |cluster, client| async move {
            fill(&cluster, 0, 4);
            let start = |start| {
                cluster.state().topics.get_mut("t").expect("it is there").partitions[0].start = start;
            };
            start(20);
            let config = ConsumerConfig { offset_reset, ..ConsumerConfig::default() };
            let mut consumer = consumer(&client, config);
            assign(&mut consumer, &[(0, StartAt::Offset(Offset(13)))]);
            // The refusal is known, and the reset has not begun.
            let _ = consumer.poll(Duration::from_millis(20)).await;
            assert_eq!(consumer.position("t", PartitionIndex(0)), None, "{offset_reset:?}");
            // Another leader has not heard of the deletion.
            start(0);
            let read = consumer.poll(WAIT).await.expect("it is in range");
            assert_eq!(read.first().map(|record| record.offset), Some(Offset(13)), "{offset_reset:?}");
        });
    }
}

#[test]
fn what_was_asked_for_before_a_seek_is_not_returned_after_it() {
    for seed in 0..20 {
        run(seed, (1, 2), |cluster, client| async move {
            fill(&cluster, 0, 10);
            fill(&cluster, 1, 10);
            let mut consumer = consumer(&client, ConsumerConfig::default());
            assign(&mut consumer, &[(0, StartAt::Earliest)]);
            // The fetch is under way when the poll ends.
            let _ = consumer.poll(Duration::ZERO).await;
            sleep(client.env().clock(), Duration::from_millis(seed % 5)).await;
            let _ = consumer.poll(Duration::ZERO).await;
            consumer.seek("t", PartitionIndex(0), StartAt::Offset(Offset(55))).expect("it is assigned");
            assert_eq!(read(&mut consumer, 45).await[&0], (55..100).collect::<Vec<_>>());
            let _ = consumer.poll(Duration::ZERO).await;
            assign(&mut consumer, &[(1, StartAt::Offset(Offset(98)))]);
            assert_eq!(read(&mut consumer, 2).await, BTreeMap::from([(1, vec![98, 99])]));
            assert!(consumer.seek("t", PartitionIndex(0), StartAt::Earliest).is_err());
        });
    }
}

#[test]
fn damage_is_reported_and_other_partitions_go_on() {
    run(5, (1, 2), |cluster, client| async move {
        fill(&cluster, 0, 1);
        fill(&cluster, 1, 3);
        {
            // A batch whose checksum fits, and whose records do not decompress.
            let mut state = cluster.state();
            let partition = &mut state.topics.get_mut("t").expect("it is there").partitions[0];
            let mut bytes = BytesMut::from(&partition.batches[0].bytes()[..]);
            bytes[80] ^= 0xff;
            let crc = highwater_records::crc32c(&bytes[21..]).to_be_bytes();
            bytes[17..21].copy_from_slice(&crc);
            partition.batches[0] = Batch::check(bytes.freeze()).expect("its checksum fits");
        }
        let mut consumer = consumer(&client, ConsumerConfig::default());
        assign(&mut consumer, &[(0, StartAt::Earliest), (1, StartAt::Earliest)]);
        let (mut errors, mut records) = (0, 0);
        while errors < 2 || records < 30 {
            match consumer.poll(WAIT).await {
                Ok(some) => records += some.len(),
                Err(ClientError::Corrupt { partition: 0, offset: 0, .. }) => errors += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(records, 30);
    });
}

#[test]
fn damage_that_the_broker_found_is_reported() {
    run(7, (1, 1), |cluster, client| async move {
        fill(&cluster, 0, 1);
        cluster.state().fetch.push_back(Fault::Refuse(ErrorCode::CORRUPT_MESSAGE));
        let mut consumer = consumer(&client, ConsumerConfig::default());
        assign(&mut consumer, &[(0, StartAt::Earliest)]);
        let error = consumer.poll(WAIT).await.expect_err("it does not wait in silence");
        assert!(matches!(error, ClientError::Corrupt { partition: 0, offset: 0, .. }), "{error}");
        assert_eq!(read(&mut consumer, 10).await[&0].len(), 10);
    });
}

#[test]
fn offsets_are_found() {
    run(6, (2, 2), |cluster, client| async move {
        fill(&cluster, 1, 3);
        let consumer = consumer(&client, ConsumerConfig::default());
        let partition = PartitionIndex(1);
        assert_eq!(consumer.beginning_offset("t", partition).await, Ok(Offset(0)));
        assert_eq!(consumer.end_offset("t", partition).await, Ok(Offset(30)));
        let found = consumer.offset_for_time("t", partition, Timestamp(95)).await.expect("it is there");
        assert_eq!((found.offset, found.timestamp), (Some(Offset(10)), Timestamp(100)));
        let late = consumer.offset_for_time("t", partition, Timestamp(291)).await.expect("it is asked for");
        assert_eq!(late.offset, None);
    });
}
