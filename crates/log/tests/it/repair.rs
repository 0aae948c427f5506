//! Damage is found before a reader meets it, and mended from another replica.

use crate::common::*;
use bytes::{Bytes, BytesMut};
use highwater_env::{Disk, Env, Event};
use highwater_log::{Log, LogConfig, LogError, MarksFound};
use highwater_records::Batches;
use highwater_sim::SimEnv;
use highwater_sim::disk::{Fault, Op, PowerRates};
use highwater_types::{LeaderEpoch, Offset, Timestamp};
use rand::RngExt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// A log of 40 records in several segments, all of it synced and proven, and its bytes as another replica has them.
async fn filled(bench: &Bench) -> (Vec<String>, Replica) {
    let (store, log) = bench.create(small()).await;
    let words = words(40);
    append_all(&log, &refs(&words)).await;
    log.wait_synced(Offset(40)).await.expect("a sync");
    let replica = Replica::of(&log).await;
    store.close().await.expect("a clean close");
    bench.crash();
    (numbered(0, &refs(&words)), replica)
}

/// The batches of another replica, which are sound.
struct Replica(Vec<(Range<Offset>, Bytes)>);

impl Replica {
    async fn of(log: &Log<SimEnv>) -> Self {
        let mut batches = Vec::new();
        let mut at = log.start_offset();
        while at < log.end_offset() {
            let slice = log.read(at, log.end_offset(), 10_000, true).await.expect("a sound log");
            for batch in Batches::new(bytes_of(slice).await) {
                let batch = batch.expect("a good batch");
                let header = batch.header();
                batches.push((header.base_offset..header.next_offset(), batch.bytes().clone()));
                at = header.next_offset();
            }
        }
        Self(batches)
    }

    fn bytes(&self, range: Range<Offset>) -> Bytes {
        let within =
            |(offsets, _): &&(Range<Offset>, Bytes)| offsets.start >= range.start && offsets.end <= range.end;
        let mut bytes = BytesMut::new();
        self.0.iter().filter(within).for_each(|(_, batch)| bytes.extend_from_slice(batch));
        bytes.freeze()
    }
}

fn span(from: i64, to: i64) -> Range<Offset> {
    Offset(from)..Offset(to)
}

/// The segments of log 0, by base offset.
fn segments(bench: &Bench) -> Vec<(i64, PathBuf)> {
    let mut names = bench.files();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names.iter().map(|name| (name[..20].parse().expect("a base offset"), bench.path(name))).collect()
}

/// Where a record's text stands in a segment.
fn position(bench: &Bench, path: &PathBuf, word: &str) -> u64 {
    let bytes = bench.sim.disk(bench.node).live_files().remove(path).expect("the segment");
    let found = bytes.windows(word.len()).position(|window| window == word.as_bytes());
    found.expect("the word stands there") as u64
}

/// Lets records rot, wherever they stand.
fn rot_words(bench: &Bench, numbers: &[i64]) {
    for &number in numbers {
        let segments = segments(bench);
        let at = segments.partition_point(|(base, _)| *base <= number) - 1;
        let path = &segments[at].1;
        bench.rot(path, position(bench, path, &format!("word-{number:03}-")));
    }
}

async fn refused(log: &Log<SimEnv>, batches: Bytes, reason: &str) {
    let before = (log.damaged(), log.end_offset(), log.segment_count());
    match log.repair(batches).await {
        Err(LogError::DoesNotFit(found)) => assert!(found.contains(reason), "{found}"),
        other => panic!("{reason}: {other:?}"),
    }
    assert_eq!(before, (log.damaged(), log.end_offset(), log.segment_count()), "{reason}");
}

#[test]
fn what_rotted_is_put_back_and_stays() {
    for number in [0, 7, 20, 39] {
        let bench = Bench::new(number as u64);
        bench.sim.block_on(async {
            let (expected, replica) = filled(&bench).await;
            rot_words(&bench, &[number]);
            let (_store, log, report) = bench.reopen().await;
            assert!(report.clean, "{report:?}");
            assert!(values(&log).await.contains(&format!("damage {number}..{}", number + 1)));
            bench.take_events();
            let range = span(number, number + 1);
            let repaired = log.repair(replica.bytes(range.clone())).await.expect("it fits");
            assert_eq!((repaired, log.damaged()), (range.clone(), vec![]));
            let told = Event::Repaired { log: log.id(), from: range.start, to: range.end };
            assert!(bench.take_events().contains(&told));
            assert_eq!(values(&log).await, expected);
            append_synced(&log, "next").await;
            bench.power_loss();
            let (_store, log, report) = bench.reopen().await;
            assert!(!report.is_alarming(), "{report:?}");
            assert_eq!(values(&log).await[..40], expected);
            assert_eq!(bench.damage(), []);
        });
    }
}

#[test]
fn the_batch_that_the_log_starts_in_is_put_back() {
    let bench = Bench::new(60);
    bench.sim.block_on(async {
        let (store, log) = bench.create(small()).await;
        // Segments that go with the deletion.
        append_all(&log, &refs(&words(20))).await;
        let three = batch_of(&[("one", 1), ("two", 1), ("three", 1)]);
        log.append(&three, EPOCH, Timestamp(5_000)).await.expect("an append");
        append_synced(&log, "four").await;
        let replica = Replica::of(&log).await;
        log.delete_records(Offset(22)).await.expect("a deletion");
        let first = segments(&bench)[0].clone();
        assert!((1..=20).contains(&first.0), "{first:?}");
        // Epochs are noted on disk from the log's start on with the next one.
        log.start_epoch(LeaderEpoch(EPOCH.0 + 1)).await.expect("an epoch");
        store.close().await.expect("a clean close");
        bench.crash();
        bench.rot(&first.1, position(&bench, &first.1, "two"));
        let (_store, log, _) = bench.reopen().await;
        assert_eq!(log.start_offset(), Offset(22));
        assert_eq!(values(&log).await, ["damage 20..23", "23=four"]);
        log.repair(replica.bytes(span(20, 23))).await.expect("it fits");
        assert_eq!(log.damaged(), []);
        let read = values(&log).await;
        assert!(read.ends_with(&["22=three".to_owned(), "23=four".to_owned()]), "{read:?}");
    });
}

#[test]
fn a_range_is_mended_from_its_ends_batch_by_batch() {
    let bench = Bench::new(50);
    bench.sim.block_on(async {
        let (store, log) = bench.create(LogConfig::default()).await;
        let words = words(12);
        append_all(&log, &refs(&words)).await;
        let replica = Replica::of(&log).await;
        store.close().await.expect("a clean close");
        bench.crash();
        rot_words(&bench, &[4, 5, 6, 7]);
        let (_store, log, _) = bench.reopen().await;
        values(&log).await;
        assert_eq!(log.damaged(), [span(4, 8)]);
        refused(&log, replica.bytes(span(5, 6)), "both sides").await;
        log.repair(replica.bytes(span(7, 8))).await.expect("the end");
        assert_eq!(log.damaged(), [span(4, 7)]);
        log.repair(replica.bytes(span(4, 5))).await.expect("the start");
        assert_eq!(log.damaged(), [span(5, 7)]);
        bench.power_loss();
        let (_store, log, _) = bench.reopen().await;
        let found = values(&log).await;
        assert_eq!(found[4..7], ["4=word-004-xxxx", "damage 5..7", "7=word-007-xxxxxxx"]);
        log.repair(replica.bytes(span(5, 7))).await.expect("the rest");
        assert_eq!(values(&log).await, numbered(0, &refs(&words)));
    });
}

#[test]
fn a_lost_segment_is_put_back() {
    for lost in [0, 2] {
        let bench = Bench::new(60);
        bench.sim.block_on(async {
            let (expected, replica) = filled(&bench).await;
            let segments = segments(&bench);
            let range = span(segments[lost].0, segments[lost + 1].0);
            let disk = bench.env().disk().clone();
            disk.remove_file(&segments[lost].1).await.expect("the segment");
            let (_store, log, report) = bench.reopen().await;
            assert_eq!(report.damaged, std::slice::from_ref(&range));
            log.repair(replica.bytes(range)).await.expect("it fits");
            assert_eq!(values(&log).await, expected);
            bench.power_loss();
            let (_store, log, report) = bench.reopen().await;
            assert!(report.damaged.is_empty(), "{report:?}");
            assert_eq!(values(&log).await, expected);
        });
    }
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let bench = Bench::new(70);
    bench.sim.block_on(async {
        let (_, replica) = filled(&bench).await;
        rot_words(&bench, &[3, 4]);
        let (_store, log, _) = bench.reopen().await;
        values(&log).await;
        assert_eq!(log.damaged(), [span(3, 5)]);
        refused(&log, Bytes::new(), "nothing").await;
        refused(&log, replica.bytes(span(2, 3)), "not damaged").await;
        let gap = [replica.bytes(span(3, 4)), replica.bytes(span(5, 6))].concat();
        refused(&log, gap.into(), "follow").await;
        let mut rotten = replica.bytes(span(3, 5)).to_vec();
        *rotten.last_mut().expect("a batch") ^= 1;
        refused(&log, rotten.into(), "checksum").await;
        let other = batch_of(&[("another history", 1)]);
        let other = other.assigned(Offset(3), LeaderEpoch(4), None).to_bytes();
        refused(&log, other, "epochs").await;
        let repaired = log.repair(replica.bytes(span(3, 9))).await.expect("what comes behind is left out");
        assert_eq!((repaired, log.damaged()), (span(3, 5), vec![]));
    });
}

#[test]
fn a_producer_that_repeats_a_restored_batch_is_answered() {
    let bench = Bench::new(80);
    bench.sim.block_on(async {
        let (store, log) = bench.create(LogConfig::default()).await;
        for sequence in 0..3 {
            let batch = sequenced(9, 0, sequence, &format!("word-{sequence:03}-"));
            log.append(&batch, EPOCH, Timestamp(0)).await.expect("an append");
        }
        log.wait_synced(Offset(3)).await.expect("a sync");
        let replica = Replica::of(&log).await;
        bench.sim.sleep(std::time::Duration::from_secs(3)).await;
        drop(store);
        bench.crash();
        rot_words(&bench, &[1]);
        let (_store, log, report) = bench.reopen().await;
        assert_eq!(report.damaged, [span(1, 2)]);
        log.repair(replica.bytes(span(1, 2))).await.expect("it fits");
        let again = log.append(&sequenced(9, 0, 1, "word-001-"), EPOCH, Timestamp(0)).await;
        assert!(again.as_ref().is_ok_and(|again| again.duplicate), "{again:?}");
    });
}

#[test]
fn a_repair_that_is_cut_off_leaves_the_damage_or_none() {
    let (mut mended, mut damaged) = (0, 0);
    for seed in 0..200 {
        let bench = Bench::new(seed);
        bench.sim.block_on(async {
            let (expected, replica) = filled(&bench).await;
            let mut rng = bench.sim.rng(5);
            let number = rng.random_range(0..40);
            rot_words(&bench, &[number]);
            let (_store, log, _) = bench.reopen().await;
            values(&log).await;
            let fuse = bench.sim.fuse(bench.node, rng.random_range(0..30));
            let batch = replica.bytes(span(number, number + 1));
            first_of(fuse, async {
                let _ = log.repair(batch.clone()).await;
            })
            .await;
            bench.sim.power_loss(bench.node, PowerRates::random(&mut rng));
            let (_store, log, _) = bench.reopen().await;
            let found = values(&log).await;
            if found == expected {
                mended += 1;
                return;
            }
            damaged += 1;
            assert_eq!(log.damaged(), [span(number, number + 1)], "seed {seed}");
            log.repair(batch).await.expect("it fits");
            assert_eq!(values(&log).await, expected, "seed {seed}");
        });
    }
    assert!(mended > 10 && damaged > 10, "{mended} {damaged}");
}

#[test]
fn scrubbing_finds_what_nobody_reads() {
    let bench = Bench::new(90);
    bench.sim.block_on(async {
        filled(&bench).await;
        rot_words(&bench, &[5, 30]);
        let (_store, log, _) = bench.reopen().await;
        bench.take_events();
        let (mut at, mut calls) = (Offset(0), 0);
        while let Some(next) = log.scrub(at, 500).await.expect("the disk works").next {
            assert!(next > at, "{next} after {at}");
            (at, calls) = (next, calls + 1);
        }
        assert!(calls > 4, "{calls}");
        assert_eq!(bench.damage(), [(5, 6), (30, 31)]);
        assert_eq!(log.damaged(), [span(5, 6), span(30, 31)]);
    });
}

#[test]
fn what_an_opening_found_is_reported_until_it_was_told() {
    for epochs in [false, true] {
        let bench = Bench::new(21);
        bench.sim.block_on(async {
            let (_store, log) = bench.create(small()).await;
            append_synced(&log, "a").await;
            bench.sim.sleep(Duration::from_secs(2)).await;
            bench.crash();
            if epochs {
                let path = PathBuf::from(DIR).join("logs").join(id(0).to_string()).join("leader-epochs");
                bench.rot(&path, 18);
            } else {
                bench.rot(&PathBuf::from(DIR).join("recovery-points"), 31);
                bench.rot(&PathBuf::from(DIR).join("recovery-points.previous"), 20);
            }
            // The second opening finds marks and epochs that the first one wrote.
            for _ in 0..2 {
                let (_store, log, report) = bench.reopen().await;
                assert!(report.may_be_incomplete() && report.is_alarming(), "{report:?}");
                assert_eq!((report.epochs_lost, report.marks == MarksFound::Lost), (epochs, !epochs));
                assert_eq!(values(&log).await, numbered(0, &["a"]));
                bench.crash();
            }
            let (_store, log, report) = bench.reopen().await;
            assert!(report.may_be_incomplete(), "{report:?}");
            log.losses_told().await.expect("a removal");
            log.losses_told().await.expect("there is nothing to remove");
            bench.crash();
            let (_store, _log, report) = bench.reopen().await;
            assert!(!report.is_alarming(), "{report:?}");
        });
    }
}

/// Marks that were lost are written anew, without those of a log that could not be opened.
#[test]
fn a_log_that_could_not_be_opened_without_marks_is_not_emptied_by_the_next_opening() {
    let bench = Bench::new(22);
    bench.sim.block_on(async {
        let (expected, _) = filled(&bench).await;
        let (store, log, _) = bench.reopen().await;
        log.delete_records(Offset(20)).await.expect("they are synced");
        store.close().await.expect("a clean close");
        bench.crash();
        bench.rot(&PathBuf::from(DIR).join("recovery-points"), 31);
        bench.rot(&PathBuf::from(DIR).join("recovery-points.previous"), 20);
        for _ in 0..3 {
            bench.sim.disk(bench.node).fail_next(Op::Read, ".log", Fault::Error);
        }
        let (_store, reports) = bench.open().await;
        assert!(reports[0].failure.is_some() && reports[0].may_be_incomplete(), "{reports:?}");
        bench.sim.sleep(Duration::from_secs(2)).await;
        bench.crash();
        let (_store, log, report) = bench.reopen().await;
        assert!(report.may_be_incomplete(), "{report:?}");
        assert_eq!(log.end_offset(), Offset(40));
        let read = values(&log).await;
        assert!(expected.ends_with(&read) && read.len() >= 20, "{read:?}");
    });
}
