//! A store whose files were damaged: opening, reading, appending, opening again, on the simulated disk.

use super::Target;
use super::records::repair_batches;
use bytes::Bytes;
use highwater_env::{Disk, Env, File, OpenMode, Rng};
use highwater_log::{Log, LogConfig, ReadError, ReadSlice, Store, StoreOptions};
use highwater_records::{Batch, BatchBuilder, Batches, Codec};
use highwater_sim::disk::SimDisk;
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{
    BrokerId, LeaderEpoch, LogId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId, Uuid,
};
use rand::RngExt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const DIR: &str = "/data";

/// Small enough for several segments per log.
const SEGMENT_BYTES: u32 = 2048;

/// How many batches each log has.
const BATCHES: i64 = 24;

/// How many records each batch has.
const RECORDS: i64 = 2;

/// Reads that take more steps than this go round in circles.
const MOST_READS: usize = 2_000;

/// The same bound for the simulation as a whole.
const MOST_STEPS: u64 = 400_000;

const SEGMENT_MAGIC: &[u8] = b"HWSEGMNT";
const SEGMENT_HEADER_BYTES: usize = 64;
const CRC_BYTES: usize = 4;

const HEAD_BYTES: usize = 3;
const FORGED: u8 = 1;

/// A template's number, a file's number, whether checksums were made right ([`FORGED`]), and what that file holds.
///
/// Damage has wrong checksums, and must cost nothing but what it hit. A forged file says what it likes: it must not
/// break what has nothing to do with it, and neither panic nor hang what has.
pub struct Stores {
    templates: Vec<Template>,
}

/// One file of a template, and its other content.
struct Chosen<'t, 'c> {
    template: &'t Template,
    file: usize,
    forged: bool,
    content: &'c [u8],
}

/// The files of a store, as some life of it left them.
struct Template {
    files: Vec<(PathBuf, Bytes)>,
}

impl Stores {
    /// Makes the templates: a store that was closed, and one whose process was killed.
    pub fn new() -> Self {
        Self { templates: vec![template(true), template(false)] }
    }

    /// What an input says.
    fn chosen<'a>(&self, input: &'a [u8]) -> Option<Chosen<'_, 'a>> {
        let (&[template, file, forged], content) = input.split_first_chunk::<HEAD_BYTES>()?;
        let template = &self.templates[usize::from(template) % self.templates.len()];
        let file = usize::from(file) % template.files.len();
        Some(Chosen { template, file, forged: forged == FORGED, content })
    }
}

fn log_id(number: i32) -> LogId {
    LogId { topic: TopicId(Uuid::from_random(9)), partition: PartitionIndex(number) }
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: SEGMENT_BYTES, index_interval_bytes: 200, ..LogConfig::default() }
}

fn options() -> StoreOptions {
    StoreOptions::new(DIR, BrokerId(1))
}

/// Batch number `number` of every log.
fn batch(number: i64) -> Batch {
    let codec = if number % 5 == 0 { Codec::Lz4 } else { Codec::None };
    let mut builder = BatchBuilder::new(codec, 1 << 20);
    for record in 0..RECORDS {
        let value = format!("record {record} of batch {number}, and so on, and so forth, and on and on");
        let taken = builder.try_push(Timestamp(1_000 + number), None, Some(value.as_bytes()), &[]);
        assert!(taken, "a batch of a megabyte has room");
    }
    if number % 3 != 0 {
        let sequence = i32::try_from((number - number / 3 - 1) * RECORDS).expect("few batches");
        builder.set_producer(ProducerId(5), ProducerEpoch(0), sequence);
    }
    Batch::check(builder.build()).expect("what the builder gives is a batch")
}

fn template(closed: bool) -> Template {
    let simulation = Simulation::new(1);
    let env = simulation.node("template");
    let files = simulation.block_on(async {
        let (store, _) = Store::open(env.clone(), options()).await.expect("an empty directory");
        for number in 0..2 {
            let log = store.create_log(log_id(number), config()).await.expect("a new log");
            for batch_number in 0..BATCHES {
                let epoch = LeaderEpoch(i32::try_from(batch_number / 10).expect("few batches"));
                let appended = log.append(&batch(batch_number), epoch, env.clock().wall()).await;
                let end = appended.expect("the disk is whole").end_offset;
                log.wait_synced(end).await.expect("the disk is whole");
                if batch_number == BATCHES / 2 {
                    // Long enough for a proven mark in the middle of the log.
                    highwater_env::sleep(env.clock(), std::time::Duration::from_secs(3)).await;
                }
            }
        }
        if closed {
            store.close().await.expect("the disk is whole");
        }
        env.disk().live_files()
    });
    let files: BTreeMap<PathBuf, Vec<u8>> = files;
    Template { files: files.into_iter().map(|(path, bytes)| (path, bytes.into())).collect() }
}

impl Target for Stores {
    fn name(&self) -> &'static str {
        "store"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        let template = rng.random_range(0..self.templates.len());
        let files = &self.templates[template].files;
        let file = rng.random_range(0..files.len());
        [&[template as u8, file as u8, 0][..], &files[file].1].concat()
    }

    fn repair(&self, input: &mut Vec<u8>) {
        let Some((head, content)) = input.split_first_chunk_mut::<HEAD_BYTES>() else { return };
        head[HEAD_BYTES - 1] = FORGED;
        let length = content.len();
        if content.starts_with(SEGMENT_MAGIC) && length >= SEGMENT_HEADER_BYTES {
            let (header, batches) = content.split_at_mut(SEGMENT_HEADER_BYTES);
            put_checksum(header);
            repair_batches(batches);
        } else if content.starts_with(b"HW") && length >= 16 + CRC_BYTES {
            content[12..16].copy_from_slice(&((length - 16 - CRC_BYTES) as u32).to_be_bytes());
            put_checksum(content);
        }
    }

    fn describe(&self, input: &[u8]) -> String {
        let Some(Chosen { template, file, forged, content }) = self.chosen(input) else {
            return "nothing".to_owned();
        };
        let (path, whole) = &template.files[file];
        let kind = if forged { "forged" } else { "damaged" };
        let differing = whole.iter().zip(content).enumerate().filter(|(_, (one, other))| one != other);
        let places: Vec<String> =
            differing.take(12).map(|(at, (one, other))| format!("{at}: {one:02x} is {other:02x}")).collect();
        format!(
            "template {}: {kind} {}, {} bytes for {}; {}",
            input[0],
            path.display(),
            content.len(),
            whole.len(),
            places.join(", ")
        )
    }

    fn test_cases(&self) -> u64 {
        300
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let Some(Chosen { template, file, forged, content }) = self.chosen(input) else { return Ok(()) };
        let simulation = Simulation::new(1);
        simulation.set_max_steps(MOST_STEPS);
        let env = simulation.node("damaged");
        let outcome = simulation.run(async {
            for (number, (path, whole)) in template.files.iter().enumerate() {
                let content = if number == file { Bytes::copy_from_slice(content) } else { whole.clone() };
                put_file(env.disk(), path, content).await;
            }
            exercise(&env, &template.files[file].0, forged).await
        });
        outcome.unwrap_or_else(|failure| Err(failure.to_string()))
    }
}

/// The last four bytes become the checksum of those before.
fn put_checksum(bytes: &mut [u8]) {
    let (body, checksum) = bytes.split_at_mut(bytes.len() - CRC_BYTES);
    checksum.copy_from_slice(&crc32fast::hash(body).to_be_bytes());
}

async fn put_file(disk: &SimDisk, path: &Path, content: Bytes) {
    let parent = path.parent().expect("a file stands in a directory");
    disk.create_dir_all(parent).await.expect("the disk is whole");
    let file = disk.open(path, OpenMode::CreateOrTruncate).await.expect("the disk is whole");
    file.write_at(0, vec![content]).await.expect("the disk is whole");
    file.sync_data().await.expect("the disk is whole");
}

/// Opens the store, reads, appends, closes, opens again and reads again.
async fn exercise(env: &SimEnv, damaged: &Path, forged: bool) -> Result<(), String> {
    let Ok((store, _)) = Store::open(env.clone(), options()).await else { return Ok(()) };
    let mut ends = Vec::new();
    for log in store.logs() {
        let read = read_all(&log).await.map_err(|error| format!("log {}: {error}", log.id()))?;
        if read < BATCHES && is_elsewhere(&log, damaged) {
            return Err(format!(
                "damage to {} costs log {} records: {read} batches left",
                damaged.display(),
                log.id()
            ));
        }
        let epoch = log.latest_epoch().unwrap_or(LeaderEpoch(0));
        if let Ok(appended) = log.append(&batch(0), epoch, env.clock().wall()).await
            && log.wait_synced(appended.end_offset).await.is_ok()
            && (!forged || is_elsewhere(&log, damaged))
        {
            ends.push((log.id(), appended.base_offset, appended.end_offset));
        }
    }
    // A log that failed is closed uncleanly, which is an error and as it should be.
    let _ = store.close().await;
    drop(store);
    let (store, _) =
        Store::open(env.clone(), options()).await.map_err(|error| format!("opened before: {error}"))?;
    for (id, base, end) in ends {
        let log = store.log(id).ok_or_else(|| format!("log {id} is gone after it was closed"))?;
        let bytes =
            read_bytes(&log, base, end).await.map_err(|error| format!("acknowledged at {base}: {error}"))?;
        let first = Batches::new(bytes).next().and_then(Result::ok);
        if first.is_none_or(|batch| batch.header().base_offset != base) {
            return Err(format!("what was acknowledged at {base} of log {id} is not there"));
        }
        read_all(&log).await.map_err(|error| format!("log {id}, opened again: {error}"))?;
    }
    let _ = store.close().await;
    Ok(())
}

/// Whether the damage is in another log's directory.
fn is_elsewhere(log: &Log<SimEnv>, damaged: &Path) -> bool {
    let logs = Path::new(DIR).join("logs");
    let directory = logs.join(log.id().to_string());
    damaged.starts_with(logs) && !damaged.starts_with(directory)
}

/// Reads a log from start to end, past what is damaged, and returns how many batches it gave.
async fn read_all(log: &Log<SimEnv>) -> Result<i64, String> {
    let (mut at, end) = (log.start_offset(), log.end_offset());
    let mut batches = 0;
    for _ in 0..MOST_READS {
        if at >= end {
            return Ok(batches);
        }
        let bytes = match read_bytes(log, at, end).await {
            Ok(bytes) => bytes,
            Err(ReadError::Damaged { to, .. }) if to > at => {
                at = to;
                continue;
            }
            Err(ReadError::Damaged { to, .. }) => return Err(format!("damaged from {at} to {to}")),
            // The log failed as a whole, and says so.
            Err(_) if log.is_poisoned() => return Ok(batches),
            Err(error) => return Err(format!("neither served nor damaged at {at}: {error}")),
        };
        let from = at;
        for batch in Batches::new(bytes) {
            let batch = batch.map_err(|error| format!("served at {at}: {error}"))?;
            let header = batch.header();
            let next = header.base_offset.plus(i64::from(header.last_offset_delta) + 1);
            // The first batch may begin before what was asked for, the others follow each other.
            if next <= at || next > end || (at > from && header.base_offset < at) {
                return Err(format!("{header:?} served at {at}, before {end}"));
            }
            at = next;
            batches += 1;
        }
        if at == from {
            return Err(format!("nothing served at {at}, though the end is {end}"));
        }
    }
    Err(format!("reading from {} to {end} does not end", log.start_offset()))
}

async fn read_bytes(log: &Log<SimEnv>, from: Offset, up_to: Offset) -> Result<Bytes, ReadError> {
    match log.read(from, up_to, 500, true).await? {
        ReadSlice::Checked(bytes) => Ok(bytes),
        ReadSlice::Verified { file, position, length } => Ok(file.read_at(position, length).await?),
    }
}
