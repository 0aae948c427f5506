//! What followers do with a log: append what another replica has, cut it, begin anew elsewhere.

use crate::common::*;
use bytes::{Bytes, BytesMut};
use highwater_env::Event;
use highwater_log::{AppendError, Log, LogError};
use highwater_records::Batch;
use highwater_sim::SimEnv;
use highwater_sim::disk::{Fault, Op, PowerRates};
use highwater_types::{LeaderEpoch, Offset, Timestamp};
use rand::RngExt;
use std::time::Duration;

const NOW: Timestamp = Timestamp(5_000);

/// Batches in a row from an offset on, each of an epoch.
fn placed(mut at: i64, batches: &[(Batch, i32)]) -> Bytes {
    let mut bytes = BytesMut::new();
    for (batch, epoch) in batches {
        let assigned = batch.assigned(Offset(at), LeaderEpoch(*epoch), None);
        at = assigned.header().next_offset().0;
        bytes.extend_from_slice(&assigned.to_bytes());
    }
    bytes.freeze()
}

/// One record per batch.
fn rows(at: i64, rows: &[(&str, i32)]) -> Bytes {
    let batches: Vec<_> = rows.iter().map(|&(value, epoch)| (batch_of(&[(value, 1_000)]), epoch)).collect();
    placed(at, &batches)
}

async fn append_rows(log: &Log<SimEnv>, values: &[(&str, i32)]) {
    let at = log.end_offset();
    let appended = log.append_replica(rows(at.0, values), NOW).await.expect("they follow");
    assert_eq!((appended.base_offset, appended.end_offset), (at, at.plus(values.len() as i64)));
    log.wait_synced(appended.end_offset).await.expect("a sync");
}

#[test]
fn batches_stay_as_another_replica_has_them() {
    let bench = Bench::new(1);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let words = words(200);
        let mut batches = vec![(batch_of(&[("first", 7), ("second", 8)]), 0)];
        let epoch = |number: usize| [0, 2, 5][number / 80];
        batches.extend(words.iter().enumerate().map(|(at, word)| (batch_of(&[(word, 9)]), epoch(at))));
        batches.push((sequenced(9, 3, 41, "p"), 5));
        let bytes = placed(0, &batches);
        let appended = log.append_replica(bytes.clone(), NOW).await.expect("they follow");
        assert_eq!((appended.base_offset, appended.end_offset), (Offset(0), Offset(203)));
        assert!(log.segment_count() > 10);
        let mut read = BytesMut::new();
        let mut at = Offset(0);
        while at < log.end_offset() {
            let slice = bytes_of(log.read(at, log.end_offset(), 1 << 20, true).await.expect("a read")).await;
            at = highwater_records::Batches::new(slice.clone())
                .last()
                .unwrap()
                .unwrap()
                .header()
                .next_offset();
            read.extend_from_slice(&slice);
        }
        assert!(read.freeze() == bytes, "read back as they were written");
        check_epochs(&log, &[(0, 0, 82), (1, 0, 82), (2, 2, 162), (5, 5, 203)]);
        // The producer's state is that of its last batch, wherever it began.
        let again = log.append(&sequenced(9, 3, 41, "p"), LeaderEpoch(5), NOW).await.expect("a repeat");
        assert!(again.duplicate && again.base_offset == Offset(202));
        let next = log.append(&sequenced(9, 3, 42, "q"), LeaderEpoch(6), NOW).await.expect("it follows");
        log.wait_synced(next.end_offset).await.expect("a sync");
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        check_epochs(&log, &[(0, 0, 82), (4, 2, 162), (5, 5, 203), (6, 6, 204)]);
        assert_eq!(values(&log).await.len(), 204);
    });
}

fn check_epochs(log: &Log<SimEnv>, expected: &[(i32, i32, i64)]) {
    for &(asked, found, end) in expected {
        let expected = (LeaderEpoch(found), Offset(end));
        assert_eq!(log.epoch_end_offset(LeaderEpoch(asked)), expected, "epoch {asked}");
    }
}

#[test]
fn what_does_not_follow_is_refused_as_a_whole() {
    let bench = Bench::new(2);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        append_rows(&log, &[("a", 3), ("b", 3)]).await;
        bench.sim.sleep(Duration::from_secs(3)).await;
        bench.take_events();
        let operations = bench.sim.disk_operations();
        let join = |first: Bytes, second: Bytes| Bytes::from([first, second].concat());
        let rotten = |mut bytes: Vec<u8>, at: usize| {
            bytes[at] ^= 1;
            Bytes::from(bytes)
        };
        let good = rows(2, &[("c", 3), ("d", 4)]);
        let whole = good.len();
        for (name, bytes, expected) in [
            ("ahead", rows(3, &[("c", 3)]), "a batch has offset 3, where 2 is next"),
            ("behind", rows(1, &[("b", 3), ("c", 3)]), "a batch has offset 1, where 2 is next"),
            (
                "a gap",
                join(rows(2, &[("c", 3)]), rows(4, &[("d", 3)])),
                "a batch has offset 4, where 3 is next",
            ),
            ("an old epoch", rows(2, &[("c", 2)]), "leader epoch 2 is older than the log's 3"),
            ("a falling epoch", rows(2, &[("c", 5), ("d", 4)]), "leader epoch 4 is older than the log's 5"),
            ("a partial batch", good.slice(..whole - 1), "Invalid"),
            ("a partial header", good.slice(..whole / 2 + 30), "Invalid"),
            ("rot", rotten(good.to_vec(), whole - 3), "Invalid"),
            ("an older format", rotten(good.to_vec(), whole / 2 + 16), "Invalid"),
        ] {
            let error = log.append_replica(bytes, NOW).await.expect_err(name);
            match error {
                AppendError::Invalid(_) => assert_eq!(expected, "Invalid", "{name}"),
                error => assert_eq!(error.to_string(), expected, "{name}"),
            }
        }
        assert_eq!((log.end_offset(), log.latest_epoch()), (Offset(2), Some(LeaderEpoch(3))));
        assert_eq!(bench.take_events(), []);
        assert_eq!(bench.sim.disk_operations(), operations, "nothing was written");
        let nothing = log.append_replica(Bytes::new(), NOW).await.expect("nothing is no error");
        assert_eq!(nothing.end_offset, Offset(2));
        append_rows(&log, &[("c", 3), ("d", 4)]).await;
        assert_eq!(values(&log).await, numbered(0, &["a", "b", "c", "d"]));
    });
}

#[test]
fn a_batch_of_another_replica_may_be_larger_than_a_segment_here() {
    let bench = Bench::new(3);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let large = "x".repeat(3_000);
        append_rows(&log, &[("a", 0), (&large, 0), ("b", 0)]).await;
        assert_eq!(log.segment_count(), 3);
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!(values(&log).await, numbered(0, &["a", &large, "b"]));
    });
}

#[test]
fn an_epoch_without_a_batch_gives_way_to_another_leaders_history() {
    let bench = Bench::new(4);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        append_rows(&log, &[("a", 1)]).await;
        log.start_epoch(LeaderEpoch(4)).await.expect("a new leader");
        let stale = log.append_replica(rows(1, &[("b", 2)]), NOW).await;
        assert!(matches!(stale, Err(AppendError::StaleLeaderEpoch { .. })), "{stale:?}");
        assert_eq!(log.truncate(Offset(9)).await.expect("nothing is cut"), Offset(1));
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
        append_rows(&log, &[("b", 2)]).await;
        bench.power_loss();
        let (_store, log, _) = bench.reopen().await;
        assert_eq!(values(&log).await, numbered(0, &["a", "b"]));
        check_epochs(&log, &[(1, 1, 1), (4, 2, 2)]);
    });
}

#[test]
fn a_full_disk_leaves_what_was_appended_before() {
    let bench = Bench::new(5);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let disk = bench.sim.disk(bench.node);
        disk.set_capacity(Some(disk.used_bytes() + 12_000));
        let words = words(60);
        let rows_of = |from: usize| {
            let rest: Vec<_> = words[from..].iter().map(|word| (batch_of(&[(word, 9)]), 0)).collect();
            placed(from as i64, &rest)
        };
        let failed = log.append_replica(rows_of(0), NOW).await;
        assert!(matches!(failed, Err(AppendError::StorageFull)), "{failed:?}");
        let end = log.end_offset();
        assert!(end > Offset(0) && end < Offset(60), "{end}");
        disk.set_capacity(None);
        log.append_replica(rows_of(end.0 as usize), NOW).await.expect("the rest follows");
        assert_eq!(values(&log).await, numbered(0, &refs(&words)));
    });
}

#[test]
fn a_restart_drops_everything_and_is_durable() {
    // Ahead of the log's end, in its middle, at the base of its first segment and behind its start.
    for start in [500, 37, 60, 0, 3] {
        let bench = Bench::new(start as u64);
        bench.sim.block_on(async {
            let (_store, log) = bench.create(small()).await;
            append_all(&log, &refs(&words(60))).await;
            log.append(&sequenced(9, 0, 0, "p"), LeaderEpoch(7), NOW).await.expect("an append");
            log.wait_synced(Offset(61)).await.expect("a sync");
            log.delete_records(Offset(20)).await.expect("a deletion");
            bench.take_events();
            log.restart_at(Offset(start)).await.expect("a restart");
            let (kept, id) = (Offset(start.min(20)), log.id());
            let events = bench.take_events();
            assert_eq!(events.first(), Some(&Event::Truncating { log: id, end: kept }));
            assert_eq!(events.last(), Some(&Event::Restarted { log: id, start: Offset(start) }));
            check_empty(&log, start).await;
            append_rows(&log, &[("a", 2), ("b", 3)]).await;
            bench.power_loss();
            let (_store, log, report) = bench.reopen().await;
            assert!(!report.is_alarming() && !report.restarted, "{report:?}");
            assert_eq!(log.start_offset(), Offset(start));
            assert_eq!(values(&log).await, numbered(start, &["a", "b"]));
            check_epochs(&log, &[(1, -1, -1), (2, 2, start + 1), (7, 3, start + 2)]);
            // What was known of the producer went with its batches.
            let fresh = log.append(&sequenced(9, 0, 5, "q"), LeaderEpoch(8), NOW).await.expect("unknown");
            assert!(!fresh.duplicate);
        });
    }
}

async fn check_empty(log: &Log<SimEnv>, start: i64) {
    let start = Offset(start);
    assert_eq!((log.start_offset(), log.end_offset(), log.synced_end()), (start, start, start));
    assert_eq!((log.latest_epoch(), log.segment_count()), (None, 1));
    assert!(log.read(start, start, 100, true).await.expect("nothing is there").is_empty());
}

/// A restart of a log of 40 records that ends before a disk operation, if it does not end by itself.
async fn restart_cut_at(bench: &Bench, operations: u64) {
    let (_store, log) = bench.create(small()).await;
    append_all(&log, &refs(&words(40))).await;
    log.wait_synced(Offset(40)).await.expect("a sync");
    let fuse = bench.sim.fuse(bench.node, operations);
    first_of(fuse, async {
        let _ = log.restart_at(Offset(25)).await;
    })
    .await;
}

/// The log is as it was, or empty; whether it is as it was.
async fn check_either(bench: &Bench, context: &str) -> bool {
    let (_store, log, report) = bench.reopen().await;
    assert!(report.damaged.is_empty() && report.failure.is_none(), "{context}: {report:?}");
    let old = log.start_offset() == Offset(0);
    if old {
        assert_eq!(values(&log).await, numbered(0, &refs(&words(40))), "{context}");
    } else {
        check_empty(&log, 25).await;
    }
    append_rows(&log, &[("next", 9)]).await;
    old
}

#[test]
fn a_restart_that_is_cut_off_leaves_the_old_log_or_an_empty_one() {
    let (mut old, mut empty) = (0, 0);
    for operations in 0..60 {
        for seed in 0..4 {
            let bench = Bench::new(seed);
            bench.sim.block_on(async {
                restart_cut_at(&bench, operations).await;
                let mut rng = bench.sim.rng(3);
                bench.sim.power_loss(bench.node, PowerRates::random(&mut rng));
                match check_either(&bench, &format!("seed {seed}, cut at {operations}")).await {
                    true => old += 1,
                    false => empty += 1,
                }
            });
        }
    }
    assert!(old > 10 && empty > 10, "{old} {empty}");
}

#[test]
fn a_power_loss_while_a_restart_is_completed_changes_nothing() {
    let (mut old, mut empty) = (0, 0);
    for seed in 0..500 {
        let bench = Bench::new(seed);
        bench.sim.block_on(async {
            let mut rng = bench.sim.rng(3);
            // A crash of the process: what was renamed may not be on disk.
            restart_cut_at(&bench, rng.random_range(3..10)).await;
            bench.crash();
            let fuse = bench.sim.fuse(bench.node, rng.random_range(8..40));
            first_of(fuse, async {
                bench.open().await;
            })
            .await;
            bench.sim.power_loss(bench.node, PowerRates::random(&mut rng));
            match check_either(&bench, &format!("seed {seed}")).await {
                true => old += 1,
                false => empty += 1,
            }
        });
    }
    assert!(old > 10 && empty > 100, "{old} {empty}");
}

#[test]
fn a_restart_that_fails_poisons_the_log() {
    let bench = Bench::new(6);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        append_all(&log, &["a", "b"]).await;
        log.wait_synced(Offset(2)).await.expect("a sync");
        bench.sim.disk(bench.node).fail_next(Op::SyncDir, "", Fault::Error);
        let failed = log.restart_at(Offset(9)).await;
        assert!(matches!(failed, Err(LogError::Poisoned)), "{failed:?}");
        let refused = log.append_replica(rows(2, &[("c", 0)]), NOW).await;
        assert!(matches!(refused, Err(AppendError::Poisoned)), "{refused:?}");
        bench.crash();
        let (_store, log, report) = bench.reopen().await;
        assert!(report.restarted, "{report:?}");
        check_empty(&log, 9).await;
    });
}

#[test]
fn a_stop_is_clean_only_if_everything_was_closed() {
    let bench = Bench::new(7);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        assert!(!store.was_clean(), "there was no stop");
        append_all(&log, &["a"]).await;
        store.close().await.expect("a clean close");
        bench.power_loss();
        let (store, _) = bench.open().await;
        assert!(store.was_clean());
        bench.power_loss();
        let (store, _) = bench.open().await;
        assert!(!store.was_clean(), "the mark of the stop before went with the opening");
        let log = store.log(id(0)).expect("the log is there");
        bench.sim.disk(bench.node).fail_next_sync(".log", highwater_sim::disk::SyncFailure::Clean);
        append(&log, "b").await.expect("an append");
        store.close().await.expect_err("the log failed");
        bench.crash();
        let (store, _) = bench.open().await;
        assert!(!store.was_clean());
    });
}
