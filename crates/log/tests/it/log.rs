//! Appending and reading.

use crate::common::*;
use highwater_env::Env;
use highwater_log::{AppendError, Durability, Log, LogConfig, LogObserver, ReadError, ReadSlice};
use highwater_records::{Batches, TimestampType};
use highwater_sim::SimEnv;
use highwater_types::{LeaderEpoch, LogId, Offset, Timestamp};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn what_is_appended_is_read_back_across_segments() {
    let bench = Bench::new(1);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let words = words(60);
        append_all(&log, &refs(&words)).await;
        assert!(log.segment_count() > 5);
        assert_eq!(log.end_offset(), Offset(60));
        let expected = numbered(0, &refs(&words));
        assert_eq!(values(&log).await, expected);
        for from in 0..60 {
            assert_eq!(values_from(&log, Offset(from)).await, expected[from as usize..], "from {from}");
        }
    });
}

#[test]
fn a_read_gives_whole_batches_within_its_bounds() {
    let bench = Bench::new(2);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        for number in 0..40 {
            let values: Vec<String> = (0..3).map(|record| format!("{number}.{record}")).collect();
            let records: Vec<_> = values.iter().map(|value| (value.as_str(), number)).collect();
            log.append(&batch_of(&records), EPOCH, Timestamp(0)).await.expect("an append");
        }
        let end = log.end_offset();
        for from in 0..end.0 {
            for up_to in from..=end.0 {
                for (max_bytes, at_least_one) in
                    [(0, false), (0, true), (200, false), (350, true), (9_999, true)]
                {
                    check_read(&log, Offset(from), Offset(up_to), max_bytes, at_least_one).await;
                }
            }
        }
    });
}

async fn check_read(log: &Log<SimEnv>, from: Offset, up_to: Offset, max_bytes: usize, at_least_one: bool) {
    let slice = log.read(from, up_to, max_bytes, at_least_one).await.expect("a read");
    let bytes = bytes_of(slice).await;
    let batches: Vec<_> = Batches::new(bytes.clone()).map(|batch| batch.expect("whole batches")).collect();
    let context = format!("{from}..{up_to} {max_bytes} {at_least_one}");
    let first_end = Offset(from.0 / 3 * 3 + 3);
    match batches.first() {
        None => assert!(up_to < first_end || !at_least_one && max_bytes < 350, "nothing for {context}"),
        Some(first) => assert_eq!(first.header().base_offset, Offset(from.0 / 3 * 3), "{context}"),
    }
    assert!(bytes.len() <= max_bytes || at_least_one && batches.len() == 1, "{context}");
    assert!(batches.iter().all(|batch| batch.header().next_offset() <= up_to), "{context}");
}

#[test]
fn fresh_batches_are_named_as_a_range_and_older_ones_are_checked() {
    let mut bench = Bench::new(3);
    bench.options.verified_window_bytes_per_log = 250;
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        append_all(&log, &["a", "b", "c", "d", "e", "f"]).await;
        let kind = |slice: &ReadSlice<_>| matches!(slice, ReadSlice::Verified { .. });
        let old = log.read(Offset(0), Offset(6), 9_999, false).await.expect("a read");
        let fresh = log.read(Offset(4), Offset(6), 9_999, false).await.expect("a read");
        assert!(!kind(&old) && kind(&fresh));
        assert_eq!(values(&log).await, numbered(0, &["a", "b", "c", "d", "e", "f"]));
    });
}

#[test]
fn offsets_outside_of_the_log_are_refused() {
    let bench = Bench::new(4);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        append_all(&log, &["a", "b"]).await;
        for from in [-1, 3] {
            let result = log.read(Offset(from), Offset(9), 100, true).await;
            assert!(
                matches!(result, Err(ReadError::OutOfRange { start: Offset(0), end: Offset(2) })),
                "{from}"
            );
        }
        assert!(
            log.read(Offset(2), Offset(9), 100, true).await.expect("the end can be asked for").is_empty()
        );
    });
}

#[test]
fn repeats_of_a_producer_are_answered_and_not_written() {
    let bench = Bench::new(5);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let append = |sequence: i32, value: &'static str| {
            let log = log.clone();
            async move { log.append(&sequenced(9, 0, sequence, value), EPOCH, Timestamp(0)).await }
        };
        let first = append(0, "a").await.expect("an append");
        append(1, "b").await.expect("an append");
        let again = append(0, "a").await.expect("a repeat is no error");
        assert_eq!((first.duplicate, again.duplicate), (false, true));
        assert_eq!(
            (first.base_offset, again.base_offset, again.end_offset),
            (Offset(0), Offset(0), Offset(1))
        );
        let gap = append(3, "d").await;
        assert!(matches!(gap, Err(AppendError::OutOfOrderSequence { expected: 2, found: 3 })), "{gap:?}");
        assert_eq!(values(&log).await, numbered(0, &["a", "b"]));
    });
}

#[test]
fn log_append_time_replaces_the_producers_timestamps() {
    let bench = Bench::new(6);
    bench.sim.block_on(async {
        let config = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..small() };
        let (_store, log) = bench.create(config).await;
        let appended =
            log.append(&batch_of(&[("a", 1), ("b", 2)]), EPOCH, Timestamp(77)).await.expect("an append");
        assert_eq!(appended.append_time, Some(Timestamp(77)));
        let bytes = bytes_of(log.read(Offset(0), Offset(2), 999, true).await.expect("a read")).await;
        let batch = Batches::new(bytes).next().expect("a batch").expect("a good one");
        assert_eq!(batch.header().max_timestamp, Timestamp(77));
        let found = log.offset_for_time(Timestamp(50), Offset(2)).await.expect("a lookup").expect("a record");
        assert_eq!((found.offset, found.timestamp), (Offset(0), Timestamp(77)));
    });
}

#[test]
fn lookups_by_time_equal_a_scan() {
    for seed in 0..8 {
        let bench = Bench::new(seed);
        bench.sim.block_on(async {
            let (_store, log) = bench.create(small()).await;
            let mut times = Vec::new();
            let mut ends = Vec::new();
            let mut rng = bench.env().entropy(highwater_env::Purpose::User(1));
            use rand::RngExt;
            for _ in 0..50 {
                let batch: Vec<i64> = (0..rng.random_range(1..4)).map(|_| rng.random_range(0..40)).collect();
                let records: Vec<_> = batch.iter().map(|&time| ("value", time)).collect();
                log.append(&batch_of(&records), EPOCH, Timestamp(0)).await.expect("an append");
                times.extend(batch);
                ends.push(log.end_offset());
            }
            log.delete_records(Offset(17)).await.expect("a deletion");
            let end = log.end_offset();
            for up_to in [ends[20], end] {
                let live = || times.iter().enumerate().take(up_to.0 as usize).skip(17);
                for time in 0..42 {
                    let expected = live().find(|&(_, &found)| found >= time).map(|(offset, _)| offset as i64);
                    let found = log.offset_for_time(Timestamp(time), up_to).await.expect("a lookup");
                    assert_eq!(
                        found.map(|found| found.offset.0),
                        expected,
                        "seed {seed} time {time} {up_to}"
                    );
                }
                let latest = live().max_by_key(|&(offset, &time)| (time, -(offset as i64)));
                let expected = latest.map(|(offset, &time)| (offset as i64, time));
                let found = log.max_timestamp(up_to).await.expect("a lookup");
                assert_eq!(
                    found.map(|found| (found.offset.0, found.timestamp.0)),
                    expected,
                    "seed {seed} {up_to}"
                );
            }
        });
    }
}

#[test]
fn epochs_are_noted_and_never_fall() {
    let bench = Bench::new(7);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        log.start_epoch(LeaderEpoch(2)).await.expect("an epoch");
        let append = |epoch, value: &'static str| {
            let log = log.clone();
            async move { log.append(&batch_of(&[(value, 1)]), LeaderEpoch(epoch), Timestamp(0)).await }
        };
        append(2, "a").await.expect("an append");
        append(2, "b").await.expect("an append");
        append(5, "c").await.expect("an append");
        let stale = append(4, "d").await;
        assert!(matches!(stale, Err(AppendError::StaleLeaderEpoch { .. })), "{stale:?}");
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(5)));
        assert_eq!(log.epoch_end_offset(LeaderEpoch(3)), (LeaderEpoch(2), Offset(2)));
        assert_eq!(log.epoch_end_offset(LeaderEpoch(5)), (LeaderEpoch(5), Offset(3)));
        assert_eq!(log.epoch_end_offset(LeaderEpoch(1)), (LeaderEpoch(-1), Offset(-1)));
    });
}

#[test]
fn a_batch_larger_than_a_segment_is_refused() {
    let bench = Bench::new(8);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let large = "x".repeat(1_000);
        let result = append(&log, &large).await;
        assert!(matches!(result, Err(AppendError::LargerThanSegment { .. })), "{result:?}");
        append(&log, "small").await.expect("an append");
        assert_eq!(values(&log).await, ["0=small"]);
    });
}

#[derive(Default)]
struct Heard(Mutex<Vec<(i64, i64)>>);

impl LogObserver for Heard {
    fn advanced(&self, _log: LogId, end: Offset, synced: Offset) {
        self.0.lock().expect("no test panics here").push((end.0, synced.0));
    }

    fn failed(&self, _log: LogId) {}

    fn damaged(&self, _log: LogId) {}
}

#[test]
fn one_sync_covers_all_that_was_appended_meanwhile() {
    let bench = Bench::new(9);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        let heard = Arc::new(Heard::default());
        log.set_observer(Arc::clone(&heard) as Arc<dyn LogObserver>);
        let words = words(100);
        append_all(&log, &refs(&words)).await;
        log.wait_synced(Offset(100)).await.expect("a sync");
        assert_eq!(log.synced_end(), Offset(100));
        let calls = heard.0.lock().expect("no test panics here").clone();
        assert!(calls.len() < 90, "{} calls", calls.len());
        assert!(calls.is_sorted_by_key(|&(_, synced)| synced));
        assert_eq!(calls.last(), Some(&(100, 100)));
    });
}

#[test]
fn replicated_durability_does_not_wait_for_the_disk() {
    let mut bench = Bench::new(10);
    bench.options.durability = Durability::Replicated;
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let heard = Arc::new(Heard::default());
        log.set_observer(Arc::clone(&heard) as Arc<dyn LogObserver>);
        append_all(&log, &["a", "b"]).await;
        log.wait_synced(Offset(2)).await.expect("no wait");
        assert_eq!(log.synced_end(), Offset(0));
        bench.sim.sleep(Duration::from_secs(3)).await;
        assert_eq!(log.synced_end(), Offset(2));
        // Told of appends before the disk has them.
        let heard = heard.0.lock().expect("no test panics here");
        assert!(heard.contains(&(2, 0)) || heard.contains(&(1, 0)), "{heard:?}");
    });
}

#[test]
fn segments_are_closed_when_they_are_old() {
    let bench = Bench::new(11);
    bench.sim.block_on(async {
        let config = LogConfig { segment_ms: 10_000, ..LogConfig::default() };
        let (_store, log) = bench.create(config).await;
        assert!(!log.roll_if_due(bench.now()).await.expect("no roll"), "the segment is empty");
        append(&log, "a").await.expect("an append");
        bench.sim.sleep(Duration::from_secs(11)).await;
        assert!(log.roll_if_due(bench.now()).await.expect("a roll"));
        assert_eq!(log.segment_count(), 2);
        assert_eq!(values(&log).await, ["0=a"]);
    });
}

#[test]
fn an_append_that_is_dropped_leaves_the_log_as_it_was() {
    for seed in 0..20 {
        let bench = Bench::new(seed);
        bench.sim.block_on(async {
            let (_store, log) = bench.create(small()).await;
            append(&log, "first").await.expect("an append");
            for value in ["dropped-1", "dropped-2", "dropped-3"] {
                let mut pending = Box::pin(append(&log, value));
                // One poll takes the append into its write at most.
                let polled =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(pending.as_mut().poll(cx))).await;
                drop(pending);
                if polled.is_ready() {
                    continue;
                }
                append(&log, "kept").await.expect("an append");
            }
            let found = values(&log).await;
            log.wait_synced(log.end_offset()).await.expect("a sync");
            bench.crash();
            let (_store, log, report) = bench.reopen().await;
            assert_eq!(report.cut_bytes, 0);
            assert_eq!(values(&log).await, found);
        });
    }
}

#[test]
fn a_large_log_has_room_on_the_disk_ahead_and_a_closed_segment_none() {
    let bench = Bench::new(31);
    bench.sim.block_on(async {
        let config = LogConfig { segment_bytes: 12 << 20, ..LogConfig::default() };
        let (_store, log) = bench.create(config).await;
        let value = "x".repeat(1 << 19);
        let spare = || bench.sim.disk(bench.node).used_bytes().saturating_sub(log.size_bytes());
        append_all(&log, &[value.as_str(); 4]).await;
        assert!(spare() < 1 << 19, "a small one has none: {}", spare());
        append_all(&log, &[value.as_str(); 10]).await;
        assert!((1 << 19..3 << 20).contains(&spare()), "{}", spare());
        append_all(&log, &[value.as_str(); 12]).await;
        assert_eq!(log.segment_count(), 2);
        assert!(spare() < 1 << 19, "{}", spare());
    });
}
