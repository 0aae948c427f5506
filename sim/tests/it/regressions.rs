//! What histories once found, as scripts: each test says what went wrong.

use bytes::Bytes;
use highwater_env::{Disk, Env, Event, File, OpenMode};
use highwater_log::{
    AppendError, Appended, Log, LogConfig, LogError, ReadError, ReadSlice, RecoveryReport, Store,
    StoreOptions,
};
use highwater_records::{Batch, BatchBuilder, Codec};
use highwater_sim::disk::{Fault, Op, PowerRates, SyncFailure};
use highwater_sim::{NodeId, SimEnv, Simulation, Violation};
use highwater_types::{
    BrokerId, LeaderEpoch, LogId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId, Uuid,
};
use std::path::Path;
use std::time::Duration;

const LOG: LogId = LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(0) };

fn options(checkpoint_ms: u64) -> StoreOptions {
    StoreOptions {
        checkpoint_interval: Duration::from_millis(checkpoint_ms),
        ..StoreOptions::new("/data", BrokerId(1))
    }
}

async fn open(env: &SimEnv, checkpoint_ms: u64) -> (Store<SimEnv>, Vec<RecoveryReport>) {
    Store::open(env.clone(), options(checkpoint_ms)).await.unwrap()
}

/// A log whose segments hold about one batch each.
fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 240, file_delete_delay_ms: 0, ..LogConfig::default() }
}

/// A batch of so many records; with a sequence number it is that of an idempotent producer.
fn batch(records: usize, sequence: Option<i32>) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    for _ in 0..records {
        assert!(builder.try_push(Timestamp(1_000), None, Some(&[1; 80]), &[]));
    }
    if let Some(sequence) = sequence {
        builder.set_producer(ProducerId(1), ProducerEpoch(0), sequence);
    }
    Batch::check(builder.build()).unwrap()
}

async fn append(log: &Log<SimEnv>, batch: &Batch) -> Result<Appended, AppendError> {
    log.append(batch, LeaderEpoch(0), Timestamp(1_000)).await
}

async fn append_synced(log: &Log<SimEnv>, batch: &Batch) -> Appended {
    let appended = append(log, batch).await.unwrap();
    log.wait_synced(appended.end_offset).await.unwrap();
    appended
}

fn path(name: &str) -> String {
    format!("/data/logs/{LOG}/{name}")
}

fn node(seed: u64) -> (Simulation, NodeId, SimEnv) {
    let simulation = Simulation::new(seed);
    let env = simulation.node("a");
    (simulation, env.node(), env)
}

/// A process that died while it made a log left a directory that was visible and not on disk. The next process found
/// it, acknowledged records in it, and a power loss took directory and records.
#[test]
fn a_log_whose_making_was_cut_off_does_not_vanish_later() {
    for operations in 0..80 {
        let (simulation, node, env) = node(operations);
        let fuse = simulation.fuse(node, operations);
        let making = env.clone();
        let task = env.spawn("make", async move {
            let (store, _) = open(&making, 1_000).await;
            store.create_log(LOG, LogConfig::default()).await.unwrap();
        });
        simulation.block_on(async {
            tokio::select! {
                biased;
                _ = task => {}
                () = fuse => {}
            }
        });
        simulation.crash(node);
        let env = simulation.restart(node);
        simulation.block_on(async {
            let (store, _) = open(&env, 1_000).await;
            let log = match store.log(LOG) {
                Some(log) => log,
                None => store.create_log(LOG, LogConfig::default()).await.unwrap(),
            };
            append_synced(&log, &batch(1, None)).await;
        });
        simulation.power_loss(node, PowerRates::DROP_ALL);
        let env = simulation.restart(node);
        let end =
            simulation.block_on(async { open(&env, 1_000).await.0.log(LOG).map(|log| log.end_offset()) });
        assert_eq!(end, Some(Offset(1)), "cut before operation {operations}");
    }
}

/// Whether the directory had unsynced entries was a flag. A segment that was begun while the directory was synced for
/// the one before lost its flag, and its batches counted as durable without their file's name.
#[test]
fn a_segment_that_is_begun_during_a_directory_sync_is_synced_too() {
    let (simulation, node, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 1_000).await;
        let log = store.create_log(LOG, small_segments()).await.unwrap();
        append_synced(&log, &batch(1, None)).await;
        env.disk().fail_next(Op::SyncDir, &LOG.to_string(), Fault::Stall(Duration::from_millis(5)));
        append(&log, &batch(1, None)).await.unwrap();
        highwater_env::sleep(env.clock(), Duration::from_millis(2)).await;
        append_synced(&log, &batch(1, None)).await;
        assert_eq!(log.segment_count(), 3);
    });
    simulation.power_loss(node, PowerRates::DROP_ALL);
    let env = simulation.restart(node);
    let end = simulation.block_on(async { open(&env, 1_000).await.0.log(LOG).unwrap().end_offset() });
    assert_eq!(end, Offset(3));
}

/// A sync that ended after an append had failed still moved the synced end of the failed log.
#[test]
fn a_log_that_failed_acknowledges_nothing_more() {
    let (simulation, _, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 1_000).await;
        let log = store.create_log(LOG, LogConfig::default()).await.unwrap();
        env.disk().fail_next(Op::SyncData, ".log", Fault::Stall(Duration::from_millis(5)));
        let first = append(&log, &batch(1, None)).await.unwrap();
        highwater_env::sleep(env.clock(), Duration::from_millis(1)).await;
        env.disk().fail_next(Op::Write, ".log", Fault::Error);
        assert!(matches!(append(&log, &batch(1, None)).await, Err(AppendError::Poisoned)));
        assert!(matches!(log.wait_synced(first.end_offset).await, Err(LogError::Poisoned)));
        highwater_env::sleep(env.clock(), Duration::from_millis(10)).await;
        assert_eq!(log.synced_end(), Offset(0));
    });
}

/// Only the two newest producer snapshots were kept. When records were deleted and the process died before the proven
/// marks had caught up with those, the log forgot the producer's earlier batches and refused their repeats.
#[test]
fn repeats_are_known_after_a_deletion_and_a_crash() {
    let (simulation, node, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 3_600_000).await;
        let log = store.create_log(LOG, small_segments()).await.unwrap();
        for sequence in 0..4 {
            append_synced(&log, &batch(1, Some(sequence))).await;
        }
        assert_eq!(log.delete_records(Offset(3)).await.unwrap(), Offset(3));
        append_synced(&log, &batch(1, Some(4))).await;
        // Segments go on being closed, and no marks are written.
        for _ in 0..8 {
            append_synced(&log, &batch(1, None)).await;
        }
        highwater_env::sleep(env.clock(), Duration::from_millis(10)).await;
    });
    simulation.crash(node);
    let env = simulation.restart(node);
    simulation.block_on(async {
        let (store, _) = open(&env, 1_000).await;
        let log = store.log(LOG).unwrap();
        let repeated = append(&log, &batch(1, Some(1))).await.unwrap();
        assert!(repeated.duplicate);
        assert_eq!(repeated.base_offset, Offset(1));
    });
}

/// A truncation into the batch in which the log started left a log that ended before its start.
#[test]
fn a_log_starts_at_its_end_at_the_latest() {
    let (simulation, _, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 1_000).await;
        let log = store.create_log(LOG, LogConfig::default()).await.unwrap();
        append_synced(&log, &batch(5, None)).await;
        assert_eq!(log.delete_records(Offset(2)).await.unwrap(), Offset(2));
        assert_eq!(log.truncate(Offset(3)).await.unwrap(), Offset(0));
        assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(0)));
        append_synced(&log, &batch(1, None)).await;
        assert!(!log.read(Offset(0), Offset(1), 4_096, true).await.unwrap().is_empty());
    });
}

/// A truncation to an offset before every segment that was left panicked, and damage that reached beyond the new end
/// made what was appended there unreadable.
#[test]
fn a_log_whose_first_segments_are_lost_can_be_truncated() {
    let (simulation, node, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 1_000).await;
        let config = LogConfig { segment_bytes: 400, ..LogConfig::default() };
        let log = store.create_log(LOG, config).await.unwrap();
        for _ in 0..4 {
            append_synced(&log, &batch(2, None)).await;
        }
        store.close().await.unwrap();
    });
    simulation.crash(node);
    let env = simulation.restart(node);
    simulation.block_on(async {
        for base in [0, 2] {
            env.disk().remove_file(Path::new(&path(&format!("{base:020}.log")))).await.unwrap();
        }
        let (store, _) = open(&env, 1_000).await;
        let log = store.log(LOG).unwrap();
        assert!(matches!(log.read(Offset(0), Offset(8), 4_096, true).await, Err(ReadError::Damaged { .. })));
        assert_eq!(log.truncate(Offset(1)).await.unwrap(), Offset(1));
        append_synced(&log, &batch(2, None)).await;
        assert_eq!(log.end_offset(), Offset(3));
        assert!(!log.read(Offset(1), Offset(3), 4_096, true).await.unwrap().is_empty());
    });
}

/// A truncation first takes back what the marks on disk say was proven. When that could not be written, the next
/// truncation believed it had been done, and after a crash the cut batches counted as damage.
#[test]
fn a_truncation_that_could_not_lower_the_marks_does_it_the_next_time() {
    let (simulation, node, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 1).await;
        let log = store.create_log(LOG, LogConfig::default()).await.unwrap();
        for _ in 0..4 {
            append_synced(&log, &batch(1, None)).await;
        }
        highwater_env::sleep(env.clock(), Duration::from_millis(20)).await;
        env.disk().fail_next(Op::Write, "recovery-points", Fault::Full);
        assert!(log.truncate(Offset(2)).await.is_err());
        assert_eq!(log.truncate(Offset(2)).await.unwrap(), Offset(2));
    });
    simulation.crash(node);
    let env = simulation.restart(node);
    simulation.block_on(async {
        let (store, reports) = open(&env, 1_000).await;
        assert_eq!(reports[0].damaged, []);
        assert_eq!(store.log(LOG).unwrap().end_offset(), Offset(2));
    });
}

/// Recovery renames the rewritten tail into place. When the directory's sync failed, or the process died before it, the
/// next recovery saw the new file and cut the old one; a power loss took the new name, and with it the tail.
#[test]
fn a_rewritten_tail_survives_a_crash_before_its_name_is_on_disk() {
    for operations in 0..60 {
        let (simulation, node, env) = node(operations);
        simulation.block_on(async {
            let (store, _) = open(&env, 3_600_000).await;
            let log = store.create_log(LOG, LogConfig::default()).await.unwrap();
            append_synced(&log, &batch(1, None)).await;
            store.close().await.unwrap();
            let (store, _) = open(&env, 3_600_000).await;
            let log = store.log(LOG).unwrap();
            append_synced(&log, &batch(1, None)).await;
        });
        simulation.crash(node);
        // The first recovery is cut off, the second one too, and then the power goes.
        for cut in [operations, 25] {
            let env = simulation.restart(node);
            let fuse = simulation.fuse(node, cut);
            let opening = env.clone();
            let task = env.spawn("open", async move { drop(open(&opening, 3_600_000).await) });
            simulation.block_on(async {
                tokio::select! {
                    biased;
                    _ = task => {}
                    () = fuse => {}
                }
            });
            simulation.crash(node);
        }
        simulation.power_loss(node, PowerRates::DROP_ALL);
        let env = simulation.restart(node);
        let end = simulation.block_on(async { open(&env, 1_000).await.0.log(LOG).unwrap().end_offset() });
        assert_eq!(end, Offset(2), "cut before operation {operations}");
    }
}

/// A producer snapshot that was being written while the log was truncated stayed. When the log had grown past it again,
/// recovery believed it, and swallowed a producer's batch as a repeat of one that was cut.
#[test]
fn a_snapshot_of_what_was_truncated_is_not_kept() {
    for stall_ms in [1, 5, 50] {
        // Room for one batch of two records, not for two of one.
        let config = LogConfig { segment_bytes: 314, ..small_segments() };
        let (simulation, node, env) = node(stall_ms);
        simulation.block_on(async {
            let (store, _) = open(&env, 1).await;
            let log = store.create_log(LOG, config).await.unwrap();
            append_synced(&log, &batch(1, Some(0))).await;
            append_synced(&log, &batch(1, Some(1))).await;
            highwater_env::sleep(env.clock(), Duration::from_millis(10)).await;
            let stall = Fault::Stall(Duration::from_millis(stall_ms));
            env.disk().fail_next(Op::Write, "2.producers", stall);
            append_synced(&log, &batch(1, None)).await;
            assert_eq!(log.truncate(Offset(1)).await.unwrap(), Offset(1));
            highwater_env::sleep(env.clock(), Duration::from_millis(100)).await;
            append_synced(&log, &batch(2, None)).await;
            highwater_env::sleep(env.clock(), Duration::from_millis(10)).await;
        });
        simulation.crash(node);
        let env = simulation.restart(node);
        simulation.block_on(async {
            let (store, _) = open(&env, 1_000).await;
            let appended = append(&store.log(LOG).unwrap(), &batch(1, Some(1))).await.unwrap();
            assert!(!appended.duplicate, "the first one was cut");
        });
    }
}

/// The log start was published as it was known in memory, not as the marks on disk had it. After a truncation that
/// could not lower the marks, segments were removed that recovery still needed, and what followed them was dropped.
#[test]
fn segments_stay_until_the_marks_on_disk_do_not_need_them() {
    let (simulation, node, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 3_600_000).await;
        let log = store.create_log(LOG, small_segments()).await.unwrap();
        for _ in 0..4 {
            append_synced(&log, &batch(1, None)).await;
        }
        env.disk().fail_next(Op::Write, "recovery-points", Fault::Full);
        assert!(log.truncate(Offset(1)).await.is_err());
        let (deleting, env) = (log.clone(), env.clone());
        env.disk().fail_next(Op::SyncData, "recovery-points", Fault::Stall(Duration::from_millis(20)));
        let task = env.spawn("delete", async move {
            let _ = deleting.delete_records(Offset(3)).await;
        });
        highwater_env::sleep(env.clock(), Duration::from_millis(10)).await;
        append_synced(&log, &batch(1, None)).await;
        task.await;
    });
    simulation.crash(node);
    let env = simulation.restart(node);
    simulation.block_on(async {
        let (store, reports) = open(&env, 1_000).await;
        assert_eq!(reports[0].damaged, []);
        assert_eq!(store.log(LOG).unwrap().end_offset(), Offset(5));
    });
}

/// A log had failed in a sync, which had taken its last batch out of the page cache. A read that met an error looked at
/// the whole segment, and reported the batch that had been promised to nobody as damage.
#[test]
fn what_a_failed_sync_was_for_is_not_damaged() {
    let (simulation, _, env) = node(1);
    simulation.observe(Box::new(|_, _, event| match event {
        Event::Damaged { .. } => Err(Violation::new("S10", format!("{event:?}"))),
        _ => Ok(()),
    }));
    simulation.block_on(async {
        let (store, _) = open(&env, 3_600_000).await;
        let log = store.create_log(LOG, LogConfig::default()).await.unwrap();
        append_synced(&log, &batch(1, None)).await;
        append_synced(&log, &batch(1, None)).await;
        env.disk().fail_next_sync(".log", SyncFailure::Reverted);
        append(&log, &batch(1, None)).await.unwrap();
        assert!(log.wait_synced(Offset(3)).await.is_err());
        env.disk().fail_next(Op::Read, ".log", Fault::Error);
        let read = log.read(Offset(0), log.synced_end(), 1 << 20, true).await;
        let Ok(ReadSlice::Checked(bytes)) = read else { panic!("what was synced can be read") };
        assert_eq!(Batch::check(bytes.slice(..bytes.len() / 2)).unwrap().header().record_count, 1);
    });
}

/// No checksum covers a batch's leader epoch. One flipped bit in the unproven tail lifted the log's epoch above that of
/// every leader to come.
#[test]
fn a_rotten_epoch_is_not_believed() {
    let (simulation, node, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 3_600_000).await;
        let log = store.create_log(LOG, LogConfig::default()).await.unwrap();
        append_synced(&log, &batch(1, None)).await;
        append_synced(&log, &batch(1, None)).await;
    });
    simulation.power_loss(node, PowerRates::DROP_ALL);
    let size = 64 + u64::try_from(batch(1, None).bytes().len()).unwrap();
    assert!(simulation.disk(node).flip_bit(Path::new(&path("00000000000000000000.log")), size + 12, 6));
    let env = simulation.restart(node);
    simulation.block_on(async {
        let (store, _) = open(&env, 1_000).await;
        let log = store.log(LOG).unwrap();
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
        append_synced(&log, &batch(1, None)).await;
    });
}

/// The scripts above change files behind the store's back; this holds what they assume of the files.
#[test]
fn segment_files_are_named_by_their_first_offset() {
    let (simulation, _, env) = node(1);
    simulation.block_on(async {
        let (store, _) = open(&env, 1_000).await;
        let log = store.create_log(LOG, small_segments()).await.unwrap();
        let bytes: Bytes = batch(1, None).into_bytes();
        append_synced(&log, &batch(1, None)).await;
        append_synced(&log, &batch(1, None)).await;
        for base in [0, 1] {
            let name = path(&format!("{base:020}.log"));
            let file = env.disk().open(Path::new(&name), OpenMode::Read).await.unwrap();
            assert_eq!(file.len().await.unwrap(), 64 + bytes.len() as u64);
        }
    });
}
