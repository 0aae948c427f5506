//! Verifying a store that nobody has open.

use crate::common::*;
use highwater_env::{Disk, Env, File, OpenMode};
use highwater_log::{Fault, FaultKind, StoreVerdict, verify_store};
use highwater_sim::disk::PowerRates;
use highwater_types::Offset;
use std::io;
use std::path::Path;

/// A store with a log of 40 records in several segments, closed.
async fn filled(bench: &Bench) {
    let (store, log) = bench.create(small()).await;
    append_all(&log, &refs(&words(40))).await;
    store.close().await.expect("a clean close");
    bench.crash();
}

async fn verify(bench: &Bench) -> StoreVerdict {
    verify_store(bench.env().disk(), Path::new(DIR)).await.expect("the disk works")
}

/// The faults of the one log and beside it, as text, without directories.
fn faults(verdict: &StoreVerdict) -> Vec<String> {
    let all = verdict.faults.iter().chain(&verdict.logs[0].faults);
    let name = |Fault { path, kind }: &Fault| {
        format!("{}: {kind}", path.file_name().expect("a name").to_string_lossy())
    };
    all.map(name).collect()
}

/// What is found when some bytes of a file rotted.
fn check_rot(name: &str, position: u64, expected: &str) {
    let bench = Bench::new(1);
    bench.sim.block_on(async {
        filled(&bench).await;
        let path = if name.contains('/') { Path::new(DIR).join(&name[1..]) } else { bench.path(name) };
        bench.rot(&path, position);
        assert_eq!(faults(&verify(&bench).await), [expected], "{name} at {position}");
    });
}

#[test]
fn a_sound_store_is_sound_and_an_open_one_is_left_alone() {
    let bench = Bench::new(2);
    bench.sim.block_on(async {
        filled(&bench).await;
        let before = bench.sim.disk(bench.node).live_files();
        let verdict = verify(&bench).await;
        assert!(verdict.is_sound() && verdict.logs.len() == 1, "{verdict:?}");
        let log = &verdict.logs[0];
        assert_eq!((log.start, log.end, log.batches), (Offset(0), Offset(40), 40));
        assert_eq!((log.torn_bytes, log.stale_indexes), (0, 0));
        assert!(log.segments > 3 && log.bytes > 3_000, "{log:?}");
        assert_eq!(bench.sim.disk(bench.node).live_files(), before, "nothing is changed");
        let (_store, _) = bench.open().await;
        let locked = verify_store(bench.env().disk(), Path::new(DIR)).await.expect_err("it is open");
        assert_eq!(locked.kind(), io::ErrorKind::WouldBlock);
    });
}

#[test]
fn every_kind_of_rot_is_named() {
    check_rot("00000000000000000000.log", 100, "00000000000000000000.log: offsets 0 to 1 do not check out");
    check_rot(
        "00000000000000000000.log",
        9,
        "00000000000000000000.log: the segment's header does not check out",
    );
    check_rot("leader-epochs", 20, "leader-epochs: the file is not whole");
    check_rot("00000000000000000040.producers", 20, "00000000000000000040.producers: the file is not whole");
    check_rot("/recovery-points", 20, "recovery-points: the file is not whole");
    check_rot("/disk.meta", 20, "disk.meta: the file is not whole");
}

#[test]
fn an_index_that_rotted_is_no_damage() {
    let bench = Bench::new(3);
    bench.sim.block_on(async {
        filled(&bench).await;
        let path = bench.path("00000000000000000000.index");
        let index = bench.env().disk().open(&path, OpenMode::Write).await.expect("the index");
        index.write_at(70, vec![b"rot"[..].into()]).await.expect("a write");
        let verdict = verify(&bench).await;
        assert!(verdict.is_sound(), "{verdict:?}");
        assert_eq!(verdict.logs[0].stale_indexes, 1);
    });
}

#[test]
fn missing_segments_and_logs_are_noticed() {
    for lost in [0, 1, usize::MAX] {
        let bench = Bench::new(4);
        bench.sim.block_on(async {
            filled(&bench).await;
            let mut segments: Vec<_> =
                bench.files().into_iter().filter(|name| name.ends_with(".log")).collect();
            segments.sort();
            let lost = lost.min(segments.len() - 1);
            let base = |name: &String| Offset(name[..20].parse().expect("a base offset"));
            let range = base(&segments[lost])..segments.get(lost + 1).map_or(Offset(40), base);
            let disk = bench.env().disk().clone();
            disk.remove_file(&bench.path(&segments[lost])).await.expect("the segment");
            let verdict = verify(&bench).await;
            let expected = [Fault { path: bench.path(""), kind: FaultKind::Missing(range) }];
            assert_eq!(verdict.logs[0].faults, expected);
            for name in bench.files() {
                disk.remove_file(&bench.path(&name)).await.expect("a file");
            }
            disk.remove_dir(&bench.path("")).await.expect("the directory");
            let verdict = verify(&bench).await;
            assert!(!verdict.is_sound());
            assert_eq!(verdict.logs[0].faults[1].kind, FaultKind::Missing(Offset(0)..Offset(40)));
        });
    }
}

#[test]
fn what_a_power_loss_leaves_is_no_damage() {
    for seed in 0..100 {
        let bench = Bench::new(seed);
        bench.sim.block_on(async {
            let (_store, log) = bench.create(small()).await;
            append_all(&log, &refs(&words(20))).await;
            log.wait_synced(Offset(20)).await.expect("a sync");
            bench.sim.sleep(std::time::Duration::from_secs(3)).await;
            append_all(&log, &refs(&words(20))).await;
            let mut rng = bench.sim.rng(1);
            bench.sim.power_loss(bench.node, PowerRates::random(&mut rng));
            let verdict = verify(&bench).await;
            assert!(verdict.is_sound(), "seed {seed}: {verdict:?}");
            let (_store, _, report) = bench.reopen().await;
            assert!(report.end <= verdict.logs[0].end, "seed {seed}: {report:?}");
        });
    }
}
