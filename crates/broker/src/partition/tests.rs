use super::*;
use highwater_env::sleep;
use highwater_log::{LogConfig, Store, StoreOptions};
use highwater_records::{BatchBuilder, Codec};
use highwater_replication::{Assignment, Rules};
use highwater_sim::disk::{Fault, Op};
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{BrokerId, PartitionIndex, Timestamp, TopicId, Uuid};
use std::future::poll_fn;
use std::time::Duration;

const STALL: Duration = Duration::from_secs(2);

fn batch(value: &str) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    assert!(builder.try_push(Timestamp(1), None, Some(value.as_bytes()), &[]));
    Batch::check(builder.build()).unwrap()
}

async fn poll_once(ticket: &mut Ticket<Partition<SimEnv>>) -> Poll<Fate> {
    poll_fn(|cx| Poll::Ready(Partition::poll_appended(ticket, cx))).await
}

async fn base_of(ticket: &mut Ticket<Partition<SimEnv>>) -> Offset {
    poll_fn(|cx| Partition::poll_appended(ticket, cx)).await.expect("an append").base_offset
}

#[test]
fn an_append_outlives_the_request_that_began_it() {
    let sim = Simulation::new(7);
    let node = sim.node("n").node();
    sim.block_on(async {
        let env = sim.env(node);
        let (store, _) = Store::open(env.clone(), StoreOptions::new("/data", BrokerId(1))).await.unwrap();
        let id = LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(0) };
        let log = store.create_log(id, LogConfig::default()).await.unwrap();
        let broker = BrokerId(1);
        let partition =
            Partition::new(env.clone(), "t".into(), log, broker, Arc::default(), Replication::new());
        let partition = Arc::new(partition);
        let alone = Assignment {
            leader: Some(broker),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: vec![broker],
            isr: vec![broker],
        };
        partition.assign(alone, Rules { sync: true, min_insync_replicas: 1, max_lag: STALL });
        sim.disk(node).fail_next(Op::Write, &format!("{id}"), Fault::Stall(STALL));
        let [mut first, mut second] = ["a", "b"].map(|value| partition.enqueue(batch(value)));
        assert!(poll_once(&mut first).await.is_pending() && poll_once(&mut second).await.is_pending());
        let mut third = partition.enqueue(batch("c"));
        assert!(poll_once(&mut third).await.is_pending());
        sleep(env.clock(), STALL / 2).await;
        // All that the connection of the first one had in work is dropped with it.
        drop(first);
        assert_eq!(base_of(&mut second).await, Offset(1));
        assert_eq!(base_of(&mut third).await, Offset(2));
        assert_eq!(partition.log().end_offset(), Offset(3));
        store.close().await.unwrap();
    });
}
