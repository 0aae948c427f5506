//! Retention and deletion of records.

use crate::common::*;
use highwater_env::{Env, Event};
use highwater_log::{LogConfig, LogError, ReadError};
use highwater_types::{LogId, Offset, Timestamp};
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

fn synced(_: LogId) -> Option<Offset> {
    None
}

/// A log whose records carry the node's time, one per minute.
async fn fill(
    bench: &Bench,
    config: LogConfig,
    count: usize,
) -> (highwater_log::Store<highwater_sim::SimEnv>, highwater_log::Log<highwater_sim::SimEnv>) {
    let (store, log) = bench.create(config).await;
    for word in words(count) {
        let now = bench.now();
        log.append(&batch_of(&[(&word, now.0)]), EPOCH, now).await.expect("an append");
        bench.sim.sleep(Duration::from_secs(60)).await;
    }
    log.wait_synced(log.end_offset()).await.expect("a sync");
    (store, log)
}

#[test]
fn old_segments_go_and_the_new_start_is_durable() {
    let bench = Bench::new(1);
    bench.sim.block_on(async {
        let config = LogConfig { retention_ms: Some(HOUR_MS as u64 / 2), ..small() };
        let (store, log) = fill(&bench, config, 60).await;
        let done = store.clean_up(synced).await;
        assert!(done.segments > 2 && done.bytes > 2_000 && done.failures == 0, "{done:?}");
        let start = log.start_offset();
        assert!(start > Offset(15) && start <= Offset(30), "{start}");
        assert!(bench.take_events().contains(&Event::LogStart { log: id(0), start }));
        assert!(matches!(log.read(Offset(0), Offset(60), 99, true).await, Err(ReadError::OutOfRange { .. })));
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!((log.start_offset(), log.end_offset()), (start, Offset(60)));
        assert_eq!(values(&log).await, numbered(0, &refs(&words(60)))[start.0 as usize..]);
    });
}

#[test]
fn everything_expires_at_last_and_offsets_go_on() {
    let bench = Bench::new(2);
    bench.sim.block_on(async {
        let config = LogConfig { retention_ms: Some(HOUR_MS as u64 / 2), ..small() };
        let (store, log) = fill(&bench, config, 20).await;
        bench.sim.sleep(Duration::from_secs(3_600)).await;
        store.clean_up(synced).await;
        assert_eq!((log.start_offset(), log.end_offset(), log.segment_count()), (Offset(20), Offset(20), 1));
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!((log.start_offset(), log.end_offset()), (Offset(20), Offset(20)));
        append(&log, "next").await.expect("an append");
        assert_eq!(values(&log).await, ["20=next"]);
    });
}

#[test]
fn a_clock_that_jumps_ahead_removes_nothing() {
    let bench = Bench::new(3);
    bench.sim.block_on(async {
        let config = LogConfig { retention_ms: Some(24 * HOUR_MS as u64), ..small() };
        let (store, log) = fill(&bench, config, 30).await;
        bench.env().jump_clock(365 * 24 * HOUR_MS);
        store.clean_up(synced).await;
        assert_eq!(log.start_offset(), Offset(0));
        assert_eq!(values(&log).await.len(), 30);
    });
}

#[test]
fn nothing_behind_the_high_watermark_goes() {
    let bench = Bench::new(4);
    bench.sim.block_on(async {
        let config = LogConfig { retention_bytes: Some(0), ..small() };
        let (store, log) = fill(&bench, config, 40).await;
        store.clean_up(|_| Some(Offset(15))).await;
        let start = log.start_offset();
        assert!(start > Offset(0) && start <= Offset(15), "{start}");
        store.clean_up(synced).await;
        assert!(log.start_offset() > Offset(30));
    });
}

#[test]
fn retention_by_size_keeps_at_least_that_much() {
    let bench = Bench::new(5);
    bench.sim.block_on(async {
        let config = LogConfig { retention_bytes: Some(2_500), ..small() };
        let (store, log) = fill(&bench, config, 60).await;
        store.clean_up(synced).await;
        let size = log.size_bytes();
        assert!((2_500..3_600).contains(&size), "{size}");
    });
}

#[test]
fn a_compacted_log_is_not_cut_by_age_or_size() {
    let bench = Bench::new(6);
    bench.sim.block_on(async {
        let mut config = LogConfig { retention_bytes: Some(0), retention_ms: Some(0), ..small() };
        config.cleanup = highwater_log::CleanupPolicy { delete: false, compact: true };
        let (store, log) = fill(&bench, config, 30).await;
        assert_eq!(store.clean_up(synced).await.segments, 0);
        assert_eq!(log.start_offset(), Offset(0));
    });
}

#[test]
fn deleted_records_are_gone_for_good() {
    let bench = Bench::new(7);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let words = words(40);
        append_all(&log, &refs(&words)).await;
        assert_eq!(log.delete_records(Offset(17)).await.expect("a deletion"), Offset(17));
        assert_eq!(log.delete_records(Offset(5)).await.expect("nothing to do"), Offset(17));
        assert!(matches!(log.delete_records(Offset(41)).await, Err(LogError::OutOfRange { .. })));
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!(log.start_offset(), Offset(17));
        let found = values(&log).await;
        assert_eq!(found, numbered(0, &refs(&words))[17..17 + found.len()]);
    });
}

#[test]
fn deleting_everything_does_not_give_offsets_again() {
    let bench = Bench::new(8);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        append_all(&log, &refs(&words(40))).await;
        assert_eq!(log.delete_records(Offset(40)).await.expect("a deletion"), Offset(40));
        assert_eq!(log.segment_count(), 1);
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!((log.start_offset(), log.end_offset()), (Offset(40), Offset(40)));
        append_synced(&log, "next").await;
        bench.power_loss();
        let (_store, log, _) = bench.reopen().await;
        assert_eq!(values(&log).await, ["40=next"]);
    });
}

#[test]
fn a_producer_is_known_after_its_batches_are_gone() {
    let bench = Bench::new(9);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        log.append(&sequenced(9, 0, 0, "p"), EPOCH, Timestamp(0)).await.expect("an append");
        append_all(&log, &refs(&words(40))).await;
        log.delete_records(Offset(30)).await.expect("a deletion");
        bench.power_loss();
        let (_store, log, _) = bench.reopen().await;
        let again = log.append(&sequenced(9, 0, 0, "p"), EPOCH, Timestamp(0)).await.expect("a repeat");
        assert!(again.duplicate);
        assert_eq!(again.base_offset, Offset(0));
    });
}

#[test]
fn readers_of_a_removed_segment_finish() {
    let bench = Bench::new(10);
    bench.sim.block_on(async {
        let config = LogConfig { file_delete_delay_ms: 5_000, ..small() };
        let (_store, log) = bench.create(config).await;
        append_all(&log, &refs(&words(40))).await;
        log.wait_synced(Offset(40)).await.expect("a sync");
        log.delete_records(Offset(30)).await.expect("a deletion");
        assert!(bench.files().iter().any(|name| name.ends_with(".deleted")));
        bench.sim.sleep(Duration::from_secs(6)).await;
        assert!(!bench.files().iter().any(|name| name.ends_with(".deleted")), "{:?}", bench.files());
        assert_eq!(bench.env().clock().wall(), bench.now());
    });
}
