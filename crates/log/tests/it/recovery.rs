//! Closing, crashing, opening.

use crate::common::*;
use highwater_env::{Disk, Env, Event, File, OpenMode};
use highwater_log::{LogConfig, LogError, MarksFound, StoreError};
use highwater_sim::disk::{Fault, Op, SyncFailure};
use highwater_sim::executor::DiskPace;
use highwater_types::{BrokerId, ClusterId, LeaderEpoch, Offset, Timestamp, Uuid};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn a_clean_close_leaves_nothing_to_recover() {
    let bench = Bench::new(1);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        let words = words(40);
        append_all(&log, &refs(&words)).await;
        log.append(&sequenced(9, 1, 0, "p"), EPOCH, Timestamp(0)).await.expect("an append");
        store.close().await.expect("a clean close");
        assert!(matches!(append(&log, "late").await, Err(highwater_log::AppendError::Closed)));
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(report.clean && !report.is_alarming(), "{report:?}");
        assert_eq!((report.rewritten_bytes, report.cut_bytes, report.proven), (0, 0, Offset(41)));
        assert_eq!(values(&log).await.len(), 41);
        let again = log.append(&sequenced(9, 1, 0, "p"), EPOCH, Timestamp(0)).await.expect("a repeat");
        assert!(again.duplicate);
        append(&log, "next").await.expect("an append");
        assert_eq!(values_from(&log, Offset(41)).await, ["41=next"]);
    });
}

#[test]
fn what_was_synced_survives_a_power_loss_and_what_was_not_is_cut() {
    let bench = Bench::new(2);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        let words = words(30);
        append_all(&log, &refs(&words)).await;
        log.wait_synced(Offset(30)).await.expect("a sync");
        append_all(&log, &["lost-1", "lost-2"]).await;
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.clean && !report.is_alarming(), "{report:?}");
        assert!(report.end >= Offset(30), "{report:?}");
        assert_eq!(values(&log).await[..30], numbered(0, &refs(&words)));
    });
}

#[test]
fn after_a_process_crash_the_unproven_tail_is_rewritten() {
    let bench = Bench::new(3);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        append_synced(&log, "a").await;
        bench.sim.sleep(Duration::from_secs(3)).await;
        append_synced(&log, "b").await;
        bench.crash();
        let (_store, log, report) = bench.reopen().await;
        assert_eq!((report.proven, report.end), (Offset(1), Offset(2)));
        assert!(report.rewritten_bytes > 0);
        assert_eq!(log.segment_count(), 2);
        assert_eq!(values(&log).await, numbered(0, &["a", "b"]));
        append_synced(&log, "c").await;
        bench.power_loss();
        let (_store, log, _) = bench.reopen().await;
        assert_eq!(values(&log).await, numbered(0, &["a", "b", "c"]));
    });
}

#[test]
fn a_tail_that_a_failed_sync_left_in_the_cache_is_not_trusted() {
    let bench = Bench::new(4);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        append_synced(&log, "a").await;
        bench.sim.disk(bench.node).fail_next_sync(".log", SyncFailure::Clean);
        let appended = append(&log, "b").await.expect("an append");
        let failed = log.wait_synced(appended.end_offset).await;
        assert!(matches!(failed, Err(LogError::Poisoned)), "{failed:?}");
        assert!(matches!(append(&log, "c").await, Err(highwater_log::AppendError::Poisoned)));
        bench.crash();
        // The page cache still has the batch, clean; only a rewrite brings it to the disk.
        let (_store, log, report) = bench.reopen().await;
        assert_eq!(report.end, Offset(2));
        bench.power_loss();
        let (_store, log2, _) = bench.reopen().await;
        assert_eq!(values(&log2).await, numbered(0, &["a", "b"]));
        drop(log);
    });
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let bench = Bench::new(5);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        append_all(&log, &["a", "b", "c"]).await;
        log.wait_synced(Offset(3)).await.expect("a sync");
        // Behind the marks, which are written a second later: this may be a torn write as well as rot.
        let size = log.size_bytes();
        let segment = bench.path("00000000000000000000.log");
        bench.crash();
        bench.rot(&segment, 64 + (size - 64) / 3 + 30);
        let (_store, log, report) = bench.reopen().await;
        assert_eq!((report.end, report.batches_behind_cut), (Offset(1), true), "{report:?}");
        assert!(report.cut_bytes > 0 && report.is_alarming());
        assert_eq!(values(&log).await, ["0=a"]);
    });
}

#[test]
fn damage_below_the_mark_is_quarantined_and_its_offsets_stay_taken() {
    let bench = Bench::new(6);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        append_all(&log, &["a", "b", "c"]).await;
        log.wait_synced(Offset(3)).await.expect("a sync");
        bench.sim.sleep(Duration::from_secs(3)).await;
        let size = log.size_bytes();
        let segment = bench.path("00000000000000000000.log");
        bench.crash();
        bench.rot(&segment, 64 + (size - 64) / 3 + 30);
        bench.take_events();
        let (_store, log, report) = bench.reopen().await;
        assert_eq!(report.damaged, [Offset(1)..Offset(2)], "{report:?}");
        assert_eq!((report.end, report.cut_bytes), (Offset(3), 0));
        assert_eq!(bench.damage(), [(1, 2)]);
        append(&log, "d").await.expect("an append");
        assert_eq!(values(&log).await, ["0=a", "damage 1..2", "2=c", "3=d"]);
    });
}

#[test]
fn a_segment_that_lost_its_end_below_the_mark_does_not_give_its_offsets_again() {
    let bench = Bench::new(7);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        append_all(&log, &["a", "b", "c"]).await;
        log.wait_synced(Offset(3)).await.expect("a sync");
        bench.sim.sleep(Duration::from_secs(3)).await;
        let size = log.size_bytes();
        bench.crash();
        let file = bench.env().disk_file(&bench.path("00000000000000000000.log")).await;
        use highwater_env::File;
        file.set_len(64 + (size - 64) / 3 + 5).await.expect("a truncation");
        file.sync_data().await.expect("a sync");
        let (_store, log, report) = bench.reopen().await;
        assert_eq!(report.damaged, [Offset(1)..Offset(3)], "{report:?}");
        append_synced(&log, "d").await;
        assert_eq!(values(&log).await, ["0=a", "damage 1..3", "3=d"]);
        bench.power_loss();
        let (_store, log, _) = bench.reopen().await;
        assert_eq!(values(&log).await, ["0=a", "damage 1..3", "3=d"]);
    });
}

trait OpenFile {
    async fn disk_file(&self, path: &Path) -> <highwater_sim::disk::SimDisk as highwater_env::Disk>::File;
}

impl OpenFile for highwater_sim::SimEnv {
    async fn disk_file(&self, path: &Path) -> <highwater_sim::disk::SimDisk as highwater_env::Disk>::File {
        use highwater_env::Disk;
        self.disk().open(path, OpenMode::Write).await.expect("the file is there")
    }
}

#[test]
fn a_batch_that_damage_moved_is_found_where_it_stands_now() {
    let bench = Bench::new(18);
    bench.sim.block_on(async {
        let config = LogConfig { index_interval_bytes: 1, ..LogConfig::default() };
        let (store, log) = bench.create(config).await;
        append_all(&log, &["a", "b", "c"]).await;
        store.close().await.expect("a clean close");
        bench.crash();
        // Ten bytes of the second batch are missing, and as many stand at the end: the length fits, positions do not.
        let segment = bench.path("00000000000000000000.log");
        let mut bytes = bench.sim.disk(bench.node).live_files().remove(&segment).expect("the segment");
        let batch = (bytes.len() - 64) / 3;
        bytes.drain(64 + 2 * batch - 10..64 + 2 * batch);
        bytes.extend_from_slice(&[0; 10]);
        let file = bench.env().disk().open(&segment, OpenMode::Write).await.expect("the segment");
        file.write_at(0, vec![bytes.into()]).await.expect("a write");
        let (_store, log, report) = bench.reopen().await;
        assert!(report.clean && report.damaged.is_empty(), "{report:?}");
        assert_eq!(values_from(&log, Offset(2)).await, ["2=c"]);
        append(&log, "d").await.expect("an append");
        assert_eq!(values(&log).await, ["0=a", "damage 1..2", "2=c", "3=d"]);
    });
}

#[test]
fn rot_in_a_closed_segment_is_found_by_the_reader() {
    let bench = Bench::new(8);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        let words = words(40);
        append_all(&log, &refs(&words)).await;
        store.close().await.expect("a clean close");
        bench.crash();
        let (_store, log, _) = bench.reopen().await;
        bench.rot(&bench.path("00000000000000000000.log"), 64 + 61 + 8);
        bench.take_events();
        let found = values(&log).await;
        assert_eq!(found[0], "damage 0..1");
        assert_eq!(found[1..], numbered(0, &refs(&words))[1..]);
        assert_eq!(bench.damage(), [(0, 1)]);
        assert_eq!(log.damaged(), [Offset(0)..Offset(1)]);
    });
}

#[test]
fn a_damaged_index_is_made_anew() {
    let bench = Bench::new(9);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        let words = words(40);
        append_all(&log, &refs(&words)).await;
        store.close().await.expect("a clean close");
        bench.crash();
        let indexes: Vec<_> = bench.files().into_iter().filter(|name| name.ends_with(".index")).collect();
        assert!(indexes.len() > 3);
        let (_store, log, _) = bench.reopen().await;
        for (number, name) in indexes.iter().enumerate() {
            let path = bench.path(name);
            bench.sim.disk(bench.node).flip_bit(&path, if number % 2 == 0 { 20 } else { 70 }, 1);
        }
        bench.sim.disk(bench.node).evict(None);
        assert_eq!(values(&log).await, numbered(0, &refs(&words)));
        bench.crash();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!(values(&log).await, numbered(0, &refs(&words)));
    });
}

#[test]
fn producers_and_epochs_survive_a_crash() {
    let bench = Bench::new(10);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        for sequence in 0..25 {
            let epoch = LeaderEpoch(sequence / 10);
            log.append(&sequenced(9, 0, sequence, "some value of some length"), epoch, Timestamp(0))
                .await
                .expect("an append");
        }
        log.wait_synced(Offset(25)).await.expect("a sync");
        bench.crash();
        let (_store, log, _) = bench.reopen().await;
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(2)));
        assert_eq!(log.epoch_end_offset(LeaderEpoch(0)), (LeaderEpoch(0), Offset(10)));
        let repeat = sequenced(9, 0, 23, "some value of some length");
        let again = log.append(&repeat, LeaderEpoch(2), Timestamp(0));
        let again = again.await.expect("a repeat");
        assert_eq!((again.duplicate, again.base_offset), (true, Offset(23)));
        let next =
            log.append(&sequenced(9, 0, 25, "x"), LeaderEpoch(3), Timestamp(0)).await.expect("an append");
        assert_eq!(next.base_offset, Offset(25));
    });
}

#[test]
fn damaged_epoch_and_producer_files_are_made_anew_from_the_log() {
    let bench = Bench::new(11);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        for sequence in 0..25 {
            let epoch = LeaderEpoch(sequence / 10);
            log.append(&sequenced(9, 0, sequence, "some value of some length"), epoch, Timestamp(0))
                .await
                .expect("an append");
        }
        store.close().await.expect("a clean close");
        bench.crash();
        bench.rot(&bench.path("leader-epochs"), 20);
        for name in bench.files().into_iter().filter(|name| name.ends_with(".producers")) {
            bench.rot(&bench.path(&name), 30);
        }
        let (_store, log, _) = bench.reopen().await;
        assert_eq!(log.epoch_end_offset(LeaderEpoch(0)), (LeaderEpoch(0), Offset(10)));
        let repeat = sequenced(9, 0, 23, "some value of some length");
        let again = log.append(&repeat, LeaderEpoch(2), Timestamp(0));
        assert_eq!(again.await.expect("a repeat").base_offset, Offset(23));
    });
}

#[test]
fn a_full_disk_fails_the_append_and_not_the_log() {
    let bench = Bench::new(12);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(LogConfig::default()).await;
        append(&log, "a").await.expect("an append");
        let disk = bench.sim.disk(bench.node);
        disk.fail_next(Op::Write, ".log", Fault::Full);
        let full = append(&log, "does not fit").await;
        assert!(matches!(full, Err(highwater_log::AppendError::StorageFull)), "{full:?}");
        append_synced(&log, "b").await;
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!(values(&log).await, numbered(0, &["a", "b"]));
    });
}

#[test]
fn a_full_disk_at_a_roll_does_not_lose_what_follows() {
    for skip in 0..4 {
        let bench = Bench::new(13 + u64::from(skip));
        bench.sim.block_on(async {
            let (_store, log) = bench.create(small()).await;
            let disk = bench.sim.disk(bench.node);
            let mut written = Vec::new();
            for (number, word) in words(40).into_iter().enumerate() {
                if number == 10 {
                    let rule = highwater_sim::disk::Rule {
                        op: Op::Write,
                        path: ".log".to_owned(),
                        skip,
                        fault: Fault::Full,
                    };
                    disk.add_rule(rule);
                }
                match append(&log, &word).await {
                    Ok(_) => written.push(word),
                    Err(highwater_log::AppendError::StorageFull) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(written.len(), 39);
            log.wait_synced(log.end_offset()).await.expect("a sync");
            bench.power_loss();
            let (_store, log, report) = bench.reopen().await;
            assert!(!report.is_alarming(), "{report:?}");
            assert_eq!(values(&log).await, numbered(0, &refs(&written)));
        });
    }
}

#[test]
fn any_other_write_error_poisons_the_log_until_it_is_reopened() {
    let bench = Bench::new(17);
    bench.sim.block_on(async {
        let (store, log) = bench.create(LogConfig::default()).await;
        append_synced(&log, "a").await;
        bench.sim.disk(bench.node).fail_next(Op::Write, ".log", Fault::Partial);
        assert!(matches!(append(&log, "b").await, Err(highwater_log::AppendError::Poisoned)));
        assert!(bench.take_events().contains(&Event::Poisoned { log: id(0) }));
        assert!(log.is_poisoned());
        assert_eq!(values(&log).await, ["0=a"]);
        assert!(matches!(store.close().await, Err(StoreError::Unclean(_))));
        bench.crash();
        let (_store, log, _) = bench.reopen().await;
        append_synced(&log, "c").await;
        assert_eq!(values(&log).await, numbered(0, &["a", "c"]));
    });
}

#[test]
fn a_directory_of_another_owner_is_refused() {
    let mut bench = Bench::new(18);
    let cluster = bench.sim.block_on(async {
        let (store, _) = bench.open().await;
        let second = bench.try_open().await;
        assert!(matches!(second, Err(StoreError::Locked { .. })), "{:?}", second.err());
        let cluster = store.cluster_id();
        store.close().await.expect("a clean close");
        cluster
    });
    bench.options.identity.node = BrokerId(2);
    let other = bench.sim.block_on(bench.try_open());
    assert!(matches!(other, Err(StoreError::OtherNode { .. })), "{:?}", other.err());
    bench.options.identity.node = BrokerId(1);
    bench.options.identity.cluster = Some(ClusterId(Uuid([1; 16])));
    let other = bench.sim.block_on(bench.try_open());
    assert!(matches!(other, Err(StoreError::OtherCluster { .. })), "{:?}", other.err());
    bench.options.identity.cluster = Some(cluster);
    bench.sim.block_on(async {
        bench.open().await.0.close().await.expect("a clean close");
        bench.crash();
        bench.rot(&PathBuf::from(DIR).join("disk.meta"), 9);
        assert!(matches!(bench.try_open().await, Err(StoreError::NoIdentity { state: "damaged", .. })));
    });
}

#[test]
fn logs_without_an_identity_are_refused() {
    let bench = Bench::new(19);
    bench.sim.block_on(async {
        bench.create(small()).await.0.close().await.expect("a clean close");
        use highwater_env::Disk;
        bench.env().disk().remove_file(&PathBuf::from(DIR).join("disk.meta")).await.expect("a removal");
        let result = bench.try_open().await;
        assert!(matches!(result, Err(StoreError::NoIdentity { state: "missing", .. })), "{:?}", result.err());
    });
}

#[test]
fn rotten_marks_are_replaced_by_those_before_them() {
    let bench = Bench::new(20);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        for word in ["a", "b", "c"] {
            append_synced(&log, word).await;
            bench.sim.sleep(Duration::from_secs(2)).await;
        }
        bench.crash();
        bench.rot(&PathBuf::from(DIR).join("recovery-points"), 30);
        let (_store, log, report) = bench.reopen().await;
        assert_eq!(report.marks, MarksFound::Previous);
        assert_eq!(values(&log).await, numbered(0, &["a", "b", "c"]));
        bench.crash();
        bench.rot(&PathBuf::from(DIR).join("recovery-points"), 31);
        bench.rot(&PathBuf::from(DIR).join("recovery-points.previous"), 32);
        let (_store, log, report) = bench.reopen().await;
        assert!(report.marks == MarksFound::Lost && report.is_alarming());
        assert_eq!(values(&log).await, numbered(0, &["a", "b", "c"]));
    });
}

#[test]
fn a_lost_log_directory_is_noticed() {
    let bench = Bench::new(21);
    bench.sim.block_on(async {
        let (_store, log) = bench.create(small()).await;
        append_synced(&log, "a").await;
        bench.sim.sleep(Duration::from_secs(3)).await;
        bench.crash();
        use highwater_env::Disk;
        let env = bench.env();
        for name in bench.files() {
            env.disk().remove_file(&bench.path(&name)).await.expect("a removal");
        }
        env.disk().remove_dir(&bench.path("")).await.expect("a removal");
        let (_store, log, report) = bench.reopen().await;
        assert_eq!((report.damaged.as_slice(), report.end), ([Offset(0)..Offset(1)].as_slice(), Offset(1)));
        append(&log, "b").await.expect("an append");
        assert_eq!(values(&log).await, ["damage 0..1", "1=b"]);
    });
}

#[test]
fn truncation_is_durable_and_takes_everything_with_it() {
    for (seed, to) in [(22, 0), (23, 3), (24, 17), (25, 29)] {
        let bench = Bench::new(seed);
        bench.sim.block_on(async {
            let (_store, log) = bench.create(small()).await;
            for sequence in 0..30 {
                let epoch = LeaderEpoch(sequence / 10);
                log.append(&sequenced(9, 0, sequence, "some value of some length"), epoch, Timestamp(0))
                    .await
                    .expect("an append");
            }
            log.wait_synced(Offset(30)).await.expect("a sync");
            bench.sim.sleep(Duration::from_secs(3)).await;
            assert_eq!(log.truncate(Offset(to)).await.expect("a truncation"), Offset(to));
            assert_eq!((log.end_offset(), log.synced_end()), (Offset(to), Offset(to)));
            let before = values(&log).await;
            assert_eq!(before.len(), to as usize);
            bench.power_loss();
            let (_store, log, report) = bench.reopen().await;
            assert!(!report.is_alarming(), "{report:?}");
            assert_eq!(report.end, Offset(to));
            assert_eq!(values(&log).await, before);
            let expected = if to == 0 { 7 } else { to as i32 };
            let next = log.append(&sequenced(9, 0, expected, "new"), LeaderEpoch(9), Timestamp(0)).await;
            assert_eq!(next.expect("an append").base_offset, Offset(to));
        });
    }
}

#[test]
fn a_cut_that_is_given_up_half_way_is_no_damage() {
    let mut ends = std::collections::BTreeSet::new();
    for step in 0..200_u64 {
        let bench = Bench::new(27);
        bench.sim.block_on(async {
            let (store, log) = bench.create(small()).await;
            for sequence in 0..30 {
                append(&log, &format!("some value of some length {sequence}")).await.expect("an append");
            }
            log.wait_synced(Offset(30)).await.expect("a sync");
            bench.sim.sleep(Duration::from_secs(3)).await;
            // What is synced after the cut is given up must not pass for proven.
            for sequence in 30..40 {
                append(&log, &format!("some value of some length {sequence}")).await.expect("an append");
            }
            let cut = async {
                let cut = if step % 2 == 0 {
                    log.truncate(Offset(3)).await.map(drop)
                } else {
                    log.restart_at(Offset(90)).await
                };
                cut.expect("nothing fails");
            };
            let slow = Duration::from_millis(1);
            bench.sim.set_disk_pace(DiskPace { yield_one_in: 1, delay_one_in: 1, delay_max: slow });
            first_of(cut, bench.sim.sleep(Duration::from_micros(step * 150))).await;
            // As a node that stops does.
            bench.sim.set_disk_pace(DiskPace::default());
            let _ = store.close().await;
            drop((store, log));
            let (_store, log, report) = bench.reopen().await;
            assert!(!report.is_alarming(), "step {step}: {report:?}");
            ends.insert(report.end.0);
            append(&log, "next").await.expect("an append");
        });
    }
    // Some come too early, and some too late.
    assert!([3, 40, 90].iter().all(|end| ends.contains(end)), "{ends:?}");
}

#[test]
fn a_log_is_durable_when_it_is_made_and_gone_when_it_is_deleted() {
    let bench = Bench::new(26);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        assert!(matches!(store.create_log(id(0), small()).await, Err(LogError::Exists(_))));
        append_synced(&log, "a").await;
        bench.power_loss();
        let (store, log, _) = bench.reopen().await;
        store.delete_log(id(0)).await.expect("a deletion");
        assert!(store.log(id(0)).is_none());
        assert!(matches!(
            log.read(Offset(0), Offset(1), 99, true).await,
            Err(highwater_log::ReadError::Closed)
        ));
        let again = store.create_log(id(0), small()).await.expect("the name is free");
        assert_eq!(again.end_offset(), Offset(0));
        append_synced(&again, "b").await;
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!(values(&log).await, ["0=b"]);
        bench.sim.sleep(Duration::from_secs(90)).await;
        let left = bench.sim.disk(bench.node).live_files();
        assert!(!left.keys().any(|path| path.to_string_lossy().contains("deleted")), "{left:?}");
    });
}

#[test]
fn an_opening_that_is_given_up_frees_what_it_opened() {
    let bench = Bench::new(31);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        append_all(&log, &refs(&words(40))).await;
        store.close().await.expect("a clean close");
        let mut polls = 0_u32;
        loop {
            let mut opening = Box::pin(bench.try_open());
            let mut left = polls;
            let opened = std::future::poll_fn(|cx| match left.checked_sub(1) {
                None => std::task::Poll::Ready(None),
                Some(fewer) => {
                    left = fewer;
                    opening.as_mut().poll(cx).map(Some)
                }
            });
            // Whoever holds the directory's lock still would be told apart here.
            match opened.await {
                Some(opened) => break drop(opened.expect("the directory is free")),
                None => polls += 1,
            }
        }
        assert!(polls > 10, "it was given up at {polls} points alone");
    });
}

#[test]
fn a_log_whose_deletion_failed_is_taken_over_when_it_is_made_again() {
    let bench = Bench::new(27);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        append_synced(&log, "a").await;
        bench.sim.disk(bench.node).fail_next(Op::Write, "recovery-points", Fault::Full);
        store.delete_log(id(0)).await.expect_err("the marks cannot be written");
        bench.take_events();
        let again = store.create_log(id(0), small()).await.expect("it can be opened");
        let end = Offset(1);
        let told = Event::Recovered { log: id(0), start: Offset(0), end, proven: Offset(0), cut_bytes: 0 };
        assert_eq!(bench.take_events().last(), Some(&told));
        assert_eq!(values(&again).await, ["0=a"]);
        append_synced(&again, "b").await;
        bench.power_loss();
        let (_store, log, report) = bench.reopen().await;
        assert!(!report.is_alarming(), "{report:?}");
        assert_eq!(values(&log).await, ["0=a", "1=b"]);
    });
}
