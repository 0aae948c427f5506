//! Compaction of one log, beside reading and writing the same bytes.

use anyhow::{Context, Result, ensure};
use highwater_env_tokio::{TokioEnv, run};
use highwater_log::{CleanupPolicy, LogConfig, Store, StoreOptions};
use highwater_records::{Batch, BatchBuilder, Codec};
use highwater_types::{BrokerId, LeaderEpoch, LogId, PartitionIndex, Timestamp, TopicId, Uuid};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOG: LogId = LogId { topic: TopicId(Uuid([7; 16])), partition: PartitionIndex(0) };
const EPOCH: LeaderEpoch = LeaderEpoch(0);
const BATCH_BYTES: usize = 64 << 10;
const PIECE_BYTES: usize = 1 << 20;
/// How long it takes until the marks on disk, and those before them, cover all that was written.
const MARKS: Duration = Duration::from_secs(4);

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Compacted {
    /// How many MiB of records there are.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// The sizes of records' values, in bytes.
    #[arg(long, default_values_t = [1024, 100])]
    record_bytes: Vec<usize>,
    /// How many keys there are; each comes about as often as any other.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// A folder for data, on the disk that is to be measured; what is in it is removed.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Prints what compaction takes, and a copy of the same files.
pub fn compacted(options: &Compacted) -> Result<()> {
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => {
            std::env::current_exe()?.parent().context("a program stands in a folder")?.join("compaction-data")
        }
    };
    println!("| record bytes | MiB before | MiB after | compaction, s | a copy, s | share of its speed |");
    println!("|---|---|---|---|---|---|");
    for &bytes in &options.record_bytes {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        run(None, |env| measure(env, options, &dir, bytes))??;
    }
    Ok(fs::remove_dir_all(&dir)?)
}

async fn measure(env: TokioEnv, options: &Compacted, dir: &Path, record_bytes: usize) -> Result<()> {
    let (store, _) = Store::open(env.clone(), StoreOptions::new(dir, BrokerId(1))).await?;
    let config = LogConfig {
        cleanup: CleanupPolicy { delete: false, compact: true },
        segment_bytes: 128 << 20,
        ..LogConfig::default()
    };
    let log = store.create_log(LOG, config).await?;
    let value = vec![0x5a; record_bytes];
    let mut number = 0u64;
    while log.size_bytes() < options.mib << 20 {
        let mut builder = BatchBuilder::new(Codec::None, BATCH_BYTES);
        loop {
            // Spreads over all keys, each about as often as any other.
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % options.keys;
            if !builder.try_push(Timestamp(1_000), Some(&key.to_be_bytes()), Some(&value), &[]) {
                break;
            }
            number += 1;
        }
        log.append(&Batch::check(builder.build())?, EPOCH, Timestamp(1_000)).await?;
    }
    log.wait_synced(log.end_offset()).await?;
    for _ in 0..2 {
        pause(MARKS);
        let mut builder = BatchBuilder::new(Codec::None, BATCH_BYTES);
        ensure!(builder.try_push(Timestamp(1_000), Some(b"last"), None, &[]), "there is room for one");
        log.append(&Batch::check(builder.build())?, EPOCH, Timestamp(1_000)).await?;
        log.wait_synced(log.end_offset()).await?;
    }
    pause(MARKS);
    let before = log.size_bytes();
    let copy = copied(&dir.join("logs").join(LOG.to_string()), &dir.join("copy"))?;
    let began = Instant::now();
    let done = store.compact(|_| None, 128 << 20, || false).await;
    let took = began.elapsed();
    ensure!(done.len() == 1, "one log is compacted: {done:?}");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "| {record_bytes} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
        mib(before),
        mib(log.size_bytes()),
        took.as_secs_f64(),
        copy.as_secs_f64(),
        copy.as_secs_f64() / took.as_secs_f64()
    );
    store.close().await?;
    Ok(())
}

/// Gives the store's tasks time: they run on threads of their own.
fn pause(by: Duration) {
    std::thread::sleep(by);
}

/// Reads all segments, writes them to another file, and syncs it.
fn copied(from: &Path, to: &Path) -> Result<Duration> {
    let began = Instant::now();
    let mut target = fs::File::create(to)?;
    let mut piece = vec![0; PIECE_BYTES];
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "log") {
            let mut source = fs::File::open(path)?;
            loop {
                let count = source.read(&mut piece)?;
                if count == 0 {
                    break;
                }
                target.write_all(&piece[..count])?;
            }
        }
    }
    target.sync_data()?;
    let took = began.elapsed();
    fs::remove_file(to)?;
    Ok(took)
}
