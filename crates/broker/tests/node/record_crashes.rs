//! Records on a simulated disk: what was acknowledged or read survives a crash or a power loss at any operation of the
//! disk, retries write nothing twice, and a failing disk is told and never hidden.

use crate::support::*;
use highwater_broker::Node;
use highwater_env::{Env, Event, Rng};
use highwater_sim::disk::{PowerRates, SyncFailure};
use highwater_sim::{NodeId, SimEnv, Simulation, Violation};
use highwater_types::{LogId, Offset, ProducerId};
use highwater_wire::messages::*;
use highwater_wire::{ErrorCode, Records};
use rand::RngExt;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

const DIR: &str = "/data";
const PARTITIONS: usize = 2;
const PIPELINED: usize = 5;

/// A batch that was sent: partition, first sequence number, values.
type Sent = (usize, i32, Vec<String>);

/// What the clients know. There is one producer, so that a record's offset is its sequence number.
#[derive(Default)]
struct Ghost {
    producer: Option<ProducerId>,
    /// All that was ever sent, by partition.
    sent: [Vec<String>; PARTITIONS],
    /// How many of them were acknowledged.
    acknowledged: [usize; PARTITIONS],
    /// How many of them were read.
    read: [usize; PARTITIONS],
    /// What was sent and not answered, in order.
    open: VecDeque<Sent>,
}

/// The first of two that ends.
async fn first<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| match a.as_mut().poll(cx) {
        Poll::Pending => b.as_mut().poll(cx),
        ready => ready,
    })
    .await
}

async fn produce_on(client: &mut Client<SimEnv>, rng: &mut Rng, ghost: &Mutex<Ghost>, batches: usize) {
    let producer = ghost.lock().unwrap().producer.unwrap();
    // Whatever was not answered before is sent again, as it was.
    let mut again: VecDeque<Sent> = ghost.lock().unwrap().open.clone();
    let mut in_flight = 0;
    let mut left = batches;
    while left > 0 || in_flight > 0 || !again.is_empty() {
        if in_flight < PIPELINED && (left > 0 || !again.is_empty()) {
            let batch = match again.pop_front() {
                Some(batch) => batch,
                None => {
                    left -= 1;
                    let mut ghost = ghost.lock().unwrap();
                    let partition = rng.random_range(0..PARTITIONS);
                    let first = ghost.sent[partition].len();
                    let values: Vec<_> =
                        (0..rng.random_range(1..6)).map(|at| format!("{partition}:{}", first + at)).collect();
                    ghost.sent[partition].extend_from_slice(&values);
                    let batch = (partition, i32::try_from(first).unwrap(), values);
                    ghost.open.push_back(batch.clone());
                    batch
                }
            };
            let values: Vec<&str> = batch.2.iter().map(String::as_str).collect();
            let records = sequenced(producer, batch.1, &values);
            client.send(9, &produce("t", i32::try_from(batch.0).unwrap(), records, -1)).await;
            in_flight += 1;
            continue;
        }
        let (_, response) = client.receive::<ProduceRequest>(9).await;
        let part = &response.responses[0].partition_responses[0];
        assert_eq!(part.error_code, ErrorCode::NONE, "{part:?}");
        let mut ghost = ghost.lock().unwrap();
        let (partition, sequence, values) = ghost.open.pop_front().unwrap();
        assert_eq!(part.base_offset, Offset(i64::from(sequence)), "partition {partition}");
        ghost.acknowledged[partition] += values.len();
        in_flight -= 1;
    }
}

/// Reads on and on, as a consumer does.
async fn consume(client: &mut Client<SimEnv>, rng: &mut Rng, ghost: &Mutex<Ghost>) -> ! {
    loop {
        let partition = rng.random_range(0..PARTITIONS);
        let from = ghost.lock().unwrap().read[partition];
        let request = long_poll("t", i32::try_from(partition).unwrap(), i64::try_from(from).unwrap(), 5);
        let response = client.call(11, &request).await;
        let part = &response.responses[0].partitions[0];
        assert_eq!(part.error_code, ErrorCode::NONE, "{part:?}");
        let mut ghost = ghost.lock().unwrap();
        for (offset, value) in records(part) {
            let at = usize::try_from(offset).unwrap();
            assert_eq!(ghost.sent[partition].get(at), Some(&value), "partition {partition} at {at}");
            ghost.read[partition] = ghost.read[partition].max(at + 1);
        }
    }
}

/// Reads all from the start: nothing is missing that was told or seen, nothing is there twice.
async fn check_all(client: &mut Client<SimEnv>, ghost: &Mutex<Ghost>) {
    for partition in 0..PARTITIONS {
        let mut found: Vec<String> = Vec::new();
        loop {
            let from = i64::try_from(found.len()).unwrap();
            let part = client.fetch("t", i32::try_from(partition).unwrap(), from).await;
            assert_eq!(part.error_code, ErrorCode::NONE, "{part:?}");
            if !matches!(&part.records, Records::Bytes(bytes) if !bytes.is_empty()) {
                break;
            }
            for (offset, value) in records(&part) {
                if usize::try_from(offset).unwrap() == found.len() {
                    found.push(value);
                }
            }
        }
        let ghost = ghost.lock().unwrap();
        assert_eq!(found, ghost.sent[partition][..found.len()], "partition {partition}");
        assert!(found.len() >= ghost.acknowledged[partition], "acknowledged records are lost");
        assert!(found.len() >= ghost.read[partition], "records that were read are lost");
    }
}

/// Nothing is exposed or acknowledged that is not on disk, as the node itself tells it.
fn watch(sim: &Simulation) {
    let mut synced: BTreeMap<LogId, Offset> = BTreeMap::new();
    let mut exposed: BTreeMap<LogId, Offset> = BTreeMap::new();
    sim.observe(Box::new(move |_, _, event| {
        let violation = |what: String| Err(Violation::new("S14", what));
        match event {
            Event::Recovered { log, end, .. } | Event::Synced { log, end } => drop(synced.insert(*log, *end)),
            Event::HighWatermark { log, end } => {
                exposed.insert(*log, *end);
                if synced.get(log) < Some(end) {
                    return violation(format!("{log} exposes up to {end}, synced {:?}", synced.get(log)));
                }
            }
            Event::Acknowledged { log, last, acks: -1, .. } if synced.get(log) <= Some(last) => {
                return violation(format!("{log} acknowledges {last}, synced {:?}", synced.get(log)));
            }
            _ => {}
        }
        Ok(())
    }));
}

async fn client_of(env: &SimEnv, node: &Node<SimEnv>, ghost: &Mutex<Ghost>) -> Client<SimEnv> {
    let mut client = Client::to(env, node).await;
    if ghost.lock().unwrap().producer.is_none() {
        // Small segments, so that they roll and are sealed in between.
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: i32::try_from(PARTITIONS).unwrap(),
            replication_factor: 1,
            configs: vec![CreatableTopicConfig { name: "segment.bytes".into(), value: Some("2048".into()) }],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let code = client.call(7, &request).await.topics[0].error_code;
        assert!(matches!(code, ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS), "{code:?}");
        let producer = client.call(4, &InitProducerIdRequest::default()).await.producer_id;
        ghost.lock().unwrap().producer = Some(producer);
    }
    client
}

async fn work(env: &SimEnv, rngs: &mut (Rng, Rng), ghost: &Mutex<Ghost>) {
    let node = start(env, Path::new(DIR), &[]).await;
    let mut client = client_of(env, &node, ghost).await;
    check_all(&mut client, ghost).await;
    let mut consumer = Client::to(env, &node).await;
    let produce = produce_on(&mut client, &mut rngs.0, ghost, 40);
    first(produce, async { consume(&mut consumer, &mut rngs.1, ghost).await }).await;
    if rngs.0.random_bool(0.3) {
        node.shutdown().await.unwrap();
    }
}

fn stop(sim: &Simulation, node: NodeId, rng: &mut Rng) {
    if rng.random_bool(0.3) {
        sim.crash(node);
    } else {
        sim.power_loss(node, PowerRates::random(rng));
    }
}

fn run(seed: u64) -> (u64, [usize; PARTITIONS]) {
    let sim = Simulation::new(seed);
    watch(&sim);
    let id = sim.node("n").node();
    let (mut rng, mut rngs) = (sim.rng(1), (sim.rng(2), sim.rng(3)));
    let ghost = Mutex::new(Ghost::default());
    sim.block_on(async {
        for _ in 0..6 {
            let env = sim.env(id);
            let fuse = sim.fuse(id, rng.random_range(0..400));
            first(work(&env, &mut rngs, &ghost), fuse).await;
            stop(&sim, id, &mut rng);
        }
        let env = sim.env(id);
        let node = start(&env, Path::new(DIR), &[]).await;
        let mut client = client_of(&env, &node, &ghost).await;
        check_all(&mut client, &ghost).await;
        node.shutdown().await.unwrap();
    });
    (sim.hash(), ghost.into_inner().unwrap().acknowledged)
}

#[test]
fn acknowledged_records_survive_a_stop_at_any_operation_of_the_disk() {
    let acknowledged: usize = (0..60).map(|seed| run(seed).1.iter().sum::<usize>()).sum();
    assert!(acknowledged > 3_000, "too little happens: {acknowledged}");
}

#[test]
fn a_run_repeats_itself() {
    for seed in [3, 17] {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn what_a_failed_sync_covered_is_refused_and_what_was_durable_is_still_read() {
    for failure in [SyncFailure::Clean, SyncFailure::Reverted, SyncFailure::KeptDirty] {
        let sim = Simulation::new(5);
        watch(&sim);
        let id = sim.node("n").node();
        let ghost = Arc::new(Mutex::new(Ghost::default()));
        sim.block_on(async {
            let env = sim.env(id);
            let node = start(&env, Path::new(DIR), &[]).await;
            let mut client = client_of(&env, &node, &ghost).await;
            let log = client.call(12, &MetadataRequest::default()).await.topics[0].topic_id;
            assert_eq!(client.produce("t", 0, batch(&["durable"])).await.error_code, ErrorCode::NONE);
            let mut reader = Client::to(&env, &node).await;
            reader.send(11, &long_poll("t", 0, 1, 10_000)).await;
            sim.disk(id).fail_next_sync(&format!("{log}-0"), failure);
            for _ in 0..3 {
                let refused = client.produce("t", 0, batch(&["lost"])).await;
                assert_eq!(refused.error_code, ErrorCode::KAFKA_STORAGE_ERROR, "{failure:?}");
            }
            // Whoever waits is told, the other partition goes on, and the durable record can be read.
            let (_, response) = reader.receive::<FetchRequest>(11).await;
            assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::KAFKA_STORAGE_ERROR);
            assert_eq!(client.produce("t", 1, batch(&["other"])).await.error_code, ErrorCode::NONE);
            assert_eq!(records(&client.fetch("t", 0, 0).await), [(0, "durable".to_owned())]);
            assert_eq!(node.metrics().logs_failed.get(), 1);
            sim.power_loss(id, PowerRates::DROP_ALL);
            let env = sim.env(id);
            let node = start(&env, Path::new(DIR), &[]).await;
            let mut client = Client::to(&env, &node).await;
            assert_eq!(records(&client.fetch("t", 0, 0).await)[0], (0, "durable".to_owned()));
            assert_eq!(client.produce("t", 0, batch(&["healed"])).await.error_code, ErrorCode::NONE);
            env.observe(&Event::Reached("test: healed"));
            node.shutdown().await.unwrap();
        });
    }
}
