//! A test per promise of the disk, and per way in which it breaks one.

use super::*;
use bytes::Bytes;
use highwater_env::File;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Without a pacer no operation ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a disk without a pacer never waits"),
    }
}

fn path(text: &str) -> PathBuf {
    PathBuf::from(text)
}

fn create(disk: &SimDisk, name: &str) -> SimFile {
    now(disk.open(&path(name), OpenMode::CreateNew)).unwrap()
}

fn open(disk: &SimDisk, name: &str) -> SimFile {
    now(disk.open(&path(name), OpenMode::Write)).unwrap()
}

fn write(file: &SimFile, position: u64, data: impl Into<Vec<u8>>) {
    now(file.write_at(position, vec![Bytes::from(data.into())])).unwrap();
}

fn read(file: &SimFile) -> Vec<u8> {
    now(file.read_at(0, 1 << 20)).unwrap().to_vec()
}

fn sync(file: &SimFile) {
    now(file.sync_data()).unwrap();
}

/// A disk with a durable file `/a` of these bytes, and the open file.
fn with_file(data: impl Into<Vec<u8>>) -> (SimDisk, SimFile) {
    let disk = SimDisk::new(7);
    let file = create(&disk, "/a");
    write(&file, 0, data);
    sync(&file);
    now(disk.sync_dir(&path("/"))).unwrap();
    (disk, file)
}

fn durable(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    disk.durable_files().get(&path(name)).cloned()
}

fn names(disk: &SimDisk) -> Vec<String> {
    now(disk.list(&path("/"))).unwrap().into_iter().map(|entry| entry.name).collect()
}

/// The contents of `name` after `count` power losses of clones of this disk, without repeats.
fn after_power_losses(disk: &SimDisk, name: &str, count: u64) -> Vec<Option<Vec<u8>>> {
    let state = disk.snapshot();
    let mut seen = Vec::new();
    for seed in 0..count {
        let copy = SimDisk::with_state(seed, state.clone());
        copy.power_loss(PowerRates::MIXED);
        let content = durable(&copy, name);
        if !seen.contains(&content) {
            seen.push(content);
        }
    }
    seen
}

#[test]
fn synced_bytes_survive_every_power_loss() {
    let (disk, file) = with_file(vec![1; 6_000]);
    write(&file, 6_000, vec![2; 9_000]);
    for content in after_power_losses(&disk, "/a", 300) {
        let content = content.expect("the entry was synced");
        assert_eq!(content[..6_000], [1; 6_000], "a synced byte changed");
    }
}

#[test]
fn unsynced_bytes_are_kept_dropped_torn_or_spoiled_at_a_power_loss() {
    let (disk, file) = with_file(vec![1; 100]);
    write(&file, 100, vec![2; 3_000]);
    let seen = after_power_losses(&disk, "/a", 300);
    let has = |test: &dyn Fn(&[u8]) -> bool| seen.iter().flatten().any(|content| test(content));
    assert!(has(&|content| content.len() == 100), "dropped");
    assert!(has(&|content| content.len() == 3_100 && content[100..] == [2; 3_000]), "kept");
    assert!(has(&|content| content.len() == 3_100 && content[100..] == [0; 3_000]), "length without data");
    assert!(has(&|content| content.len() == 3_100 && content[512] == 2 && content[3_099] == 0), "head alone");
    assert!(has(&|content| content.len() == 3_100 && content[100] == 0 && content[3_099] == 2), "tail alone");
    assert!(has(&|content| content.iter().any(|byte| *byte > 2)), "garbage");
}

#[test]
fn a_later_page_can_survive_an_earlier_one() {
    let (disk, file) = with_file(vec![1; 4_096]);
    write(&file, 4_096, vec![2; 4_096]);
    write(&file, 8_192, vec![3; 4_096]);
    let seen = after_power_losses(&disk, "/a", 200);
    let reordered = |content: &Vec<u8>| {
        content.len() == 12_288 && content[8_192..] == [3; 4_096] && content[4_096..8_192] == [0; 4_096]
    };
    assert!(seen.iter().flatten().any(reordered));
}

#[test]
fn an_unsynced_entry_can_vanish_with_its_synced_data() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "/a");
    write(&file, 0, *b"data");
    sync(&file);
    let seen = after_power_losses(&disk, "/a", 50);
    assert!(seen.contains(&None));
    assert!(seen.contains(&Some(b"data".to_vec())));
}

#[test]
fn a_synced_entry_stays_but_its_unsynced_data_may_not() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "/a");
    write(&file, 0, *b"data");
    now(disk.sync_dir(&path("/"))).unwrap();
    disk.power_loss(PowerRates::DROP_ALL);
    assert_eq!(durable(&disk, "/a"), Some(Vec::new()));
}

#[test]
fn a_directory_and_all_in_it_vanishes_without_a_sync_of_its_parent() {
    let disk = SimDisk::new(1);
    now(disk.create_dir_all(&path("/d/e"))).unwrap();
    let file = create(&disk, "/d/e/a");
    write(&file, 0, *b"data");
    sync(&file);
    now(disk.sync_dir(&path("/d/e"))).unwrap();
    now(disk.sync_dir(&path("/d"))).unwrap();
    assert_eq!(disk.durable_files().len(), 0);
    now(disk.sync_dir(&path("/"))).unwrap();
    assert_eq!(durable(&disk, "/d/e/a"), Some(b"data".to_vec()));
}

#[test]
fn a_rename_is_old_or_new_and_never_nothing() {
    let (disk, _file) = with_file(*b"old");
    let file = create(&disk, "/tmp");
    write(&file, 0, *b"new");
    sync(&file);
    now(disk.rename(&path("/tmp"), &path("/a"))).unwrap();
    assert_eq!(read(&open(&disk, "/a")), b"new");
    let mut seen = after_power_losses(&disk, "/a", 100);
    seen.sort();
    assert_eq!(seen, [Some(b"new".to_vec()), Some(b"old".to_vec())]);
    now(disk.sync_dir(&path("/"))).unwrap();
    assert_eq!(after_power_losses(&disk, "/a", 100), [Some(b"new".to_vec())]);
    assert_eq!(names(&disk), ["a"]);
}

#[test]
fn a_rename_before_its_data_can_leave_an_empty_file() {
    let (disk, _file) = with_file(*b"old");
    let file = create(&disk, "/tmp");
    write(&file, 0, *b"new");
    now(disk.rename(&path("/tmp"), &path("/a"))).unwrap();
    now(disk.sync_dir(&path("/"))).unwrap();
    assert!(after_power_losses(&disk, "/a", 100).contains(&Some(Vec::new())));
}

#[test]
fn a_rename_between_directories_needs_both_of_them_synced() {
    let (disk, _file) = with_file(*b"data");
    now(disk.create_dir_all(&path("/d"))).unwrap();
    now(disk.sync_dir(&path("/"))).unwrap();
    now(disk.rename(&path("/a"), &path("/d/a"))).unwrap();
    now(disk.sync_dir(&path("/d"))).unwrap();
    assert_eq!(durable(&disk, "/a"), Some(b"data".to_vec()));
    now(disk.sync_dir(&path("/"))).unwrap();
    assert_eq!(durable(&disk, "/a"), None);
    assert_eq!(durable(&disk, "/d/a"), Some(b"data".to_vec()));
}

#[test]
fn an_unsynced_removal_can_come_back() {
    let (disk, file) = with_file(*b"data");
    now(disk.remove_file(&path("/a"))).unwrap();
    assert_eq!(names(&disk), Vec::<String>::new());
    assert_eq!(read(&file), b"data", "an open file outlives its name");
    let seen = after_power_losses(&disk, "/a", 50);
    assert!(seen.contains(&None) && seen.contains(&Some(b"data".to_vec())));
}

#[test]
fn a_process_crash_keeps_the_cache_and_kills_handles_and_locks() {
    let (disk, file) = with_file(*b"data");
    let lock = now(disk.lock(&path("/.lock"))).unwrap();
    assert_eq!(
        now(disk.lock(&path("/.lock"))).err().map(|error| error.kind()),
        Some(io::ErrorKind::WouldBlock)
    );
    write(&file, 4, *b" and more");
    let next = disk.crash();
    assert!(now(file.read_at(0, 4)).is_err());
    assert!(now(disk.open(&path("/a"), OpenMode::Read)).is_err());
    assert_eq!(read(&open(&next, "/a")), b"data and more");
    let held = now(next.lock(&path("/.lock"))).unwrap();
    drop(lock);
    assert!(now(next.lock(&path("/.lock"))).is_err(), "the dead holder's release frees nobody else's lock");
    drop(held);
    now(next.lock(&path("/.lock"))).unwrap();
}

#[test]
fn a_truncation_is_pending_until_synced() {
    let (disk, file) = with_file(vec![1; 5_000]);
    now(file.set_len(1_000)).unwrap();
    assert_eq!(read(&file).len(), 1_000);
    assert_eq!(durable(&disk, "/a"), Some(vec![1; 5_000]));
    write(&file, 1_000, vec![2; 10]);
    now(file.set_len(2_000)).unwrap();
    sync(&file);
    let mut expected = vec![1; 1_000];
    expected.extend([2; 10]);
    expected.resize(2_000, 0);
    assert_eq!(durable(&disk, "/a"), Some(expected.clone()));
    assert_eq!(read(&file), expected);
}

#[test]
fn a_sync_covers_only_what_was_written_before_it() {
    let (disk, file) = with_file(vec![1; 10]);
    write(&file, 10, vec![2; 10]);
    let upto = disk.shared.lock().state.seq();
    write(&file, 20, vec![3; 10]);
    let ino = disk.shared.lock().state.lookup(&path("/a")).unwrap();
    disk.shared.lock().sync_data(&Passage { fault: None }, ino, &path("/a"), upto).unwrap();
    assert_eq!(durable(&disk, "/a").unwrap().len(), 20);
    sync(&file);
    assert_eq!(durable(&disk, "/a").unwrap().len(), 30);
}

/// After a failed sync of three new bytes behind four durable ones: what is read, what the next sync answers, what
/// is read after an eviction, and what is durable then.
fn check_failed_sync(failure: SyncFailure, cached: &[u8], evicted: &[u8]) {
    let (disk, file) = with_file(*b"good");
    write(&file, 0, *b"new!");
    disk.fail_next_sync("/a", failure);
    assert!(now(file.sync_data()).is_err(), "{failure:?}");
    assert_eq!(read(&file), cached, "{failure:?}: in the cache");
    assert!(now(file.sync_data()).is_ok(), "{failure:?}: the next sync succeeds");
    disk.evict(None);
    assert_eq!(read(&file), evicted, "{failure:?}: after eviction");
    disk.power_loss(PowerRates::KEEP_ALL);
    assert_eq!(durable(&disk, "/a").unwrap(), evicted, "{failure:?}: on the disk");
}

#[test]
fn a_failed_sync_that_drops_pages_reads_back_fine_until_eviction_and_the_next_success_proves_nothing() {
    check_failed_sync(SyncFailure::Clean, b"new!", b"good");
}

#[test]
fn a_failed_sync_that_reverts_pages_shows_the_old_bytes_at_once() {
    check_failed_sync(SyncFailure::Reverted, b"good", b"good");
}

#[test]
fn a_failed_sync_that_keeps_pages_dirty_can_be_repeated() {
    check_failed_sync(SyncFailure::KeptDirty, b"new!", b"new!");
}

#[test]
fn a_write_to_a_dropped_page_brings_its_lost_bytes_to_the_disk() {
    let (disk, file) = with_file(*b"good");
    write(&file, 0, *b"new!");
    disk.fail_next_sync("/a", SyncFailure::Clean);
    assert!(now(file.sync_data()).is_err());
    write(&file, 4, *b"!");
    sync(&file);
    assert_eq!(durable(&disk, "/a").unwrap(), b"new!!", "a page is written back whole");
}

#[test]
fn a_failed_background_write_back_is_reported_once_by_the_next_sync() {
    let (disk, file) = with_file(*b"good");
    write(&file, 0, *b"new!");
    disk.fail_writeback(&path("/a")).unwrap();
    assert!(now(file.sync_data()).is_err());
    sync(&file);
    assert_eq!(durable(&disk, "/a").unwrap(), b"good");
}

#[test]
fn a_late_report_comes_one_sync_after_the_loss() {
    let (disk, file) = with_file(*b"good");
    write(&file, 0, *b"new!");
    disk.fail_next(Op::SyncData, "/a", Fault::LateSync);
    sync(&file);
    assert_eq!(durable(&disk, "/a").unwrap(), b"good");
    assert!(now(file.sync_data()).is_err());
    sync(&file);
}

#[test]
fn a_failed_sync_of_a_directory_can_lose_entries_for_good() {
    let mut lost = 0;
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        create(&disk, "/a");
        disk.fail_next(Op::SyncDir, "/", Fault::Sync(SyncFailure::Clean));
        assert!(now(disk.sync_dir(&path("/"))).is_err());
        now(disk.sync_dir(&path("/"))).unwrap();
        assert_eq!(names(&disk), ["a"]);
        disk.power_loss(PowerRates::KEEP_ALL);
        lost += usize::from(names(&disk.handle()).is_empty());
    }
    assert!((1..20).contains(&lost), "{lost} of 20");
}

#[test]
fn a_full_disk_takes_a_part_and_says_so_until_there_is_room() {
    let (disk, file) = with_file(vec![1; 4_096]);
    disk.set_capacity(Some(8_192));
    let error = now(file.write_at(4_096, vec![Bytes::from(vec![2; 6_000])])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(read(&file).len(), 8_192);
    assert!(now(file.write_at(8_192, vec![Bytes::from_static(b"x")])).is_err());
    assert!(now(file.allocate(8_192, 1)).is_err());
    assert_eq!(now(disk.space(&path("/"))).unwrap(), Space { total_bytes: 8_192, free_bytes: 0 });
    disk.set_capacity(Some(12_288));
    now(file.allocate(8_192, 4_096)).unwrap();
    assert_eq!(disk.used_bytes(), 12_288);
    write(&file, 8_192, vec![3; 4_096]);
}

#[test]
fn a_failed_write_may_leave_a_part() {
    let mut lengths = Vec::new();
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let file = create(&disk, "/a");
        disk.fail_next(Op::Write, "/a", Fault::Partial);
        assert!(now(file.write_at(0, vec![Bytes::from_static(b"0123456789")])).is_err());
        lengths.push(read(&file).len());
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 5, "{lengths:?}");
}

#[test]
fn a_read_error_passes() {
    let (disk, file) = with_file(*b"data");
    disk.fail_next(Op::Read, "/a", Fault::Error);
    assert!(now(file.read_at(0, 4)).is_err());
    assert_eq!(read(&file), b"data");
}

#[test]
fn a_bad_sector_fails_until_it_is_written_again() {
    let (disk, file) = with_file(vec![1; 8_192]);
    assert!(disk.break_sector(&path("/a"), 5_000));
    assert!(now(file.read_at(4_200, 10)).is_err());
    assert_eq!(now(file.read_at(0, 4_096)).unwrap().len(), 4_096);
    write(&file, 4_096, vec![2; 4_096]);
    assert_eq!(read(&file)[5_000], 2, "it is served by the cache");
    sync(&file);
    disk.evict(None);
    assert_eq!(read(&file)[5_000], 2);
}

#[test]
fn bit_rot_changes_one_durable_bit() {
    let (disk, file) = with_file(*b"data");
    assert!(disk.flip_bit(&path("/a"), 1, 0));
    assert_eq!(read(&file), b"d`ta");
    assert!(!disk.flip_bit(&path("/a"), 4, 0));
    assert_eq!(disk.counts()["bit rot"], 1);
}

#[test]
fn a_lost_write_shows_when_the_cache_is_gone() {
    let (disk, file) = with_file(*b"good");
    write(&file, 0, *b"new!");
    disk.fail_next(Op::SyncData, "/a", Fault::LostWrite);
    sync(&file);
    assert_eq!(read(&file), b"new!");
    disk.evict(None);
    assert_eq!(read(&file), b"good");
}

#[test]
fn a_misdirected_write_harms_another_page() {
    let (first, second) = (vec![1; 4_096], vec![2; 4_096]);
    let (disk, _file) = with_file([first.clone(), first.clone()].concat());
    let other = create(&disk, "/b");
    write(&other, 0, second.clone());
    now(disk.sync_dir(&path("/"))).unwrap();
    disk.fail_next(Op::SyncData, "/b", Fault::Misdirected);
    sync(&other);
    let harmed = [first.clone(), second.clone()].concat();
    assert_eq!(durable(&disk, "/a"), Some(harmed.clone()));
    assert_eq!(durable(&disk, "/b"), Some(vec![0; 4_096]));
    assert_eq!(read(&open(&disk, "/a")), [first.clone(), first].concat(), "the cache hides it");
    disk.evict(None);
    assert_eq!(read(&open(&disk, "/a")), harmed);
}

#[test]
fn a_rule_can_let_some_operations_pass_first() {
    let (disk, file) = with_file(*b"data");
    disk.add_rule(Rule { op: Op::Write, path: "a".to_owned(), skip: 1, fault: Fault::Error });
    write(&file, 0, *b"D");
    assert!(now(file.write_at(0, vec![Bytes::from_static(b"d")])).is_err());
    write(&file, 0, *b"d");
}

#[test]
fn a_file_that_is_open_for_reading_refuses_writes() {
    let (disk, _file) = with_file(*b"data");
    let file = now(disk.open(&path("/a"), OpenMode::Read)).unwrap();
    assert!(now(file.write_at(0, vec![])).is_err());
    assert!(now(file.set_len(0)).is_err());
}

#[test]
fn opening_follows_the_mode() {
    let (disk, _file) = with_file(*b"data");
    let kind = |name: &str, mode| now(disk.open(&path(name), mode)).err().map(|error| error.kind());
    assert_eq!(kind("/a", OpenMode::CreateNew), Some(io::ErrorKind::AlreadyExists));
    assert_eq!(kind("/b", OpenMode::Write), Some(io::ErrorKind::NotFound));
    assert_eq!(kind("/b", OpenMode::Read), Some(io::ErrorKind::NotFound));
    assert_eq!(kind("/d/b", OpenMode::CreateNew), Some(io::ErrorKind::NotFound));
    assert_eq!(kind("/a/b", OpenMode::CreateNew), Some(io::ErrorKind::NotADirectory));
    assert_eq!(kind("/a", OpenMode::CreateOrTruncate), None);
    assert_eq!(read(&open(&disk, "/a")), b"");
}

#[test]
fn directories_are_listed_renamed_and_removed() {
    let disk = SimDisk::new(1);
    now(disk.create_dir_all(&path("/d/e"))).unwrap();
    create(&disk, "/d/e/a");
    assert!(now(disk.remove_dir(&path("/d/e"))).is_err(), "not empty");
    now(disk.rename(&path("/d/e"), &path("/f"))).unwrap();
    now(disk.remove_dir(&path("/d"))).unwrap();
    assert_eq!(now(disk.list(&path("/"))).unwrap(), [DirEntry { name: "f".to_owned(), is_dir: true }]);
    now(disk.remove_file(&path("/f/a"))).unwrap();
    now(disk.remove_dir(&path("/f"))).unwrap();
    assert_eq!(names(&disk), Vec::<String>::new());
}

#[test]
fn a_wiped_disk_is_empty() {
    let (disk, _file) = with_file(*b"data");
    let disk = disk.wipe();
    assert_eq!(names(&disk), Vec::<String>::new());
    assert!(disk.durable_files().is_empty());
}

#[test]
fn all_states_after_a_power_loss_are_enumerated() {
    let (disk, file) = with_file(vec![1; 100]);
    write(&file, 100, vec![2; 100]);
    create(&disk, "/b");
    let found = disk.snapshot().crash_states(10_000, &mut Rng::from_stream(1, 1));
    assert!(found.complete);
    // With and without the new entry: the old length, or the new one with old, new, zero (as old) or garbage bytes.
    assert_eq!(found.states.len(), 2 * 4);
    for state in &found.states {
        let content = durable(&SimDisk::with_state(1, state.clone()), "/a").unwrap();
        assert_eq!(content[..100], [1; 100]);
    }
}

#[test]
fn a_bounded_enumeration_holds_the_extremes() {
    let disk = SimDisk::new(1);
    for number in 0..20 {
        create(&disk, &format!("/{number:02}"));
    }
    let found = disk.snapshot().crash_states(50, &mut Rng::from_stream(1, 1));
    assert!(!found.complete);
    assert_eq!(found.states.len(), 50);
    let counts: Vec<usize> =
        found.states.into_iter().map(|state| SimDisk::with_state(1, state).durable_files().len()).collect();
    assert!(counts.contains(&0) && counts.contains(&20));
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        disk.set_rates(FaultRates { write_error: 0.3, sync_error: 0.3, evict: 0.3, ..FaultRates::default() });
        let file = create(&disk, "/a");
        for number in 0..200u32 {
            let _ = now(file.write_at(u64::from(number) * 50, vec![Bytes::from(vec![number as u8; 80])]));
            let _ = now(file.sync_data());
        }
        let _ = now(disk.sync_dir(&path("/")));
        disk.power_loss(PowerRates::MIXED);
        (disk.snapshot().fingerprint(), disk.counts())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}
