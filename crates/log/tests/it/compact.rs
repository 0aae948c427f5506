//! Compaction: what stays, what goes, and what a crash leaves.

use crate::common::*;
use highwater_env::{Disk, Env, Event};
use highwater_log::{CleanupPolicy, Compaction, Log, LogConfig, Store};
use highwater_records::{Batch, BatchBuilder, Batches, Codec};
use highwater_sim::SimEnv;
use highwater_types::{Offset, ProducerEpoch, ProducerId, Timestamp};
use rand::RngExt as _;
use std::collections::BTreeMap;
use std::time::Duration;

const RETENTION_MS: u64 = 60_000;
const MAP_BYTES: usize = 1 << 20;

fn compacted() -> LogConfig {
    LogConfig {
        cleanup: CleanupPolicy { delete: false, compact: true },
        delete_retention_ms: RETENTION_MS,
        min_cleanable_dirty_ratio: 0.01,
        ..small()
    }
}

/// A record with its key; no value deletes the key.
type Pair<'a> = (&'a str, Option<&'a str>);

fn pairs(codec: Codec, records: &[Pair<'_>]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec, 1 << 20);
    for (key, value) in records {
        let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
        assert!(builder.try_push(Timestamp(1_000), key, value, &[]));
    }
    builder
}

async fn put(log: &Log<SimEnv>, records: &[Pair<'_>]) -> Offset {
    let batch = Batch::check(pairs(Codec::None, records).build()).expect("a good batch");
    log.append(&batch, EPOCH, Timestamp(5_000)).await.expect("an append").end_offset
}

/// Fills the active segment with records of keys of their own, so that what stands before is in closed ones, and waits
/// until the marks say so.
async fn seal(bench: &Bench, log: &Log<SimEnv>) {
    let filling = "f".repeat(300);
    let end = log.end_offset();
    for number in 0..5 {
        put(log, &[(&format!("filling-{end}-{number}"), Some(&filling))]).await;
    }
    log.wait_synced(log.end_offset()).await.expect("a sync");
    // Both generations of the marks are to say it.
    for _ in 0..2 {
        bench.sim.sleep(Duration::from_secs(3)).await;
        put(log, &[("mark", Some("m"))]).await;
        log.wait_synced(log.end_offset()).await.expect("a sync");
    }
    bench.sim.sleep(Duration::from_secs(3)).await;
}

async fn pass(store: &Store<SimEnv>) -> Vec<Compaction> {
    store.compact(|_| None, MAP_BYTES, || false).await
}

/// Offset, key and value of the records of a log that are not filling. Batches follow each other without a gap.
async fn shown(log: &Log<SimEnv>) -> Vec<String> {
    let mut found = Vec::new();
    let (mut at, end) = (log.start_offset(), log.end_offset());
    while at < end {
        let bytes = bytes_of(log.read(at, end, 400, true).await.expect("a read")).await;
        assert!(!bytes.is_empty(), "nothing at {at} of {end}");
        for batch in Batches::new(bytes) {
            let batch = batch.expect("a good batch");
            assert_eq!(batch.header().base_offset, at, "batches follow each other");
            at = batch.header().next_offset();
            for record in batch.records().expect("records") {
                let record = record.expect("a record");
                let key = String::from_utf8_lossy(&record.key.expect("a key")).into_owned();
                let value = record.value.map(|value| String::from_utf8_lossy(&value).into_owned());
                if !key.starts_with("filling") && key != "mark" {
                    found.push(format!("{}:{key}={}", record.offset, value.as_deref().unwrap_or("!")));
                }
            }
        }
    }
    found
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let bench = Bench::new(1);
    bench.sim.block_on(async {
        let (store, log) = bench.create(compacted()).await;
        put(&log, &[("a", Some("1")), ("b", Some("1"))]).await;
        put(&log, &[("a", Some("2"))]).await;
        put(&log, &[("c", Some("1"))]).await;
        put(&log, &[("a", Some("3")), ("c", Some("2")), ("d", Some("1"))]).await;
        seal(&bench, &log).await;
        let end = log.end_offset();
        let (before, segments) = (log.size_bytes(), log.segment_count());
        let done = pass(&store).await;
        assert_eq!(done.len(), 1, "{done:?}");
        assert_eq!(shown(&log).await, ["1:b=1", "4:a=3", "5:c=2", "6:d=1"]);
        assert!(log.size_bytes() < before && log.segment_count() <= segments, "{done:?}");
        assert_eq!(log.end_offset(), end);
        assert_eq!(pass(&store).await, [], "nothing is due any more");
        let kinds = bench.take_events();
        assert!(kinds.iter().any(|event| matches!(event, Event::Compacting { up_to, .. } if *up_to <= end)));
        for close in [true, false] {
            if close {
                store.close().await.expect("a close");
            }
            bench.power_loss();
            let (_store, log, report) = bench.reopen().await;
            assert!(!report.is_alarming(), "{report:?}");
            assert_eq!(shown(&log).await, ["1:b=1", "4:a=3", "5:c=2", "6:d=1"]);
            if close {
                return;
            }
        }
    });
}

#[test]
fn tombstones_stay_for_their_time() {
    let bench = Bench::new(2);
    bench.sim.block_on(async {
        let (store, log) = bench.create(compacted()).await;
        put(&log, &[("a", Some("1")), ("b", Some("1"))]).await;
        put(&log, &[("a", None)]).await;
        seal(&bench, &log).await;
        pass(&store).await;
        assert_eq!(shown(&log).await, ["1:b=1", "2:a=!"]);
        // A wall clock that jumps does not end it.
        bench.env().jump_clock(RETENTION_MS as i64 * 2);
        put(&log, &[("b", Some("2"))]).await;
        seal(&bench, &log).await;
        pass(&store).await;
        let b = shown(&log).await;
        assert!(b[0] == "2:a=!" && b.len() == 2, "{b:?}");
        bench.sim.sleep(Duration::from_millis(RETENTION_MS)).await;
        put(&log, &[("b", Some("3"))]).await;
        seal(&bench, &log).await;
        pass(&store).await;
        let left = shown(&log).await;
        assert!(left.len() == 1 && left[0].ends_with("b=3"), "{left:?}");
    });
}

#[test]
fn what_is_put_back_below_a_tombstone_goes_before_it() {
    let bench = Bench::new(12);
    bench.sim.block_on(async {
        let (store, log) = bench.create(compacted()).await;
        let end = put(&log, &[("a", Some("1")), ("b", Some("1"))]).await;
        // As a replica has it that has compacted nothing.
        let replica = bytes_of(log.read(Offset(0), end, 1 << 20, true).await.expect("a read")).await;
        put(&log, &[("a", None)]).await;
        seal(&bench, &log).await;
        pass(&store).await;
        assert_eq!(shown(&log).await, ["1:b=1", "2:a=!"]);
        let mut segments = bench.files();
        segments.retain(|name| name.ends_with(".log"));
        let first = segments.iter().min().expect("a segment");
        bench.rot(&bench.path(first), 130);
        log.scrub(Offset(0), 1 << 20).await.expect("a scrub");
        assert_eq!(log.damaged(), [Offset(0)..end]);
        log.repair(replica).await.expect("it fits");
        assert_eq!(shown(&log).await[..3], ["0:a=1", "1:b=1", "2:a=!"]);
        bench.sim.sleep(Duration::from_millis(RETENTION_MS)).await;
        put(&log, &[("b", Some("2"))]).await;
        seal(&bench, &log).await;
        pass(&store).await;
        let left = shown(&log).await;
        assert!(left.len() == 1 && left[0].ends_with("b=2"), "{left:?}");
    });
}

#[test]
fn nothing_at_or_above_the_bound_counts() {
    let bench = Bench::new(3);
    bench.sim.block_on(async {
        let (store, log) = bench.create(compacted()).await;
        put(&log, &[("a", Some("1"))]).await;
        seal(&bench, &log).await;
        let bound = log.end_offset();
        put(&log, &[("a", Some("2"))]).await;
        seal(&bench, &log).await;
        store.compact(|_| Some(bound), MAP_BYTES, || false).await;
        assert_eq!(shown(&log).await[0], "0:a=1");
        store.compact(|_| None, MAP_BYTES, || false).await;
        assert!(shown(&log).await[0].ends_with("a=2"));
    });
}

#[test]
fn lag_bounds_and_the_dirty_ratio_say_when() {
    let bench = Bench::new(4);
    bench.sim.block_on(async {
        let lazy = LogConfig { min_cleanable_dirty_ratio: 1.0, ..compacted() };
        let (store, log) = bench.create(LogConfig { min_compaction_lag_ms: 3_600_000, ..compacted() }).await;
        let recent = |value: &str| {
            let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
            assert!(builder.try_push(bench.now(), Some(b"a"), Some(value.as_bytes()), &[]));
            Batch::check(builder.build()).expect("a good batch")
        };
        for value in ["1", "2"] {
            log.append(&recent(value), EPOCH, bench.now()).await.expect("an append");
        }
        seal(&bench, &log).await;
        assert_eq!(pass(&store).await, [], "they are too young");
        log.set_config(compacted()).await;
        assert_eq!(pass(&store).await.len(), 1);
        log.append(&recent("3"), EPOCH, bench.now()).await.expect("an append");
        seal(&bench, &log).await;
        log.set_config(lazy.clone()).await;
        assert_eq!(pass(&store).await, [], "too little is dirty");
        log.set_config(LogConfig { max_compaction_lag_ms: 1_000, ..lazy }).await;
        assert_eq!(pass(&store).await.len(), 1, "it is overdue");
        assert!(shown(&log).await[0].ends_with("a=3"));
    });
}

#[test]
fn a_small_memory_takes_more_passes() {
    let bench = Bench::new(5);
    bench.sim.block_on(async {
        let (store, log) = bench.create(compacted()).await;
        for round in 0..3 {
            for key in 0..70 {
                put(&log, &[(&format!("key-{key}"), Some(&format!("{round}")))]).await;
            }
        }
        seal(&bench, &log).await;
        let mut passes = 0;
        while !store.compact(|_| None, 0, || false).await.is_empty() {
            passes += 1;
            assert!(passes < 20, "they come to an end");
        }
        assert!(passes > 3, "{passes}");
        let found = shown(&log).await;
        assert_eq!(found.len(), 70, "{found:?}");
        assert!(found.iter().all(|record| record.ends_with("=2")), "{found:?}");
    });
}

#[test]
fn a_producer_is_known_from_what_compaction_leaves() {
    let bench = Bench::new(6);
    bench.sim.block_on(async {
        let (store, log) = bench.create(compacted()).await;
        let batch = |sequence| {
            let mut builder = pairs(Codec::Lz4, &[("p", Some("v"))]);
            builder.set_producer(ProducerId(9), ProducerEpoch(0), sequence);
            Batch::check(builder.build()).expect("a good batch")
        };
        for sequence in 0..8 {
            log.append(&batch(sequence), EPOCH, bench.now()).await.expect("an append");
        }
        put(&log, &[("p", Some("last"))]).await;
        seal(&bench, &log).await;
        pass(&store).await;
        assert_eq!(shown(&log).await, ["8:p=last"]);
        // As a new replica, or a recovery without snapshots, learns of it.
        for name in bench.files().iter().filter(|name| name.ends_with(".producers")) {
            let removed = bench.env().disk().remove_file(&bench.path(name)).await;
            removed.expect("it is there");
        }
        bench.crash();
        let (_store, log, _) = bench.reopen().await;
        let again = log.append(&batch(7), EPOCH, bench.now()).await.expect("a repeat");
        assert!(again.duplicate && again.base_offset == Offset(7), "{again:?}");
        assert!(!log.append(&batch(8), EPOCH, bench.now()).await.expect("the next").duplicate);
    });
}

/// What a reader by key finds.
fn view(records: &[String]) -> BTreeMap<String, String> {
    let parts = records.iter().filter_map(|record| record.split_once(':')?.1.split_once('='));
    let mut view: BTreeMap<_, _> = parts.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    view.retain(|_, value| value != "!");
    view
}

#[test]
fn a_follower_goes_on_in_the_middle_of_what_compaction_left() {
    let bench = Bench::new(8);
    bench.sim.block_on(async {
        let (store, log) = bench.create(compacted()).await;
        let follower = store.create_log(id(1), compacted()).await.expect("a new log");
        for number in 0..20 {
            put(&log, &[("a", Some(&format!("{number}")))]).await;
        }
        let first = bytes_of(log.read(Offset(0), Offset(7), 1 << 20, true).await.expect("a read")).await;
        follower.append_replica(first, bench.now()).await.expect("what the leader had");
        seal(&bench, &log).await;
        pass(&store).await;
        assert_eq!(shown(&log).await, ["19:a=19"]);
        while follower.end_offset() < log.end_offset() {
            let next = log.read(follower.end_offset(), log.end_offset(), 1 << 20, true).await;
            follower
                .append_replica(bytes_of(next.expect("a read")).await, bench.now())
                .await
                .expect("it follows");
        }
        assert_eq!(shown(&follower).await.last().map(String::as_str), Some("19:a=19"));
    });
}

/// Compaction that is cut off anywhere, by a crash or a power loss, changes nothing for who reads by key, and loses
/// nothing.
#[test]
fn a_crash_leaves_the_old_or_the_new() {
    for seed in 0..120 {
        let bench = Bench::new(seed);
        bench.sim.block_on(async {
            let mut rng = bench.sim.rng(7);
            let (store, log) = bench.create(compacted()).await;
            let mut expected = BTreeMap::new();
            for number in 0..rng.random_range(20..60) {
                let key = format!("key-{}", rng.random_range(0..8));
                let value = (!rng.random_bool(0.2)).then(|| number.to_string());
                put(&log, &[(&key, value.as_deref())]).await;
                match value {
                    Some(value) => expected.insert(key, value),
                    None => expected.remove(&key),
                };
            }
            seal(&bench, &log).await;
            assert_eq!(view(&shown(&log).await), expected);
            if rng.random_bool(0.3) {
                // What an earlier pass left is compacted again.
                pass(&store).await;
                bench.sim.sleep(Duration::from_millis(RETENTION_MS + 1_000)).await;
                put(&log, &[("key-0", Some("later"))]).await;
                expected.insert("key-0".to_owned(), "later".to_owned());
                seal(&bench, &log).await;
            }
            let end = log.end_offset();
            let fuse = bench.sim.fuse(bench.node, rng.random_range(1..80));
            let work = {
                let store = store.clone();
                bench.env().spawn("compaction", async move {
                    pass(&store).await;
                })
            };
            first_of(
                async {
                    work.await;
                },
                fuse,
            )
            .await;
            if rng.random_bool(0.5) {
                bench.crash();
            } else {
                bench.power_loss();
            }
            bench.sim.restart(bench.node);
            let (store, log, report) = bench.reopen().await;
            log.set_config(compacted()).await;
            assert!(!report.is_alarming(), "seed {seed}: {report:?}");
            assert_eq!(log.end_offset(), end, "seed {seed}");
            assert_eq!(view(&shown(&log).await), expected, "seed {seed}");
            bench.sim.sleep(Duration::from_secs(5)).await;
            pass(&store).await;
            assert_eq!(view(&shown(&log).await), expected, "seed {seed}");
            assert!(log.damaged().is_empty(), "seed {seed}");
        });
    }
}
